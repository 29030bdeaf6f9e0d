"""Residual networks for small images.

He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section on CIFAR-10: three stages of
basic blocks. As in the distillation literature's code (RepDistiller,
arXiv:1910.10699), a block that changes the shape has a 1 x 1 convolution with
batch normalisation beside it, and the names' "x4" means four times the width.
"""

import flax.linen as nn
import jax

from kdjax.models import checks
from kdjax.models.layers import (
  Activation,
  MeanPool,
  NormedConvolution,
  batch_norm,
  convolution,
)
from kdjax.models.registry import register
from kdjax.models.statistics import (
  Statistics,
  read_statistics,
  standardise,
)

PLAIN = (16, 16, 32, 64)
TIMES_4 = (32, 64, 128, 256)
NAMES = {
  "resnet8": (8, PLAIN),
  "resnet14": (14, PLAIN),
  "resnet20": (20, PLAIN),
  "resnet32": (32, PLAIN),
  "resnet44": (44, PLAIN),
  "resnet56": (56, PLAIN),
  "resnet110": (110, PLAIN),
  "resnet8x4": (8, TIMES_4),
  "resnet32x4": (32, TIMES_4),
}


class Block(nn.Module):
  """Two 3 x 3 convolutions and a way around them, before the ReLU.

  Attributes:
    width: output channels.
    stride: step of the first convolution.
  """

  width: int
  stride: int = 1

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    y = convolution(self.width, 3, stride=self.stride, name="conv_0")(x)
    y = nn.relu(batch_norm(train=train, name="norm_0")(y))
    y = convolution(self.width, 3, name="conv_1")(y)
    y = batch_norm(train=train, name="norm_1")(y)
    if self.stride != 1 or x.shape[-1] != self.width:
      x = convolution(self.width, 1, stride=self.stride, name="conv_shortcut")(
        x
      )
      x = batch_norm(train=train, name="norm_shortcut")(x)
    return x + y


class Stage(nn.Module):
  """Blocks of one width, each followed by a ReLU; the last is `activation`.

  Attributes:
    width: output channels.
    blocks: number of blocks.
    stride: step of the first block.
  """

  width: int
  blocks: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for i in range(self.blocks):
      x = nn.relu(x) if i else x
      stride = 1 if i else self.stride
      x = Block(self.width, stride, name=f"block_{i}")(x, train=train)
    return Activation(name="activation")(x)


class CifarResNet(nn.Module):
  """`stem`, three stages, the mean over all positions, a linear `head`.

  Attributes:
    blocks: blocks a stage.
    widths: channels of the stem and of each stage.
    classes: number of classes.
    classify: False returns the last stage's output.
    statistics: of the images, for their standardisation; None for none.
  """

  blocks: int
  widths: tuple[int, int, int, int]
  classes: int
  classify: bool = True
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    x = standardise(images, self.statistics)
    stem, *widths = self.widths
    x = NormedConvolution(stem, 3, name="stem")(x, train=train)
    for i, width in enumerate(widths):
      stage = Stage(width, self.blocks, 2 if i else 1, name=f"stage_{i}")
      x = stage(x, train=train)
    if not self.classify:
      return x
    return nn.Dense(self.classes, name="head")(MeanPool(name="pool")(x))


@register("cifar_resnet")
def cifar_resnet(
  depth: int,
  widths: tuple[int, int, int, int] = PLAIN,
  *,
  classes: int,
  normalise: str | tuple | None = None,
) -> CifarResNet:
  """Makes a residual network for small images.

  Convolutions start He normal by fan-out, as in the literature's code.

  Args:
    depth: layers with weights, 6 n + 2: n blocks in each of three stages.
    widths: channels of the stem and of each stage.
    classes: number of classes.
    normalise: None, "cifar10", "cifar100", ... or ((mean, ...), (deviation,
      ...)): what images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for another depth, widths that are not four numbers >= 1, or a
      `normalise` that is neither.

  Example:
    >>> cifar_resnet(20, classes=100).blocks
    3

  Source:
    He, Zhang, Ren, Sun 2015, arXiv:1512.03385.
  """
  checks.whole_number("depth", depth, least=8)
  if depth % 6 != 2:
    raise ValueError(f"depth must be 6 n + 2, such as 8, 20 or 56, got {depth}")
  if not isinstance(widths, tuple) or len(widths) != 4:
    raise ValueError(f"widths must be four numbers, got {widths!r}")
  for width in widths:
    checks.whole_number("a width", width)
  statistics = read_statistics(normalise)
  return CifarResNet((depth - 2) // 6, widths, classes, statistics=statistics)


def _named(name: str, depth: int, widths: tuple[int, int, int, int]) -> None:
  """Registers one of the literature's names."""

  @register(name)
  def maker(
    *, classes: int, normalise: str | tuple | None = None
  ) -> CifarResNet:
    return cifar_resnet(depth, widths, classes=classes, normalise=normalise)

  maker.__doc__ = f"Makes cifar_resnet({depth}, {widths})."


for _name, (_depth, _widths) in NAMES.items():
  _named(_name, _depth, _widths)
