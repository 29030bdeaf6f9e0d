"""DeepLab: a pyramid of dilated convolutions, sharpened by the first stage."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.models import checks, dense
from kdjax.models.layers import (
  Activation,
  NormedConvolution,
  batch_norm,
  he_normal_fan_out,
)
from kdjax.models.registry import register


class Dilated(nn.Module):
  """A 3 x 3 convolution with gaps, batch normalisation and ReLU.

  Attributes:
    width: output channels.
    rate: distance of the pixels that it looks at.
  """

  width: int
  rate: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    x = nn.Conv(
      self.width,
      (3, 3),
      kernel_dilation=self.rate,
      padding=((self.rate, self.rate), (self.rate, self.rate)),
      use_bias=False,
      kernel_init=he_normal_fan_out,
      name="conv",
    )(x)
    x = batch_norm(train=train, name="norm")(x)
    return Activation(name="activation")(x)


class Pyramid(nn.Module):
  """Atrous spatial pyramid pooling: one map at several distances, and its mean.

  Attributes:
    width: output channels, of each branch too.
    rates: of the dilated branches.
  """

  width: int
  rates: tuple[int, ...]

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    branches = [NormedConvolution(self.width, 1, name="point")(x, train=train)]
    branches += [
      Dilated(self.width, rate, name=f"dilated_{i}")(x, train=train)
      for i, rate in enumerate(self.rates)
    ]
    mean = x.mean(axis=(1, 2), keepdims=True)
    mean = NormedConvolution(self.width, 1, name="mean")(mean, train=train)
    branches.append(jnp.broadcast_to(mean, branches[0].shape))
    x = jnp.concatenate(branches, axis=-1)
    return NormedConvolution(self.width, 1, name="project")(x, train=train)


class DeepLab(nn.Module):
  """A backbone's `stage_0` .., a `pyramid` on the last, a `decoder` and `head`.

  Attributes:
    backbone: returns its last stage; its parts have the names that they have alone.
    classes: number of classes.
    width: channels of the pyramid and the decoder.
    rates: of the pyramid's dilated convolutions.
  """

  backbone: nn.Module
  classes: int
  width: int
  rates: tuple[int, ...]

  def setup(self):
    nn.share_scope(self, self.backbone)

  @nn.compact
  def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
    first, *_, last = dense.stages_of(self.backbone, images, train=train)
    x = Pyramid(self.width, self.rates, name="pyramid")(last, train=train)
    fine = NormedConvolution(max(1, self.width // 4), 1, name="fine")
    x = jnp.concatenate(
      [fine(first, train=train), dense.resize(x, first.shape[1:3])], axis=-1
    )
    x = NormedConvolution(self.width, 3, name="decoder")(x, train=train)
    return dense.resize(dense.head(self.classes)(x), images.shape[1:3])


@register("deeplab")
def deeplab(
  backbone: str = "resnet8",
  width: int = 64,
  rates: tuple[int, ...] = (2, 4, 6),
  *,
  classes: int,
) -> DeepLab:
  """Makes a DeepLab (v3+) of a backbone.

  As published but for one convolution in the decoder, and plain ones in place of
  separable ones. The backbone's own strides stay as they are.

  Args:
    backbone: a model of maps by name, such as "resnet20" or "mobilenet_v2(0.25)".
    width: channels of the pyramid and the decoder.
    rates: of the dilated convolutions, in pixels of the last stage; the paper's are
      (6, 12, 18), for images of 513 pixels.
    classes: number of classes.

  Returns:
    The module: images (B, H, W, C) of any size that the backbone takes -> logits
    (B, H, W, classes).

  Raises:
    ValueError: for a backbone without stages of maps, or a number below 1.

  Example:
    >>> deeplab("resnet8", classes=11).rates
    (2, 4, 6)

  Source:
    Chen, Zhu, Papandreou, Schroff, Adam 2018, arXiv:1802.02611.
  """
  checks.whole_number("width", width)
  if not isinstance(rates, tuple) or not rates:
    raise ValueError(f"rates must be numbers such as (2, 4, 6), got {rates!r}")
  for rate in rates:
    checks.whole_number("a rate", rate)
  return DeepLab(dense.read_backbone(backbone), classes, width, rates)
