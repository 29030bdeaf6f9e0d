"""What a network does to images in [0, 1] before its first layer."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Statistics(NamedTuple):
  """Mean and standard deviation of each channel, of pixels in [0, 1]."""

  mean: tuple[float, ...]
  deviation: tuple[float, ...]


# What published networks were trained with.
NAMED = {
  "cifar10": Statistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
  "cifar100": Statistics((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
  "imagenet": Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
  "half": Statistics((0.5,), (0.5,)),
}


def read_statistics(
  normalise: str | Sequence[Sequence[float]] | None,
) -> Statistics | None:
  """Reads the option `normalise` of a model.

  Args:
    normalise: None, "imagenet", "cifar10", "cifar100", "half" or ((mean, ...),
      (deviation, ...)), one number for all channels or one a channel.

  Returns:
    The statistics; None where images stay as they are.

  Example:
    >>> read_statistics("half")
    Statistics(mean=(0.5,), deviation=(0.5,))
  """
  if normalise is None:
    return None
  if isinstance(normalise, str):
    if normalise not in NAMED:
      raise ValueError(
        f"normalise is one of {sorted(NAMED)}, got {normalise!r}"
      )
    return NAMED[normalise]
  try:
    mean, deviation = (tuple(map(float, part)) for part in normalise)
  except (TypeError, ValueError):
    raise ValueError(
      "normalise is a name or ((mean, ...), (deviation, ...)), got"
      f" {normalise!r}"
    ) from None
  sound = (
    np.isfinite([*mean, *deviation]).all() and min(deviation, default=0) > 0
  )
  if len(mean) != len(deviation) or not sound:
    raise ValueError(
      "normalise needs as many means as deviations, finite, deviations > 0;"
      f" got {normalise!r}"
    )
  return Statistics(mean, deviation)


def standardise(images: jax.Array, statistics: Statistics | None) -> jax.Array:
  """Brings images to mean 0 and deviation 1, channel by channel.

  y = (x - mean) / deviation

  Args:
    images: (B, H, W, D) float in [0, 1].
    statistics: of 1 or D channels; None returns the images as they are.

  Returns:
    (B, H, W, D) float.

  Example:
    >>> print(standardise(jnp.ones((1, 1, 1, 1)), read_statistics("half")).ravel())
    [1.]
  """
  if statistics is None:
    return images
  channels = len(statistics.mean)
  if channels not in (1, images.shape[-1]):
    raise ValueError(
      f"normalise has {channels} channels, but the images {images.shape[-1]}"
    )
  shape = (1,) * (images.ndim - 1) + (channels,)
  mean = jnp.asarray(statistics.mean, images.dtype).reshape(shape)
  deviation = jnp.asarray(statistics.deviation, images.dtype).reshape(shape)
  return (images - mean) / deviation
