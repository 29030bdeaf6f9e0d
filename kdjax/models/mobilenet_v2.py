"""MobileNetV2 for small images.

Sandler, Howard, Zhu, Zhmoginov, Chen 2018, arXiv:1801.04381, as the distillation
literature trains it on 32 x 32 images (RepDistiller, arXiv:1910.10699): ReLU, no
dropout, and only four halvings. Blocks are grouped by resolution into four
stages, whose outputs are linear: a stage's `activation` is the identity, so that
`stage_i/activation:in`, which methods match before the ReLU, is its output.
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

STEM = 32
TAIL = 1280
# Each stage's groups of blocks: channels, blocks, stride of the first block and
# whether they are wider inside.
STAGES = (
  ((16, 1, 1, False), (24, 2, 1, True)),
  ((32, 3, 2, True),),
  ((64, 4, 2, True), (96, 3, 1, True)),
  ((160, 3, 2, True), (320, 1, 1, True)),
)


class Block(nn.Module):
  """Inverted residual: widen, filter each channel, narrow without ReLU.

  Attributes:
    width: output channels.
    stride: step of the filter.
    expansion: how many times wider than the input the middle is.
  """

  width: int
  stride: int
  expansion: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    inner = x.shape[-1] * self.expansion
    y = convolution(inner, 1, name="conv_0")(x)
    y = nn.relu(batch_norm(train=train, name="norm_0")(y))
    y = convolution(inner, 3, stride=self.stride, groups=inner, name="conv_1")(
      y
    )
    y = nn.relu(batch_norm(train=train, name="norm_1")(y))
    y = convolution(self.width, 1, name="conv_2")(y)
    y = batch_norm(train=train, name="norm_2")(y)
    same = self.stride == 1 and x.shape[-1] == self.width
    return x + y if same else y


class Stage(nn.Module):
  """The blocks of one resolution.

  Attributes:
    blocks: (width, stride, expansion) of each block.
  """

  blocks: tuple[tuple[int, int, int], ...]

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for i, block in enumerate(self.blocks):
      x = Block(*block, name=f"block_{i}")(x, train=train)
    return Activation("identity", name="activation")(x)


class MobileNetV2(nn.Module):
  """`stem`, four stages, a 1 x 1 `tail`, the mean over all positions, `head`.

  Attributes:
    width: factor on the channels.
    expansion: how many times wider the blocks are inside.
    classes: number of classes.
    classify: False returns the last stage's output.
    statistics: of the images, for their standardisation; None for none.
  """

  width: float
  expansion: int
  classes: int
  classify: bool = True
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    checks.image_side("mobilenet_v2", images, 16)
    stem = NormedConvolution(int(STEM * self.width), 3, stride=2, name="stem")
    x = stem(standardise(images, self.statistics), train=train)
    for i, groups in enumerate(STAGES):
      blocks = tuple(
        (
          int(channels * self.width),
          1 if j else stride,
          self.expansion if wider else 1,
        )
        for channels, count, stride, wider in groups
        for j in range(count)
      )
      x = Stage(blocks, name=f"stage_{i}")(x, train=train)
    if not self.classify:
      return x
    tail = NormedConvolution(int(TAIL * max(1, self.width)), 1, name="tail")
    x = MeanPool(name="pool")(tail(x, train=train))
    return nn.Dense(self.classes, name="head")(x)


@register("mobilenet_v2")
def mobilenet_v2(
  width: float = 0.5,
  *,
  expansion: int = 6,
  classes: int,
  normalise: str | tuple | None = None,
) -> MobileNetV2:
  """Makes a MobileNetV2 for small images.

  Convolutions start He normal by fan-out.

  Args:
    width: factor on the channels, >= 1/16; the literature's student has 0.5.
    expansion: how many times wider the blocks are inside.
    classes: number of classes.
    normalise: None, "cifar10", "cifar100", ... or ((mean, ...), (deviation,
      ...)): what images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for a width below 1/16, an expansion below 1 or a `normalise`
      that is neither; at trace time, for images below 16 pixels.

  Example:
    >>> mobilenet_v2(classes=100).width
    0.5

  Source:
    Sandler, Howard, Zhu, Zhmoginov, Chen 2018, arXiv:1801.04381.
  """
  condition = "a number >= 1/16"
  checks.number("width", width, condition, lambda x: 1 / 16 <= x < float("inf"))
  checks.whole_number("expansion", expansion)
  statistics = read_statistics(normalise)
  return MobileNetV2(width, expansion, classes, statistics=statistics)
