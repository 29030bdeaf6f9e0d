"""Wide residual networks.

Zagoruyko, Komodakis 2016, arXiv:1605.07146: residual networks for small images
whose blocks normalise and activate first (He, Zhang, Ren, Sun 2016,
arXiv:1603.05027) and are `width` times as wide.

The first block of stages 1 and 2 changes the width, so that its normalisation
and ReLU feed both of its paths. They belong to the stage before, and the
network's last ones to stage 2: the same function and the same parameters. A
stage's output, `stage_i`, is that of its last block, as in the published code;
`stage_i/activation:in` is normalised, and `stage_i/activation` is what the next
stage or the mean takes.
"""

import flax.linen as nn
import jax

from kdjax.models import checks
from kdjax.models.layers import Activation, MeanPool, batch_norm, convolution
from kdjax.models.registry import register
from kdjax.models.statistics import (
  Statistics,
  read_statistics,
  standardise,
)


class Block(nn.Module):
  """Normalise, activate, convolve, twice, and a way around it.

  Attributes:
    width: output channels.
    stride: step of the first convolution.
    dropout: share of channels' values dropped between the convolutions.
    activated: whether the input is normalised and activated already.
  """

  width: int
  stride: int
  dropout: float
  activated: bool

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    y = x
    if not self.activated:
      y = nn.relu(batch_norm(train=train, name="norm_0")(x))
    # Only a block that keeps its input's shape hands it on untouched.
    if x.shape[-1] != self.width or self.stride != 1:
      shortcut = convolution(
        self.width, 1, stride=self.stride, name="conv_shortcut"
      )
      x = shortcut(y)
    y = convolution(self.width, 3, stride=self.stride, name="conv_0")(y)
    y = nn.relu(batch_norm(train=train, name="norm_1")(y))
    y = nn.Dropout(self.dropout, deterministic=not train)(y)
    return x + convolution(self.width, 3, name="conv_1")(y)


class Stage(nn.Module):
  """Blocks of one width; `activate` normalises and activates what they give.

  Attributes:
    width: output channels.
    blocks: number of blocks.
    stride: step of the first block.
    dropout: share of values dropped in each block.
    activated: whether the input is normalised and activated already.
  """

  width: int
  blocks: int
  stride: int
  dropout: float
  activated: bool

  def setup(self):
    self.block = [
      Block(
        self.width,
        1 if i else self.stride,
        self.dropout,
        self.activated and i == 0,
      )
      for i in range(self.blocks)
    ]
    self.norm = batch_norm()
    self.activation = Activation()

  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for block in self.block:
      x = block(x, train=train)
    return x

  def activate(self, x: jax.Array, *, train: bool) -> jax.Array:
    return self.activation(self.norm(x, use_running_average=not train))


class WideResNet(nn.Module):
  """`stem`, three stages, the mean over all positions, a linear `head`.

  Attributes:
    blocks: blocks a stage.
    width: factor on the stages' 16, 32 and 64 channels.
    classes: number of classes.
    dropout: share of values dropped in each block.
    classify: False returns the last stage's output, activated.
    statistics: of the images, for their standardisation; None for none.
  """

  blocks: int
  width: int
  classes: int
  dropout: float = 0.0
  classify: bool = True
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    x = standardise(images, self.statistics)
    x = convolution(16, 3, name="stem")(x)
    for i in range(3):
      stage = Stage(
        16 * 2**i * self.width,
        self.blocks,
        2 if i else 1,
        self.dropout,
        activated=i > 0,
        name=f"stage_{i}",
      )
      x = stage.activate(stage(x, train=train), train=train)
    if not self.classify:
      return x
    return nn.Dense(self.classes, name="head")(MeanPool(name="pool")(x))


@register("wrn")
def wrn(
  depth: int,
  width: int,
  *,
  dropout: float = 0.0,
  classes: int,
  normalise: str | tuple | None = None,
) -> WideResNet:
  """Makes a wide residual network, WRN-depth-width.

  Convolutions start He normal by fan-out, as in the paper's code.

  Args:
    depth: layers with weights, 6 n + 4: n blocks in each of three stages.
    width: factor on the channels.
    dropout: share of values dropped in each block in training, in [0, 1).
    classes: number of classes.
    normalise: None, "cifar10", "cifar100", ... or ((mean, ...), (deviation,
      ...)): what images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for another depth, a width below 1, a share outside [0, 1), or
      a `normalise` that is neither.

  Example:
    >>> wrn(40, 2, classes=100).blocks
    6

  Source:
    Zagoruyko, Komodakis 2016, arXiv:1605.07146.
  """
  checks.whole_number("depth", depth, least=10)
  if depth % 6 != 4:
    raise ValueError(
      f"depth must be 6 n + 4, such as 16, 28 or 40, got {depth}"
    )
  checks.whole_number("width", width)
  checks.share("dropout", dropout)
  statistics = read_statistics(normalise)
  return WideResNet(
    (depth - 4) // 6, width, classes, dropout, statistics=statistics
  )
