"""VGG networks, with and without batch normalisation."""

from collections.abc import Callable, Collection

import flax.linen as nn
import jax

from kdjax.models import checks
from kdjax.models.layers import PlainStage, max_pool_2x2
from kdjax.models.pooling import adaptive_average_pool
from kdjax.models.pretrained.layouts import (
  TABLES,
  Entry,
  Names,
  convolution_entries,
  dense_entries,
  dense_kernel_after,
  norm_entries,
)
from kdjax.models.registry import register
from kdjax.models.statistics import Statistics, read_statistics, standardise

# Convolutions of each of the five stages.
CONVOLUTIONS = {
  11: (1, 1, 2, 2, 2),
  13: (2, 2, 2, 2, 2),
  16: (2, 2, 3, 3, 3),
  19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
  """`stage_0` .. `stage_4`, layers `fc_0` and `fc_1`, and `head`.

  A stage ends with its last ReLU; the pooling that follows belongs to none.

  Attributes:
    convolutions: number of each stage's.
    batch_norm: whether convolutions are followed by one.
    classes: number of classes.
    dropout: share of the units of `fc_0` and `fc_1` dropped in training.
    statistics: of the images, for their standardisation; None for none.
  """

  convolutions: tuple[int, ...]
  batch_norm: bool
  classes: int
  dropout: float = 0.5
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    checks.image_side("vgg", images, 32)
    x = standardise(images, self.statistics)
    for i, convolutions in enumerate(self.convolutions):
      width = min(64 << i, 512)
      x = PlainStage(convolutions, width, self.batch_norm, name=f"stage_{i}")(
        x, train=train
      )
      x = max_pool_2x2(x)
    x = adaptive_average_pool(x, 7, 7)
    x = x.reshape(x.shape[0], -1)
    normal = nn.initializers.normal(0.01)
    for i in range(2):
      x = nn.relu(nn.Dense(4096, kernel_init=normal, name=f"fc_{i}")(x))
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return nn.Dense(self.classes, kernel_init=normal, name="head")(x)


_DOC = """Makes the VGG network of {layers} layers{kind}.

Args:
  classes: number of classes.
  dropout: share of the units of `fc_0` and `fc_1` dropped in training, [0, 1).
  normalise: None, "imagenet", "half" or ((mean, ...), (deviation, ...)): what
    images in [0, 1] are standardised with first.

Returns:
  The module: images (B, H, W, 3) -> logits (B, classes); H, W >= 32.

Raises:
  ValueError: for a share outside [0, 1) or a `normalise` that is neither.

Example:
  >>> {name}(classes=10).convolutions
  {convolutions}

Source:
  Simonyan, Zisserman 2014, arXiv:1409.1556. Sizes other than 224 are averaged
  to 7 x 7 before `fc_0`, as in torchvision.
"""


def _maker(layers: int, batch_norm: bool) -> Callable[..., VGG]:
  def make(
    *,
    classes: int,
    dropout: float = 0.5,
    normalise: str | tuple | None = None,
  ) -> VGG:
    checks.share("dropout", dropout)
    return VGG(
      CONVOLUTIONS[layers],
      batch_norm,
      classes,
      dropout,
      read_statistics(normalise),
    )

  make.__name__ = f"vgg{layers}" + "_bn" * batch_norm
  make.__qualname__ = make.__name__
  make.__doc__ = _DOC.format(
    name=make.__name__,
    layers=layers,
    kind=" with batch normalisation" * batch_norm,
    convolutions=CONVOLUTIONS[layers],
  )
  return register(make.__name__)(make)


vgg11, vgg13, vgg16, vgg19 = (_maker(layers, False) for layers in CONVOLUTIONS)
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (
  _maker(layers, True) for layers in CONVOLUTIONS
)


def _entries(module: VGG, names: Collection[str]) -> list[Entry]:
  """torchvision's names: layers are numbered, ReLUs and poolings too."""
  del names
  table, number = [], 0
  for i, convolutions in enumerate(module.convolutions):
    for j in range(convolutions):
      table += convolution_entries(
        f"features.{number}", f"stage_{i}/conv_{j}", bias=True
      )
      if module.batch_norm:
        number += 1
        table += norm_entries(
          f"features.{number}", f"stage_{i}/norm_{j}", running=True
        )
      number += 2
    number += 1
  table += dense_entries("classifier.0", "fc_0", dense_kernel_after(7, 7))
  table += dense_entries("classifier.3", "fc_1")
  return table + dense_entries("classifier.6", "head")


TABLES[VGG] = Names(_entries)
