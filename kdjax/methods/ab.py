"""Activation boundaries: neurons fire where the teacher's fire."""

import jax

from kdjax import losses
from kdjax.method import Method, learned
from kdjax.methods import features, modules
from kdjax.methods.registry import register
from kdjax.schedule import Schedule, at, check_value


@register(
  "ab",
  objective="ab:before(0.11, 0.003) + ce:after(0.11, 0.1) + kd:after(0.11, 0.9)",
)
def ab(
  *,
  margin: float | jax.Array | Schedule = 1.0,
  student_tap: str = "stage_*/activation:in",
  teacher_tap: str = "stage_*/activation:in",
) -> Method:
  """Transfer of the boundaries between firing and silent neurons.

  loss = sum over pairs l of 2^-(L - 1 - l) * sum over neurons of
         (r(s) + m)^2 where t <= 0 and r(s) > -m,
         (r(s) - m)^2 where t > 0 and r(s) <= m

  The published order is in the objective: boundaries alone initialise the
  student, then it is trained as usual. The first stage takes the share of
  RepDistiller's 30 epochs of 270.

  Matched: the sides of zero of every pair of stages' pre-activations: vectors,
  tokens or maps; the larger map is average-pooled. Learned: r, a linear layer
  over the student's channels with batch normalisation. Default taps:
  `stage_*/activation:in` of both networks. Cost: one matrix product a pair.

  Args:
    margin: m >= 0, in the pre-activations' unit; a number or a schedule.
    student_tap: the student's stages before their last ReLU.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a negative margin.
    UserError: when traced, for features that do not match in kind.

  Example:
    >>> method = ab(student_tap="a", teacher_tap="a")
    >>> view = View(jnp.zeros((2, 3)), {"a": jnp.eye(2)})
    >>> inputs = Inputs(view, view, jnp.zeros(2, int), 0)
    >>> params, _ = method.init(jax.random.key(0), inputs)
    >>> list(params["regressor_0"])
    ['dense', 'norm']

  Source:
    Heo, Lee, Yun, Choi 2019, arXiv:1811.03233; `kdjax.losses.ab`. Connectors,
    margin, the weight 3/1000 and the halving are the authors' code's, which
    then distils without labels; the 0.1 on the labels is ours, as for kd.
  """
  check_value("margin", margin, lambda value: value >= 0)

  def pairs(inputs):
    found = features.paired("ab", inputs, student_tap, teacher_tap)
    return tuple(features.same_size("ab", *pair) for pair in found)

  def loss(call, inputs):
    found = pairs(inputs)
    return sum(
      2.0 ** (i + 1 - len(found))
      * losses.ab(
        call(f"regressor_{i}", student), teacher, margin=at(margin, inputs.step)
      )
      for i, (student, teacher) in enumerate(found)
    )

  return learned(
    lambda inputs: modules.regressors(pairs(inputs), norm=True),
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )
