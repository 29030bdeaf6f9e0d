"""Rectangles of an image, drawn at random and scaled to a square; traceable."""

import math

import jax
import jax.numpy as jnp

# As torchvision: a rectangle that does not fit is drawn again, this often.
TRIES = 10


def draw_box(
  key: jax.Array,
  height: int,
  width: int,
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> jax.Array:
  """Draws a rectangle of random area and shape that lies within an image.

  Its area is a uniform share of the image's, the logarithm of its width / height
  uniform, its place uniform. Where no try fits, it is the largest rectangle in
  the image's middle whose shape is allowed.

  Args:
    scale: least and greatest share of the area.

  Returns:
    (4,) int32: top, left, height and width.
  """
  for_size, for_place = jax.random.split(key)
  area, shape = jax.random.uniform(for_size, (2, TRIES))
  area = (scale[0] + (scale[1] - scale[0]) * area) * height * width
  low, high = map(math.log, ratio)
  shape = jnp.exp(low + (high - low) * shape)
  tall = jnp.round(jnp.sqrt(area / shape)).astype(jnp.int32)
  wide = jnp.round(jnp.sqrt(area * shape)).astype(jnp.int32)
  fits = (tall > 0) & (tall <= height) & (wide > 0) & (wide <= width)
  first = jnp.argmax(fits)
  size = jnp.stack([tall[first], wide[first]])
  slack = jnp.array([height, width]) - size
  # Bits modulo the room: biased by 2^-32 * room, and half of randint's cost.
  bits = jax.random.bits(for_place, (2,)) % (slack + 1).astype(jnp.uint32)
  box = jnp.concatenate([bits.astype(jnp.int32), size])
  return jnp.where(fits.any(), box, _middle(height, width, ratio))


def scale_box(image: jax.Array, box: jax.Array, size: int) -> jax.Array:
  """Scales a rectangle of an image to a square.

  Bilinear, with antialiasing where it shrinks, as Pillow does it: a product
  with one matrix of weights an axis, since the rectangle is not known when the
  program is compiled.

  Args:
    image: (H, W, C) float.
    box: (4,) int: top, left, height and width.
    size: side of the square, >= 1.

  Returns:
    (size, size, C) float.
  """
  height, width, _ = image.shape
  rows = _weights(box[0], box[2], height, size, image.dtype)
  columns = _weights(box[1], box[3], width, size, image.dtype)
  # The TPU's default precision would round pixels to 8 bits of mantissa.
  precise = jax.lax.Precision.HIGHEST
  return jnp.einsum("yh,hwc,xw->yxc", rows, image, columns, precision=precise)


def _weights(start, length, side, size, dtype) -> jax.Array:
  """(size, side): triangles as wide as a new pixel, but at least an old one."""
  step = length / size
  centre = (start + (jnp.arange(size) + 0.5) * step)[:, None]
  pixel = jnp.arange(side)[None]
  near = 1 - jnp.abs(pixel + 0.5 - centre) / jnp.maximum(step, 1.0)
  inside = (pixel >= start) & (pixel < start + length)
  weights = jnp.where(inside, jnp.maximum(near, 0.0), 0.0)
  return (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)


def _middle(height: int, width: int, ratio: tuple[float, float]) -> jax.Array:
  """The largest rectangle of an allowed shape, in the middle."""
  wide = min(width, round(height * ratio[1]))
  tall = min(height, round(width / ratio[0]))
  box = [(height - tall) // 2, (width - wide) // 2, tall, wide]
  return jnp.array(box, jnp.int32)
