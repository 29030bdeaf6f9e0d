"""Pair-wise distillation: which places of an image are alike."""

from kdjax import losses
from kdjax.core.arguments import check_whole
from kdjax.core.method import Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods import _features
from kdjax.methods.registry import register


@register("pairwise", objective="ce:1 + pairwise:10", reads=KINDS)
def pairwise(
  *,
  grid: int = 8,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Squared differences of how alike each two places of a map are.

  loss = mean_ij (a_ij(student) - a_ij(teacher))^2,  a_ij = cosine of the features at
  the places i and j of a grid

  Matched: the last stages, which must be maps, of any size and width. Learned:
  nothing but the student. Default taps: `stage_*` of both networks, of which the
  last are used. Cost: two matrix products of grid^4 D an image.

  Args:
    grid: places along each axis; a map with fewer keeps its own.
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    UserError: for a grid below 1; when traced, for features that are no maps.

  Example:
    >>> student = Outputs(None, {"stage_0": jnp.ones((1, 1, 2, 2))})
    >>> teacher = Outputs(None, {"stage_0": jnp.eye(2).reshape(1, 1, 2, 2)})
    >>> inputs = Inputs(student, teacher, jnp.zeros(1, int), jnp.array(0))
    >>> print(pairwise().apply((), (), inputs)[0].round(3))
    0.5

  Source:
    Liu, Chen, Liu, Qin, Luo, Wang 2019, arXiv:1903.04197; `kdjax.losses.pairwise`. The
    weight is theirs. Of the paper's three terms the pixel-wise one is `kd`; the
    holistic one, an adversary, is not here.
  """
  grid = check_whole("grid", grid, least=1)

  def loss(inputs):
    *_, (student, teacher) = _features.pair_features(
      "pairwise", inputs, student_tap, teacher_tap, maps=True
    )
    return losses.pairwise(student, teacher, size=(grid, grid))

  return stateless(
    loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )
