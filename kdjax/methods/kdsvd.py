"""KD-SVD: how stages' main directions relate to each other."""

from kdjax import losses
from kdjax.core import checks
from kdjax.core.method import Method, learned
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules
from kdjax.methods.registry import register


@register("kdsvd", objective="ce:1 + kdsvd:1", reads=KINDS)
def kdsvd(
  *, k: int = 1, student_tap: str = "stage_*", teacher_tap: str = "stage_*"
) -> Method:
  """Relations between the main directions of consecutive stages.

  loss = sum over l, i, j of (R_l(student) - R_l(teacher))^2,
  R_l[i, j] = exp(-(v_l[i] - v_{l-1}[j])^2 / 8),
  v_l the first right singular vectors of stage l's map, (positions, channels)

  Matched: every two consecutive pairs of stages, which must be maps. Learned:
  a linear layer over the student's channels, for those stages alone whose
  widths differ: directions can be compared only in one space. Default taps:
  `stage_*` of both networks. Cost: a singular value decomposition of every map
  of every example, and its derivative.

  Args:
    k: >= 1, singular vectors of the teacher; the student's k + 3 are searched.
    student_tap: the student's stages, two or more.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a k that is no positive whole number.
    UserError: when traced, for features that are no maps, or a single stage.

  Example:
    >>> maps = {"stage_0": jnp.ones((1, 4, 4, 2)), "stage_1": jnp.ones((1, 2, 2, 3))}
    >>> outputs = Outputs(jnp.zeros((1, 3)), maps)
    >>> inputs = Inputs(outputs, outputs, jnp.array([0]), 0)
    >>> print(kdsvd().apply({}, (), inputs)[0].round(4))
    0.0

  Source:
    Lee, Kim, Song 2018, Self-supervised knowledge distillation using singular
    value decomposition, ECCV; `kdjax.losses.kdsvd`. k and the weight 1 are
    mdistiller's, which takes equal widths for granted.
  """
  checks.whole_number("k", k)

  def pairs(inputs):
    feats = _features.pair_features(
      "kdsvd", inputs, student_tap, teacher_tap, maps=True
    )
    _features.need_two("kdsvd", feats)
    return feats

  def loss(call, inputs):
    students, teachers = zip(
      *_modules.regress_pairs(call, pairs(inputs)), strict=True
    )
    return losses.kdsvd(students, teachers, k=k)

  return learned(
    lambda inputs: _modules.regressors(pairs(inputs), always=False),
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
  )
