"""Neuron selectivity transfer: channels' maps, matched as distributions."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import check_choice
from kdjax.core.task import KINDS
from kdjax.methods import _features
from kdjax.methods.registry import register


@register("nst", objective="ce:1 + nst:50", reads=KINDS)
def nst(
  *,
  kernel: str = "poly",
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Maximum mean discrepancy of channel maps, summed over the stages.

  loss = sum over pairs of
         mean k(y_i, y_j) + mean k(x_i, x_j) - 2 mean k(x_i, y_j),
  x_i, y_j the channels' maps of student and teacher, of unit length;
  k(a, b) = <a, b>^2 ("poly") or <a, b> ("linear")

  Matched: which patterns over positions the channels of each pair of stages
  have, in whatever order. Widths may differ; the larger map is average-pooled.
  Learned: nothing but the student. Default taps: `stage_*` of both networks,
  which must be maps. Cost: a Gram matrix of channels or positions, whichever
  are fewer.

  Args:
    kernel: "poly" or "linear".
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for an unknown kernel.
    UserError: when traced, for features that are no maps.

  Example:
    >>> maps = {"stage_0": jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)}
    >>> turned = {"stage_0": maps["stage_0"][:, ::-1]}
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), maps), Outputs(None, turned)
    >>> inputs = Inputs(student, teacher, jnp.array([0]), 0)
    >>> print(nst().apply((), (), inputs)[0])
    2.0

  Source:
    Huang, Wang 2017, arXiv:1707.01219; `kdjax.losses.nst`. Matching
    all stages and the weight 50 are RepDistiller's.
  """
  check_choice("kernel", kernel, ("poly", "linear"))

  def loss(inputs):
    return sum(
      losses.nst(student, teacher, kernel=kernel)
      for student, teacher in _features.pair_features(
        "nst", inputs, student_tap, teacher_tap, maps=True
      )
    )

  return stateless(
    loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )
