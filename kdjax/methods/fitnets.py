"""FitNets: the student follows a hint from the middle of the teacher."""

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules, _tokens
from kdjax.methods.registry import register


@register(
  "fitnets",
  objective="fitnets:before(0.2, 100) + ce:after(0.2, 0.1) + kd:after(0.2, 0.9)",
  reads=KINDS,
)
def fitnets(
  *, student_tap: str = "stage_*", teacher_tap: str = "stage_*"
) -> Method:
  """Regression of a hidden layer of the teacher, then distillation.

  loss = mean over elements of (r(student) - teacher)^2

  The published order is in the objective: first the hint alone, then labels
  and softened outputs alone. The share of the first stage, 0.2, is ours.

  Matched: the middle pair of stages; with a tap that names one layer, that
  layer. Vectors, tokens or maps; the larger map is average-pooled, and the padding
  of texts is left out.
  Learned: r, a linear layer over the student's channels. Default taps:
  `stage_*` of both networks. Cost: one matrix product.

  Args:
    student_tap: the student's stages, or its guided layer.
    teacher_tap: the teacher's stages, or its hint layer.

  Returns:
    The method.

  Raises:
    UserError: when traced, for features that do not match in kind.

  Example:
    >>> student = Outputs(jnp.zeros((2, 3)), {"stage_0": jnp.ones((2, 4))})
    >>> teacher = Outputs(jnp.zeros((2, 3)), {"stage_0": jnp.ones((2, 6))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), 0)
    >>> params, _ = fitnets().init(jax.random.key(0), inputs)
    >>> params["regressor_0"]["dense"]["kernel"].shape
    (4, 6)

  Source:
    Romero et al. 2015, arXiv:1412.6550; `kdjax.losses.fitnet`. The weight 100
    and the mean over elements are RepDistiller's and mdistiller's, which train
    hint and labels together, and whose regressor ends in batch normalisation
    and ReLU; ours is linear, for features of any sign.
  """

  def pairs(inputs):
    feats = _features.pair_features("fitnets", inputs, student_tap, teacher_tap)
    student, teacher = feats[(len(feats) - 1) // 2]
    return (_features.same_size("fitnets", student, teacher),)

  def loss(call, inputs):
    ((student, teacher),) = pairs(inputs)
    return _tokens.over_tokens(
      losses.fitnet, call("regressor_0", student), teacher, inputs.tokens
    )

  return learned(
    lambda inputs: _modules.regressors(pairs(inputs)),
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
  )
