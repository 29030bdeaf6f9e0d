"""U-Net: down to coarse maps and back up, with the fine ones beside."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models import checks, dense
from kdjax.models.layers import NormedConvolution, max_pool_2x2
from kdjax.models.registry import register
from kdjax.models.statistics import Statistics, read_statistics, standardise


class Stage(nn.Module):
  """3 x 3 convolutions of one width, each normalised and with a ReLU.

  Attributes:
    convolutions: how many.
    width: channels.
  """

  convolutions: int
  width: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for i in range(self.convolutions):
      x = NormedConvolution(self.width, 3, name=f"layer_{i}")(x, train=train)
    return x


class UNet(nn.Module):
  """Stages `stage_0` .. down and up again, and `head` at every pixel.

  Of `depth` d, `stage_0` to `stage_d` go down, the last at 1 / 2^d of the height and
  width; `stage_(d + 1)` to `stage_2d` go up again, each beside the map of its size.

  Attributes:
    width: channels at the images' own size; they double with each halving.
    depth: how many halvings.
    convolutions: of each stage.
    classes: number of classes.
    statistics: of the images, for their standardisation; None for none.
  """

  width: int
  depth: int
  convolutions: int
  classes: int
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    checks.image_side("unet", images, 1 << self.depth)
    x, beside, number = standardise(images, self.statistics), [], 0

    def stage(x, level):
      nonlocal number
      name, number = f"stage_{number}", number + 1
      width = self.width << level
      return Stage(self.convolutions, width, name=name)(x, train=train)

    for level in range(self.depth):
      beside.append(stage(x, level))
      x = max_pool_2x2(beside[-1])
    x = stage(x, self.depth)
    for level in reversed(range(self.depth)):
      fine = beside[level]
      up = dense.resize(x, fine.shape[1:3])
      x = stage(jnp.concatenate([fine, up], axis=-1), level)
    return dense.head(self.classes)(x)


@register("unet")
def unet(
  width: int = 16,
  depth: int = 3,
  convolutions: int = 2,
  *,
  classes: int,
  normalise: str | tuple | None = None,
) -> UNet:
  """Makes a U-Net.

  As published but for padding that keeps the size, batch normalisation behind every
  convolution, and bilinear scaling in place of learned steps up.

  Args:
    width: channels at the images' own size; they double with each halving.
    depth: how many halvings, >= 1.
    convolutions: 3 x 3, of each stage.
    classes: number of classes.
    normalise: None, "imagenet", ... or ((mean, ...), (deviation, ...)): what images in
      [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) of any size -> logits (B, H, W, classes).

  Raises:
    ValueError: for a number below 1 or a `normalise` that is neither; at trace time,
      for images below 2^depth pixels.

  Example:
    >>> unet(8, classes=11).depth
    3

  Source:
    Ronneberger, Fischer, Brox 2015, arXiv:1505.04597.
  """
  for name, value in (
    ("width", width),
    ("depth", depth),
    ("convolutions", convolutions),
  ):
    checks.whole_number(name, value)
  statistics = read_statistics(normalise)
  return UNet(width, depth, convolutions, classes, statistics)
