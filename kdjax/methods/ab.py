"""Activation boundaries: neurons fire where the teacher's fire."""

import jax

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules
from kdjax.methods.registry import register


@register(
  "ab",
  objective="ab:before(0.11, 0.003) + ce:after(0.11, 0.1) + kd:after(0.11, 0.9)",
  reads=KINDS,
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
  over the student's channels with batch normalisation, for those pairs alone
  whose shapes differ. Default taps: `stage_*/activation:in` of both networks.
  Cost: one matrix product a pair.

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
    >>> student = Outputs(jnp.zeros((2, 3)), {"a": jnp.eye(2)})
    >>> teacher = Outputs(jnp.zeros((2, 3)), {"a": jnp.ones((2, 5))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), 0)
    >>> params, _ = method.init(jax.random.key(0), inputs)
    >>> list(params["regressor_0"])
    ['dense', 'norm']

  Source:
    Heo, Lee, Yun, Choi 2019, arXiv:1811.03233; `kdjax.losses.ab`. Margin, the
    weight 3/1000 and the halving are the authors' code's, whose second stage is
    the divergence from the teacher alone, at T = 3 and without T^2:
    `kd(temperature=3):after(0.11, 0.111)`, as T^2 is in our kd. Ours is kd at
    the run's temperature with 0.1 on the labels. Where shapes agree there is no
    connector, as in RepDistiller, which has strided convolutions where ours are
    pooled.
  """
  check_value("margin", margin, lambda value: value >= 0)

  def pairs(inputs):
    feats = _features.pair_features("ab", inputs, student_tap, teacher_tap)
    return tuple(_features.same_size("ab", *pair) for pair in feats)

  def connectors(inputs):
    modules = _modules.regressors(pairs(inputs), norm=True)
    feats = _features.pair_features("ab", inputs, student_tap, teacher_tap)
    return {
      name: one
      for (name, one), (student, teacher) in zip(
        modules.items(), feats, strict=True
      )
      if student.shape != teacher.shape
    }

  def loss(call, inputs):
    matches, learns = pairs(inputs), connectors(inputs)
    total = 0.0
    for i, (student, teacher) in enumerate(matches):
      if f"regressor_{i}" in learns:
        student = call(f"regressor_{i}", student)
      value = losses.ab(student, teacher, margin=at(margin, inputs.step))
      total += 2.0 ** (i + 1 - len(matches)) * value
    return total

  return learned(
    connectors,
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )
