"""Colour operations on one image, traceable; pixels are floats in 0..1."""

import jax
import jax.numpy as jnp

# How bright red, green and blue look (ITU-R 601), as Pillow turns them grey.
_GREY = (0.299, 0.587, 0.114)


def jitter(key: jax.Array, image: jax.Array, spans: jax.Array) -> jax.Array:
  """Draws and applies brightness, contrast, saturation and hue, in this order.

  The first three are factors, uniform in [max(0, 1 - span), 1 + span]; the last
  is a turn of the colour circle, uniform in [-span, span] of it.

  Args:
    image: (H, W, 1 or 3) float.
    spans: (4,) float, >= 0; 0 changes nothing.

  Returns:
    (H, W, 1 or 3) float in 0..1.
  """
  check_channels(image)
  spans = jnp.asarray(spans)
  draws = jax.random.uniform(key, (4,))
  low = jnp.maximum(1 - spans, 0.0)
  factors = low + draws * (1 + spans - low)
  image = blend(jnp.zeros_like(image), image, factors[0])
  image = blend(jnp.mean(grey(image)), image, factors[1])
  image = blend(grey(image), image, factors[2])
  # Back and forth would round where there is nothing to turn.
  rotation = turn_hue(image, (2 * draws[3] - 1) * spans[3])
  return jnp.where(spans[3] > 0, rotation, image)


def blend(other: jax.Array, image: jax.Array, factor: jax.Array) -> jax.Array:
  """Goes from another image to this one, or on beyond it, within 0..1.

  Args:
    other: what factor 0 gives, of a shape that broadcasts.
    image: (H, W, C), what factor 1 gives.
    factor: () float, >= 0.

  Returns:
    (H, W, C).
  """
  other = jnp.broadcast_to(other, image.shape)
  # Written so that factor 1 gives the image to the last bit.
  return jnp.clip(image + (factor - 1) * (image - other), 0.0, 1.0)


def grey(image: jax.Array) -> jax.Array:
  """Says how bright each pixel looks.

  Args:
    image: (H, W, 1 or 3).

  Returns:
    (H, W, 1).
  """
  if image.shape[-1] == 1:
    return image
  # No product of matrices: the TPU's would keep 8 bits of mantissa.
  return sum(w * image[..., i : i + 1] for i, w in enumerate(_GREY))


def turn_hue(image: jax.Array, turn: jax.Array) -> jax.Array:
  """Turns the hues of an image; saturation and value (HSV) stay.

  Args:
    image: (H, W, 1 or 3) float in 0..1; grey has no hue and stays.
    turn: () float, of the whole circle.
  """
  if image.shape[-1] == 1:
    return image
  red, green, blue = jnp.moveaxis(image, -1, 0)
  high, low = image.max(axis=-1), image.min(axis=-1)
  span = high - low
  safe = jnp.where(span > 0, span, 1.0)  # of grey pixels: 0 / 0
  sixths = jnp.where(
    high == red,
    (green - blue) / safe,
    jnp.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
  )
  sixths = sixths + 6 * turn

  def channel(offset):
    place = (offset + sixths) % 6
    return high - span * jnp.clip(jnp.minimum(place, 4 - place), 0.0, 1.0)

  return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1)


def check_channels(image: jax.Array) -> None:
  """Raises a ValueError unless an image is grey or RGB.

  Args:
    image: (H, W, C).

  Example:
    >>> check_channels(jnp.zeros((2, 2, 3)))
  """
  if image.shape[-1] not in (1, 3):
    raise ValueError(
      f"it is for grey and RGB images, not for {image.shape[-1]} channels"
    )
