"""A grid of cells over an image: which pixel belongs to which cell."""

import jax
import jax.numpy as jnp
import numpy as np


def cell_sums(pixels: jax.Array, grid: tuple[int, int]) -> jax.Array:
  """Adds up the pixels of every cell.

  Args:
    pixels: (B, H, W) float.
    grid: (GH, GW) cells, at most (H, W); where they do not divide the image,
      some cells are a pixel larger than others.

  Returns:
    (B, GH, GW).
  """
  rows, columns = _members(pixels.shape[1:], grid)
  return jnp.einsum("gh,bhw,kw->bgk", rows, pixels, columns)


def cell_means(pixels: jax.Array, grid: tuple[int, int]) -> jax.Array:
  """Averages the pixels of every cell.

  Args:
    pixels: (B, H, W) float.
    grid: (GH, GW), as in `cell_sums`.

  Returns:
    (B, GH, GW).
  """
  rows, columns = (
    part / part.sum(axis=1, keepdims=True)
    for part in _members(pixels.shape[1:], grid)
  )
  return jnp.einsum("gh,bhw,kw->bgk", rows, pixels, columns)


def spread(cells: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Gives every pixel its cell's value.

  Args:
    cells: (B, GH, GW) float.
    size: (H, W) of the image.

  Returns:
    (B, H, W).
  """
  rows, columns = _members(size, cells.shape[1:])
  return jnp.einsum("gh,bgk,kw->bhw", rows, cells, columns)


def _members(size, grid) -> tuple[np.ndarray, np.ndarray]:
  """Returns one-hot matrices (GH, H) and (GW, W)."""
  if not all(1 <= g <= s for g, s in zip(grid, size, strict=True)):
    raise ValueError(
      f"a grid of {tuple(grid)} cells does not fit an image of {tuple(size)}"
      " pixels"
    )
  return tuple(
    np.equal(np.arange(s)[None] * g // s, np.arange(g)[:, None]).astype(
      np.float32
    )
    for g, s in zip(grid, size, strict=True)
  )
