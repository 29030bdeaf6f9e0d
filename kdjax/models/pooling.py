"""Pooling that linen has not."""

import jax
import jax.numpy as jnp
import numpy as np


def adaptive_average_pool(
  images: jax.Array, height: int, width: int
) -> jax.Array:
  """Averages images of any size down, or up, to a fixed grid of cells.

  y_ij = mean of x over rows floor(i H / height) .. ceil((i + 1) H / height)
  and the columns alike, so that cells may overlap, as torch's do.

  Args:
    images: (B, H, W, D) float.

  Returns:
    (B, height, width, D) float.
  """
  if images.shape[1:3] == (height, width):
    return images
  rows, columns = (
    _averages(size, cells)
    for size, cells in zip(images.shape[1:3], (height, width), strict=True)
  )
  # Cells are means of a few numbers: fast, coarse products would show.
  means = jnp.einsum(
    "ih,jw,bhwd->bijd", rows, columns, images, precision="highest"
  )
  return means.astype(images.dtype)


def _averages(size: int, cells: int) -> np.ndarray:
  """(cells, size): row i averages what falls into cell i."""
  matrix = np.zeros((cells, size), np.float32)
  for i in range(cells):
    first, last = i * size // cells, -(-(i + 1) * size // cells)
    matrix[i, first:last] = 1 / (last - first)
  return matrix
