"""From stored pixels to what networks eat."""

import jax
import jax.numpy as jnp


def to_float(images: jax.Array) -> jax.Array:
  """Turns stored pixels into floats; traceable, so it runs on the device.

  Keeping images as bytes until here makes moving them four times cheaper.

  Args:
    images: (..., H, W, C) uint8 in 0..255, or any float.

  Returns:
    float32, same shape: uint8 / 255, in [0, 1], to the last bit or
    one beside it (XLA multiplies by 1 / 255); floats keep their values.

  Raises:
    TypeError: for other integers, whose range is not known.

  Example:
    >>> print(to_float(jnp.array([0, 51, 255], jnp.uint8)).round(6))
    [0.  0.2 1. ]
  """
  if images.dtype == jnp.uint8:
    return images.astype(jnp.float32) / 255.0
  if jnp.issubdtype(images.dtype, jnp.floating):
    return images.astype(jnp.float32)
  raise TypeError(f"to_float takes uint8 or float images, got {images.dtype}")
