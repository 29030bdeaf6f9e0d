"""CAT-KD: the student looks at each class where the teacher looks."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.errors import UserError
from kdjax.core.method import Method, stateless
from kdjax.methods._features import classifier, last
from kdjax.methods.registry import register

HINT = "there are class maps only where it takes the mean of the last map"


@register("cat_kd", objective="ce:1 + cat_kd:15", of_examples=True)
def cat_kd(
  *,
  size: int = 2,
  normalize: bool = True,
  student_tap: str = "pool:in",
  teacher_tap: str = "pool:in",
) -> Method:
  """Class attention transfer.

  loss = mean over classes and positions of (c(M_s) - c(M_t))^2,
  M = f W: a network's last map through its own classifier, without its bias;
  c: averaged to (size, size), each class's map then scaled to unit length

  The mean of M over positions is what the classifier makes of a network that
  averages its last map; only for such networks are there class maps. The
  authors tune weight, size and normalisation for each pair; the defaults are
  theirs for vgg13 and MobileNetV2 on CIFAR-100. For pairs of one family theirs
  mostly leave out the normalisation, with a weight of 0.7 to 15.

  Matched: class activation maps from the last map that each tap names.
  Learned: nothing but the student, its classifier included. Default taps:
  `pool:in`, the map whose mean is classified. Cost: a 1 x 1 convolution to the
  classes.

  Args:
    size: height and width to which the maps are averaged; static.
    normalize: whether each class's map is scaled to unit length.
    student_tap: where the student's map is.
    teacher_tap: where the teacher's map is.

  Returns:
    The method.

  Raises:
    ValueError: for a size below 1.
    UserError: when tracing, for features that are no maps, or a network whose
      classifier does not take their mean.

  Example:
    >>> outputs = Outputs(None, {"pool:in": jnp.ones((1, 4, 4, 3))})
    >>> head = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
    >>> inputs = Inputs(
    ...   outputs, outputs, jnp.array([0]), 0, head=head, student_head=head
    ... )
    >>> print(cat_kd().apply((), (), inputs)[0])
    0.0

  Source:
    Guo et al. 2023, arXiv:2304.12777, and its code; `kdjax.losses.cat_kd`.
  """
  if not isinstance(size, int) or size < 1:
    raise ValueError(f"size must be a whole number >= 1, got {size!r}")
  return stateless(
    lambda inputs: losses.cat_kd(
      _class_maps("student", inputs.student, student_tap, inputs.student_head),
      _class_maps("teacher", inputs.teacher, teacher_tap, inputs.head),
      size=size,
      normalize=normalize,
    ),
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
  )


def _class_maps(whose, outputs, tap, head) -> jax.Array:
  maps = last(outputs, tap)
  if maps.ndim != 4:
    raise UserError(
      f"cat_kd needs feature maps (B, H, W, C), but the {whose}'s {tap!r} is"
      f" {maps.shape}; tap a convolutional stage"
    )
  kernel, _ = classifier("cat_kd", whose, head, maps.shape[-1], HINT)
  return jnp.matmul(maps, kernel)
