"""From stored pixels to what networks eat."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp


def to_float(images: jax.Array) -> jax.Array:
  """Turns stored pixels into floats; traceable, so it runs on the device.

  Keeping images as bytes until here makes moving them four times cheaper.

  Args:
    images: (..., H, W, C) uint8 in 0..255, or any float; or inputs by name, of
      which whole numbers and truth values, such as tokens and their mask, are no
      pixels and stay as they are.

  Returns:
    float32, same shape: uint8 / 255, in [0, 1], to the last bit or
    one beside it (XLA multiplies by 1 / 255); floats keep their values.

  Raises:
    TypeError: for other integers, whose range is not known.

  Example:
    >>> print(to_float(jnp.array([0, 51, 255], jnp.uint8)).round(6))
    [0.  0.2 1. ]
  """
  if isinstance(images, Mapping):
    return {
      name: x if x.dtype.kind in "ib" else to_float(x)
      for name, x in images.items()
    }
  if images.dtype == jnp.uint8:
    return images.astype(jnp.float32) / 255.0
  if jnp.issubdtype(images.dtype, jnp.floating):
    return images.astype(jnp.float32)
  raise TypeError(f"to_float takes uint8 or float images, got {images.dtype}")


def middle(images: jax.Array, size: int) -> jax.Array:
  """Cuts the middle square out of images.

  Args:
    images: (..., H, W, C).
    size: side of the square, at most H and W.

  Returns:
    (..., size, size, C).

  Raises:
    ValueError: at trace time, for images that are smaller.

  Example:
    >>> print(middle(jnp.arange(16).reshape(4, 4, 1), 2)[..., 0])
    [[ 5  6]
     [ 9 10]]
  """
  height, width = images.shape[-3:-1]
  if size > min(height, width):
    raise ValueError(f"images of {height} x {width} have no middle of {size}")
  top, left = (height - size) // 2, (width - size) // 2
  return images[..., top : top + size, left : left + size, :]


def plain_view(size: int | None) -> Callable[[jax.Array], jax.Array]:
  """Returns how networks see stored images that are not augmented.

  Args:
    size: side of the middle that they see; None is all.

  Returns:
    A function (..., H, W, C) stored -> (..., size, size, C) float32.

  Example:
    >>> plain_view(2)(jnp.zeros((1, 4, 4, 3), jnp.uint8)).shape
    (1, 2, 2, 3)
  """
  if size is None:
    return to_float
  return lambda images: middle(to_float(images), size)
