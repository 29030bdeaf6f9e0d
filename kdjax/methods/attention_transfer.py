"""Attention transfer: look where the teacher looks."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import check_choice, check_static
from kdjax.core.task import KINDS
from kdjax.methods import _features
from kdjax.methods.registry import register


@register(
  "attention_transfer", objective="ce:1 + attention_transfer:1000", reads=KINDS
)
def attention_transfer(
  *,
  p: float = 2.0,
  distance: str = "mse",
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Distance of spatial attention maps, summed over the stages.

  loss = sum over pairs of mean over positions of (a(student) - a(teacher))^2,
  a(f) = mean_c |f|^p, flattened, of unit length

  Matched: where the maps of each pair of stages are large. Widths may differ;
  the larger map is average-pooled. Learned: nothing but the student.
  Default taps: `stage_*` of both networks, which must be maps. Cost: one pass
  over the maps.

  Args:
    p: > 0, the exponent, static.
    distance: "mse", "l2" or "l1", as in `kdjax.losses.attention_transfer`.
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for an exponent that is not positive or an unknown distance.
    UserError: when traced, for features that are no maps.

  Example:
    >>> maps = {"stage_0": jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)}
    >>> turned = {"stage_0": maps["stage_0"][:, ::-1]}
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), maps), Outputs(None, turned)
    >>> inputs = Inputs(student, teacher, jnp.array([0]), 0)
    >>> print(attention_transfer().apply((), (), inputs)[0])
    1.0

  Source:
    Zagoruyko, Komodakis 2017, arXiv:1612.03928;
    `kdjax.losses.attention_transfer`. The weight 1000 is RepDistiller's and
    mdistiller's.
  """
  check_static("p", p, lambda value: value > 0)
  check_choice("distance", distance, ("mse", "l2", "l1"))

  def loss(inputs):
    return sum(
      losses.attention_transfer(student, teacher, p=p, distance=distance)
      for student, teacher in _features.pair_features(
        "attention_transfer", inputs, student_tap, teacher_tap, maps=True
      )
    )

  return stateless(
    loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )
