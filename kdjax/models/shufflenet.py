"""ShuffleNets for small images.

V1: Zhang, Zhou, Lin, Sun 2017, arXiv:1707.01083. V2: Ma, Zhang, Zheng, Sun 2018,
arXiv:1807.11164. As the distillation literature trains them on 32 x 32 images
(RepDistiller, arXiv:1910.10699): a 1 x 1 stem that keeps the resolution.

Every block hands on its pre-activation, and the stage activates it. In V2 that
is the same as activating one half: the other half is activated already, and the
shuffle only orders channels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models import checks
from kdjax.models.layers import (
  Activation,
  MeanPool,
  NormedConvolution,
  batch_norm,
  convolution,
  with_border,
)
from kdjax.models.registry import register
from kdjax.models.statistics import (
  Statistics,
  read_statistics,
  standardise,
)

STEM = 24
BLOCKS = (4, 8, 4)
V1_GROUPS = 3
V1_WIDTHS = (240, 480, 960)
# Channels of the three stages and of the tail, by the factor on the width.
V2_WIDTHS = {
  0.5: (48, 96, 192, 1024),
  1.0: (116, 232, 464, 1024),
  1.5: (176, 352, 704, 1024),
  2.0: (244, 488, 976, 2048),
}


def channel_shuffle(x: jax.Array, *, groups: int) -> jax.Array:
  """Deals the channels of each group out to all groups.

  Args:
    x: (..., C), C divisible by groups.
    groups: how many groups lie side by side.

  Returns:
    (..., C): first every group's first channel, then every second, ...
  """
  split = x.reshape(*x.shape[:-1], groups, -1)
  return jnp.swapaxes(split, -1, -2).reshape(x.shape)


class BlockV1(nn.Module):
  """Grouped 1 x 1, shuffle, 3 x 3 a channel, grouped 1 x 1; no last ReLU.

  With stride 2 the pooled input is put beside the result, else added to it.

  Attributes:
    width: output channels.
    stride: step of the 3 x 3 convolution.
  """

  width: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    new = self.width - (x.shape[-1] if self.stride == 2 else 0)
    inner = new // 4
    # The stem has too few channels to be cut into groups.
    groups = 1 if x.shape[-1] == STEM else V1_GROUPS
    y = convolution(inner, 1, groups=groups, name="conv_0")(x)
    y = nn.relu(batch_norm(train=train, name="norm_0")(y))
    y = channel_shuffle(y, groups=groups)
    y = convolution(inner, 3, stride=self.stride, groups=inner, name="conv_1")(
      y
    )
    y = nn.relu(batch_norm(train=train, name="norm_1")(y))
    y = convolution(new, 1, groups=V1_GROUPS, name="conv_2")(y)
    y = batch_norm(train=train, name="norm_2")(y)
    if self.stride == 1:
      return x + y
    shortcut = nn.avg_pool(
      with_border(x, 1), window_shape=(3, 3), strides=(2, 2)
    )
    return jnp.concatenate([y, shortcut], axis=-1)


class BlockV2(nn.Module):
  """Filters one half of the channels, or with stride 2 all of them twice.

  Attributes:
    width: output channels.
    stride: step of the 3 x 3 convolutions.
  """

  width: int
  stride: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    half = self.width // 2
    if self.stride == 1:
      shortcut, y = jnp.split(x, 2, axis=-1)
    else:
      shortcut, y = self._filter(x, 3, x.shape[-1], train), x
      shortcut = convolution(half, 1, name="conv_4")(shortcut)
      shortcut = batch_norm(train=train, name="norm_4")(shortcut)
    y = convolution(half, 1, name="conv_0")(y)
    y = nn.relu(batch_norm(train=train, name="norm_0")(y))
    y = self._filter(y, 1, half, train)
    y = convolution(half, 1, name="conv_2")(y)
    y = batch_norm(train=train, name="norm_2")(y)
    return channel_shuffle(jnp.concatenate([shortcut, y], axis=-1), groups=2)

  def _filter(self, x: jax.Array, i: int, width: int, train: bool) -> jax.Array:
    """A 3 x 3 convolution of each channel by itself, normalised."""
    x = convolution(
      width, 3, stride=self.stride, groups=width, name=f"conv_{i}"
    )(x)
    return batch_norm(train=train, name=f"norm_{i}")(x)


class Stage(nn.Module):
  """Blocks of one width, each followed by a ReLU; the last is `activation`.

  Attributes:
    block: BlockV1 or BlockV2.
    width: output channels.
    blocks: number of blocks, of which the first halves the resolution.
  """

  block: type[nn.Module]
  width: int
  blocks: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for i in range(self.blocks):
      x = nn.relu(x) if i else x
      block = self.block(self.width, 1 if i else 2, name=f"block_{i}")
      x = block(x, train=train)
    return Activation(name="activation")(x)


class ShuffleNet(nn.Module):
  """`stem`, three stages, a 1 x 1 `tail` in V2, the mean, a linear `head`.

  Attributes:
    block: BlockV1 or BlockV2.
    widths: channels of the stages.
    tail: channels of the tail; 0 for none.
    classes: number of classes.
    classify: False returns the last stage's output.
    statistics: of the images, for their standardisation; None for none.
  """

  block: type[nn.Module]
  widths: tuple[int, int, int]
  tail: int
  classes: int
  classify: bool = True
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    checks.image_side("a ShuffleNet", images, 8)
    x = standardise(images, self.statistics)
    x = NormedConvolution(STEM, 1, name="stem")(x, train=train)
    for i, (width, blocks) in enumerate(zip(self.widths, BLOCKS, strict=True)):
      stage = Stage(self.block, width, blocks, name=f"stage_{i}")
      x = stage(x, train=train)
    if not self.classify:
      return x
    if self.tail:
      x = NormedConvolution(self.tail, 1, name="tail")(x, train=train)
    return nn.Dense(self.classes, name="head")(MeanPool(name="pool")(x))


@register("shufflenet_v1")
def shufflenet_v1(
  *, classes: int, normalise: str | tuple | None = None
) -> ShuffleNet:
  """Makes a ShuffleNet V1 for small images, with three groups.

  Convolutions start He normal by fan-out.

  Args:
    classes: number of classes.
    normalise: None, "cifar10", "cifar100", ... or ((mean, ...), (deviation,
      ...)): what images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for a `normalise` that is neither; at trace time, for images
      below 8 pixels.

  Example:
    >>> shufflenet_v1(classes=100).widths
    (240, 480, 960)

  Source:
    Zhang, Zhou, Lin, Sun 2017, arXiv:1707.01083.
  """
  statistics = read_statistics(normalise)
  return ShuffleNet(BlockV1, V1_WIDTHS, 0, classes, statistics=statistics)


@register("shufflenet_v2")
def shufflenet_v2(
  width: float = 1.0, *, classes: int, normalise: str | tuple | None = None
) -> ShuffleNet:
  """Makes a ShuffleNet V2 for small images.

  Convolutions start He normal by fan-out.

  Args:
    width: factor on the channels: 0.5, 1, 1.5 or 2, as in the paper.
    classes: number of classes.
    normalise: None, "cifar10", "cifar100", ... or ((mean, ...), (deviation,
      ...)): what images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, C) -> logits (B, classes).

  Raises:
    ValueError: for another width or a `normalise` that is neither; at trace
      time, for images below 8 pixels.

  Example:
    >>> shufflenet_v2(classes=100).widths
    (116, 232, 464)

  Source:
    Ma, Zhang, Zheng, Sun 2018, arXiv:1807.11164.
  """
  if isinstance(width, bool) or width not in V2_WIDTHS:
    raise ValueError(f"width must be one of {[*V2_WIDTHS]}, got {width!r}")
  *widths, tail = V2_WIDTHS[width]
  statistics = read_statistics(normalise)
  return ShuffleNet(
    BlockV2, tuple(widths), tail, classes, statistics=statistics
  )
