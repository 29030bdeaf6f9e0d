"""Small convolutional nets in the manner of LeNet-5.

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to
document recognition" (no arXiv number). Modern where everybody is: ReLU, max
pooling, same padding.
"""

import flax.linen as nn
import jax

from kdjax.models import checks, mlp
from kdjax.models.layers import Activation, convolution, max_pool_2x2
from kdjax.models.registry import register


class Stage(nn.Module):
  """Convolution, 2 x 2 max pooling, ReLU.

  Pooling comes before the ReLU, which gives the same as after it: so the
  pre-activation has the size of the stage's output.

  Attributes:
    width: output channels.
    kernel: height and width of the convolution's kernel.
    pool: whether max pooling halves the image, or a step of the kernel.
  """

  width: int
  kernel: int
  pool: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    stride = 1 if self.pool else 2
    x = convolution(
      self.width, self.kernel, stride=stride, bias=True, name="conv"
    )(x)
    if self.pool:
      x = max_pool_2x2(x)
    return Activation(name="activation")(x)


class LeNet(nn.Module):
  """Stages `stage_0`, ..., dense layers `hidden_0`, ... and a linear `head`.

  Attributes:
    widths: channels of each stage.
    hidden: width of each dense layer.
    kernel: height and width of the convolutions' kernels.
    classes: number of classes.
    dropout: share of the dense layers' units dropped in training.
    classify: False returns the last stage's output.
    pool: whether max pooling halves the image, or a step of the kernel.
  """

  widths: tuple[int, ...]
  hidden: tuple[int, ...]
  kernel: int
  classes: int
  dropout: float = 0.0
  classify: bool = True
  pool: bool = True

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    checks.image_side(
      f"lenet with {len(self.widths)} stages", images, 2 ** len(self.widths)
    )
    x = images
    for i, width in enumerate(self.widths):
      x = Stage(width, self.kernel, self.pool, name=f"stage_{i}")(x)
    if not self.classify:
      return x
    x = x.reshape(x.shape[0], -1)
    for i, width in enumerate(self.hidden):
      x = mlp.Stage(width, self.dropout, name=f"hidden_{i}")(x, train=train)
    return nn.Dense(self.classes, name="head")(x)


@register("lenet")
def lenet(
  *widths: int,
  hidden: int | tuple[int, ...] = (120, 84),
  kernel: int = 5,
  dropout: float = 0.0,
  pool: bool = True,
  classes: int,
) -> LeNet:
  """Makes a small convolutional net, LeNet-5 by default.

  Kernels start He normal by fan-out, dense layers as linen starts them.

  Args:
    *widths: channels of each stage, which halves the image; none means 6, 16.
    hidden: width of each dense layer between the stages and the head; () for
      none.
    kernel: height and width of the convolutions' kernels, odd.
    dropout: share of the dense layers' units dropped in training, in [0, 1).
    pool: False halves images by the convolutions' own step instead of max
      pooling: an eighth of the work on a CPU.
    classes: number of classes.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for a width below 1, an even kernel, a share outside [0, 1);
      at trace time, for images smaller than 2^stages pixels.

  Example:
    >>> lenet(8, 16, hidden=32, classes=10).widths
    (8, 16)
  """
  hidden = hidden if isinstance(hidden, tuple) else (hidden,)
  for width in (*widths, *hidden):
    checks.whole_number("a width", width)
  checks.whole_number("the kernel", kernel)
  if kernel % 2 == 0:
    raise ValueError(f"the kernel must be odd, got {kernel}")
  checks.share("dropout", dropout)
  if not isinstance(pool, bool):
    raise ValueError(f"pool is True or False, got {pool!r}")
  return LeNet(widths or (6, 16), hidden, kernel, classes, dropout, pool=pool)
