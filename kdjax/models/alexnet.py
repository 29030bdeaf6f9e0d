"""AlexNet, in torchvision's one-column form."""

from collections.abc import Collection

import flax.linen as nn
import jax

from kdjax.models import checks
from kdjax.models.layers import Activation
from kdjax.models.pooling import adaptive_average_pool
from kdjax.models.pretrained.layouts import (
  TABLES,
  Entry,
  Names,
  convolution_entries,
  dense_entries,
  dense_kernel_after,
)
from kdjax.models.registry import register
from kdjax.models.statistics import Statistics, read_statistics, standardise

# Width, size, stride and padding of each convolution, and whether a pooling
# follows it.
CONVOLUTIONS = (
  (64, 11, 4, 2, True),
  (192, 5, 1, 2, True),
  (384, 3, 1, 1, False),
  (256, 3, 1, 1, False),
  (256, 3, 1, 1, True),
)
# Uniform within 1 / sqrt(fan in): deviations of the classic initialisation.
_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Stage(nn.Module):
  """A convolution and its ReLU.

  Attributes:
    width: channels.
    size: of the kernel.
    stride: of the kernel.
    padding: zeros on every side.
  """

  width: int
  size: int
  stride: int
  padding: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = nn.Conv(
      self.width,
      (self.size, self.size),
      strides=self.stride,
      padding=((self.padding,) * 2,) * 2,
      kernel_init=_uniform,
      name="conv_0",
    )(x)
    return Activation(name="activation")(x)


class AlexNet(nn.Module):
  """Convolutions `stage_0` .. `stage_4`, `fc_0`, `fc_1` and `head`.

  A stage ends with its ReLU; poolings follow the stages 0, 1 and 4.

  Attributes:
    classes: number of classes.
    dropout: share of the inputs of `fc_0` and `fc_1` dropped in training.
    statistics: of the images, for their standardisation; None for none.
  """

  classes: int
  dropout: float = 0.5
  statistics: Statistics | None = None

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    checks.image_side("alexnet", images, 63)
    x = standardise(images, self.statistics)
    for i, (*options, pools) in enumerate(CONVOLUTIONS):
      x = Stage(*options, name=f"stage_{i}")(x)
      if pools:
        x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))
    x = adaptive_average_pool(x, 6, 6)
    x = x.reshape(x.shape[0], -1)
    for i in range(2):
      x = nn.Dropout(self.dropout, deterministic=not train)(x)
      x = nn.relu(nn.Dense(4096, kernel_init=_uniform, name=f"fc_{i}")(x))
    return nn.Dense(self.classes, kernel_init=_uniform, name="head")(x)


@register("alexnet")
def alexnet(
  *,
  classes: int,
  dropout: float = 0.5,
  normalise: str | tuple | None = None,
) -> AlexNet:
  """Makes AlexNet.

  Args:
    classes: number of classes.
    dropout: share of the inputs of `fc_0` and `fc_1` dropped in training, [0, 1).
    normalise: None, "imagenet", "half" or ((mean, ...), (deviation, ...)): what
      images in [0, 1] are standardised with first.

  Returns:
    The module: images (B, H, W, 3) -> logits (B, classes); H, W >= 63.

  Raises:
    ValueError: for a share outside [0, 1) or a `normalise` that is neither.

  Example:
    >>> alexnet(classes=10).dropout
    0.5

  Source:
    Krizhevsky 2014, arXiv:1404.5997: one column, no local response
    normalisation. Sizes other than 224 are averaged to 6 x 6 before `fc_0`.
  """
  checks.share("dropout", dropout)
  return AlexNet(classes, dropout, read_statistics(normalise))


def _entries(module: AlexNet, names: Collection[str]) -> list[Entry]:
  """torchvision's names: layers are numbered, ReLUs and poolings too."""
  del module, names
  table = []
  for i, number in enumerate((0, 3, 6, 8, 10)):
    table += convolution_entries(
      f"features.{number}", f"stage_{i}/conv_0", bias=True
    )
  table += dense_entries("classifier.1", "fc_0", dense_kernel_after(6, 6))
  table += dense_entries("classifier.4", "fc_1")
  return table + dense_entries("classifier.6", "head")


TABLES[AlexNet] = Names(_entries)
