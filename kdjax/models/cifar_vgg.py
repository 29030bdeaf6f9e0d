"""VGG nets for small images.

Simonyan, Zisserman 2014, arXiv:1409.1556, with batch normalisation and one
linear layer instead of three, as in the distillation literature's code
(RepDistiller, arXiv:1910.10699), whose "8" is one convolution a stage.
"""

import flax.linen as nn
import jax

from kdjax.models import checks
from kdjax.models.layers import MeanPool, PlainStage, max_pool_2x2
from kdjax.models.registry import register
from kdjax.models.statistics import (
  Statistics,
  read_statistics,
  standardise,
)

WIDTHS = (64, 128, 256, 512, 512)
# Convolutions in the stem and in each stage, by depth.
STAGES = {
  8: (1, 1, 1, 1, 1),
  11: (1, 1, 2, 2, 2),
  13: (2, 2, 2, 2, 2),
  16: (2, 2, 3, 3, 3),
  19: (2, 2, 4, 4, 4),
}


class CifarVGG(nn.Module):
  """`stem`, four stages, pooled in between, the mean over all positions, `head`.

  The stem is the first group of convolutions, whose map the published code
  leaves out of every pairing.

  Attributes:
    stages: convolutions in the stem and in each stage.
    classes: number of classes.
    classify: False returns the last stage's output.
    statistics: of the images, for their standardisation; None for none.
  """

  stages: tuple[int, int, int, int, int]
  classes: int
  classify: bool = True
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    checks.image_side("cifar_vgg", images, 8)
    x = standardise(images, self.statistics)
    stem, *stages = zip(self.stages, WIDTHS, strict=True)
    x = PlainStage(*stem, batch_norm=True, name="stem")(x, train=train)
    for i, (count, width) in enumerate(stages):
      # The fourth pooling is for images of 64 pixels; 32 keep 4 x 4 at the end.
      if i < 3 or min(images.shape[1:3]) >= 64:
        x = max_pool_2x2(x)
      x = PlainStage(count, width, batch_norm=True, name=f"stage_{i}")(
        x, train=train
      )
    if not self.classify:
      return x
    return nn.Dense(self.classes, name="head")(MeanPool(name="pool")(x))


@register("cifar_vgg")
def cifar_vgg(
  depth: int, *, classes: int, normalise: str | tuple | None = None
) -> CifarVGG:
  """Makes a VGG net for small images, with batch normalisation.

  Convolutions start He normal by fan-out, their biases at 0.

  Args:
    depth: 8, 11, 13, 16 or 19.
    classes: number of classes.
    normalise: None, "cifar10", "cifar100", ... or ((mean, ...), (deviation,
      ...)): what images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for another depth or a `normalise` that is neither; at trace time, for images below 8 pixels.

  Example:
    >>> cifar_vgg(13, classes=100).stages
    (2, 2, 2, 2, 2)

  Source:
    Simonyan, Zisserman 2014, arXiv:1409.1556.
  """
  if depth not in STAGES:
    raise ValueError(f"depth must be one of {[*STAGES]}, got {depth!r}")
  statistics = read_statistics(normalise)
  return CifarVGG(STAGES[depth], classes, statistics=statistics)


def _named(depth: int) -> None:
  """Registers cifar_vgg8 and its like."""

  @register(f"cifar_vgg{depth}")
  def maker(*, classes: int, normalise: str | tuple | None = None) -> CifarVGG:
    return cifar_vgg(depth, classes=classes, normalise=normalise)

  maker.__doc__ = f"Makes cifar_vgg({depth})."


for _depth in STAGES:
  _named(_depth)
