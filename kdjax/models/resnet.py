"""Residual networks for ImageNet-sized images, as torchvision builds them."""

from collections.abc import Callable, Collection

import flax.linen as nn
import jax

from kdjax.models.layers import (
  Activation,
  MeanPool,
  batch_norm,
  convolution,
  with_border,
)
from kdjax.models.pretrained.layouts import (
  TABLES,
  Entry,
  Names,
  convolution_entries,
  dense_entries,
  norm_entries,
)
from kdjax.models.registry import register
from kdjax.models.statistics import Statistics, read_statistics, standardise

# Blocks of each of the four stages; from 50 layers on with bottlenecks.
BLOCKS = {
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
  152: (3, 8, 36, 3),
}


class Block(nn.Module):
  """A residual sum before its non-linearity, which the stage applies.

  Attributes:
    width: channels of the 3 x 3 convolution(s).
    stride: of the 3 x 3 convolution that halves the image, and of the shortcut.
    bottleneck: 1 x 1, 3 x 3, 1 x 1 to 4 * width rather than two 3 x 3.
  """

  width: int
  stride: int
  bottleneck: bool

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    # The stride sits on the 3 x 3, as in torchvision ("version 1.5").
    layers = (
      ((1, 1, 1), (3, self.stride, 1), (1, 1, 4))
      if self.bottleneck
      else ((3, self.stride, 1), (3, 1, 1))
    )
    y, out = x, self.width * layers[-1][2]
    for i, (size, stride, growth) in enumerate(layers):
      y = nn.relu(y) if i else y
      y = convolution(
        self.width * growth, size, stride=stride, name=f"conv_{i}"
      )(y)
      y = batch_norm(train=train, name=f"norm_{i}")(y)
    if self.stride != 1 or x.shape[-1] != out:
      x = convolution(out, 1, stride=self.stride, name="shortcut_conv")(x)
      x = batch_norm(train=train, name="shortcut_norm")(x)
    return y + x


class Stage(nn.Module):
  """Blocks of one width; only the first may shrink the image.

  Attributes:
    blocks: how many.
    width: channels of the 3 x 3 convolutions.
    stride: of the first block.
    bottleneck: the kind of blocks.
  """

  blocks: int
  width: int
  stride: int
  bottleneck: bool

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for i in range(self.blocks):
      x = nn.relu(x) if i else x
      stride = 1 if i else self.stride
      x = Block(self.width, stride, self.bottleneck, name=f"block_{i}")(
        x, train=train
      )
    return Activation(name="activation")(x)


class Stem(nn.Module):
  """A 7 x 7 convolution and a pooling: a quarter of the height and width.

  Attributes:
    width: channels.
  """

  width: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    x = convolution(self.width, 7, stride=2, name="conv_0")(x)
    x = batch_norm(train=train, name="norm_0")(x)
    x = Activation(name="activation")(x)
    # Nothing is below 0 after the activation: the border never wins.
    x = with_border(x, 1)
    return nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))


class ResNet(nn.Module):
  """`stem`, stages `stage_0` .. `stage_3`, the mean over places and `head`.

  Attributes:
    blocks: number of blocks of each stage.
    bottleneck: the kind of blocks.
    classes: number of classes.
    width: channels of the stem and the first stage; doubles from stage to stage.
    statistics: of the images, for their standardisation; None for none.
    classify: False returns the last stage's output.
  """

  blocks: tuple[int, ...]
  bottleneck: bool
  classes: int
  width: int = 64
  statistics: Statistics | None = None
  classify: bool = True

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    x = standardise(images, self.statistics)
    x = Stem(self.width, name="stem")(x, train=train)
    for i, blocks in enumerate(self.blocks):
      x = Stage(
        blocks,
        self.width << i,
        stride=2 if i else 1,
        bottleneck=self.bottleneck,
        name=f"stage_{i}",
      )(x, train=train)
    if not self.classify:
      return x
    return nn.Dense(self.classes, name="head")(MeanPool(name="pool")(x))


_DOC = """Makes the residual network of {layers} layers for ImageNet.

Args:
  classes: number of classes.
  normalise: None, "imagenet", "half" or ((mean, ...), (deviation, ...)): what
    images in [0, 1] are standardised with first.

Returns:
  The module: images (B, H, W, 3) -> logits (B, classes); any size of images.

Raises:
  ValueError: for a `normalise` that is neither.

Example:
  >>> resnet{layers}(classes=10).blocks
  {blocks}

Source:
  He, Zhang, Ren, Sun 2015, arXiv:1512.03385. The stride is on the 3 x 3
  convolution of a bottleneck, as in torchvision, not on the first 1 x 1.
"""


def _maker(layers: int) -> Callable[..., ResNet]:
  def make(*, classes: int, normalise: str | tuple | None = None) -> ResNet:
    return ResNet(
      BLOCKS[layers],
      bottleneck=layers >= 50,
      classes=classes,
      statistics=read_statistics(normalise),
    )

  make.__name__ = make.__qualname__ = f"resnet{layers}"
  make.__doc__ = _DOC.format(layers=layers, blocks=BLOCKS[layers])
  return register(make.__name__)(make)


resnet18, resnet34, resnet50, resnet101, resnet152 = map(_maker, BLOCKS)


def _entries(module: ResNet, names: Collection[str]) -> list[Entry]:
  """torchvision's names, which timm has taken over."""
  del names
  table = convolution_entries("conv1", "stem/conv_0", bias=False)
  table += norm_entries("bn1", "stem/norm_0", running=True)
  for i, blocks in enumerate(module.blocks):
    for j in range(blocks):
      source, target = f"layer{i + 1}.{j}", f"stage_{i}/block_{j}"
      pairs = [
        (f"conv{k + 1}", f"bn{k + 1}", f"conv_{k}", f"norm_{k}")
        for k in range(3 if module.bottleneck else 2)
      ]
      if j == 0 and (i or module.bottleneck):
        pairs.append(
          ("downsample.0", "downsample.1", "shortcut_conv", "shortcut_norm")
        )
      for conv, norm, our_conv, our_norm in pairs:
        table += convolution_entries(
          f"{source}.{conv}", f"{target}/{our_conv}", bias=False
        )
        table += norm_entries(
          f"{source}.{norm}", f"{target}/{our_norm}", running=True
        )
  return table + dense_entries("fc", "head")


TABLES[ResNet] = Names(_entries)
