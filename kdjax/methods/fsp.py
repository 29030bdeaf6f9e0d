"""FSP: how the solution flows from one stage to the next."""

import itertools

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.schedule import check_choice
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules
from kdjax.methods.registry import register


@register(
  "fsp", objective="fsp:before(0.11, 50) + ce:after(0.11, 1)", reads=KINDS
)
def fsp(
  *,
  pool: str = "avg",
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Difference of the matrices of inner products between consecutive stages.

  loss = sum over l of mean over entries of (G_l(student) - G_l(teacher))^2,
  G_l = f_l . f_{l+1}' / (h w), inner products over positions

  The published order is in the objective: the flow alone initialises the
  student, then it is trained on the labels. The first stage takes the share of
  RepDistiller's 30 epochs of 270.

  Matched: every two consecutive pairs of stages, which must be maps. Learned:
  a linear layer over the student's channels, for those stages alone whose
  widths differ; the papers have none and need equal widths. Default taps:
  `stage_*` of both networks. Cost: a matrix product between stages.

  Args:
    pool: "avg" or "max", how the larger of two stages is brought to the size
      of the smaller.
    student_tap: the student's stages, two or more.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for an unknown way to pool.
    UserError: when traced, for features that are no maps, or a single stage.

  Example:
    >>> maps = {"stage_0": jnp.ones((1, 4, 4, 2)), "stage_1": jnp.ones((1, 2, 2, 1))}
    >>> student = Outputs(jnp.zeros((1, 3)), maps)
    >>> teacher = Outputs(None, maps | {"stage_1": jnp.full((1, 2, 2, 1), 3.0)})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), 0)
    >>> print(fsp().apply({}, (), inputs)[0])
    4.0

  Source:
    Yim, Joo, Bae, Kim 2017, A gift from knowledge distillation, CVPR;
    `kdjax.losses.fsp`. The mean over entries, the average and the weight 50,
    which belongs to it, are RepDistiller's; the paper pools by the maximum.
    RepDistiller's first matrix leads from the stem, which has no tap in common
    here.
  """
  check_choice("pool", pool, ("max", "avg"))

  def pairs(inputs):
    feats = _features.pair_features(
      "fsp", inputs, student_tap, teacher_tap, maps=True
    )
    _features.need_two("fsp", feats)
    return feats

  def loss(call, inputs):
    feats = _modules.regress_pairs(call, pairs(inputs))
    return sum(
      losses.fsp((s, s_next), (t, t_next), pool=pool)
      for (s, t), (s_next, t_next) in itertools.pairwise(feats)
    )

  return learned(
    lambda inputs: _modules.regressors(pairs(inputs), always=False),
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
  )
