"""Adaptive pooling of feature maps to a given size, as PyTorch defines it."""

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math


def adaptive_avg_pool(x: jax.Array, *, size: tuple[int, int]) -> jax.Array:
  """Averages a map over a grid of bins that covers it, whatever its size.

  Along an axis of length L, bin i of l covers floor(i L / l) up to, and
  without, ceil((i + 1) L / l). Bins overlap where l does not divide L, and a
  grid finer than the map repeats its cells.

  Args:
    x: (B, H, W, C) float.
    size: (h, w), the grid; static.

  Returns:
    (B, h, w, C) float32 (float64 for float64), in the map's unit.

  Raises:
    ValueError: at trace time, if `x` is no NHWC map or `size` no pair of
      positive integers.

  Example:
    >>> x = jnp.arange(5.0).reshape(1, 5, 1, 1)
    >>> print(adaptive_avg_pool(x, size=(2, 1)).ravel())
    [1. 3.]

  Source:
    PyTorch's `adaptive_avg_pool2d`, for NHWC. As a mean over a rectangle is one
    over rows of one over columns, the axes are pooled one after the other.
  """
  _check_pool("adaptive_avg_pool", x, size)
  x = _math.at_least_float32(x)
  for axis, bins in zip((1, 2), size, strict=True):
    x = _average(x, axis, bins)
  return x


def adaptive_max_pool(x: jax.Array, *, size: tuple[int, int]) -> jax.Array:
  """Takes the maximum of a map over a grid of bins that covers it.

  The bins are those of `adaptive_avg_pool`. Tied maxima share the gradient,
  where PyTorch gives all of it to one of them.

  Args:
    x: (B, H, W, C) float.
    size: (h, w), the grid; static.

  Returns:
    (B, h, w, C) float32 (float64 for float64), in the map's unit.

  Raises:
    ValueError: at trace time, if `x` is no NHWC map or `size` no pair of
      positive integers.

  Example:
    >>> x = jnp.arange(5.0).reshape(1, 5, 1, 1)
    >>> print(adaptive_max_pool(x, size=(2, 1)).ravel())
    [2. 4.]

  Source:
    PyTorch's `adaptive_max_pool2d`, for NHWC.
  """
  _check_pool("adaptive_max_pool", x, size)
  x = _math.at_least_float32(x)
  for axis, bins in zip((1, 2), size, strict=True):
    x = _maximum(x, axis, bins)
  return x


def pool_to_smaller(
  function: str,
  student: jax.Array,
  teacher: jax.Array,
  *,
  same_channels: bool = True,
) -> tuple[jax.Array, jax.Array]:
  """Average-pools both maps to the smaller height and the smaller width.

  Args:
    function: the caller's name, for error messages.
    student: (n, H, W, C) float.
    teacher: (n, H', W', C') float.
    same_channels: whether C and C' must be the same.

  Returns:
    Both maps in working precision, the teacher's as a constant.

  Raises:
    ValueError: at trace time, if the shapes do not fit; names function and both.
  """
  _features.check_maps(function, student, teacher, same_channels=same_channels)
  size = smaller_size(student, teacher)
  student, teacher = _features.working_pair(student, teacher)
  return (
    adaptive_avg_pool(student, size=size),
    adaptive_avg_pool(teacher, size=size),
  )


def smaller_size(first: jax.Array, second: jax.Array) -> tuple[int, int]:
  """Returns the smaller height and the smaller width of two NHWC maps.

  Args:
    first: (n, H, W, C).
    second: (n, H', W', C').

  Returns:
    (height, width).
  """
  return (
    min(first.shape[1], second.shape[1]),
    min(first.shape[2], second.shape[2]),
  )


def _check_pool(function, x, size):
  if x.ndim != 4:
    raise ValueError(
      f"{function}: x must be (batch, height, width, channels), got {x.shape}"
    )
  if len(size) != 2 or any(int(side) != side or side < 1 for side in size):
    raise ValueError(
      f"{function}: size must be two positive integers (h, w), got {size} for"
      f" a map of shape {x.shape}"
    )


def _bins(length, bins):
  """Returns where each bin starts and where it has ended."""
  starts = [i * length // bins for i in range(bins)]
  ends = [-(-(i + 1) * length // bins) for i in range(bins)]
  return starts, ends


def _split(x, axis, bins):
  """Returns the axis as (bins, length / bins)."""
  shape = (*x.shape[:axis], bins, -1, *x.shape[axis + 1 :])
  return x.reshape(shape)


def _average(x, axis, bins):
  length = x.shape[axis]
  if length == bins:
    return x
  if length % bins == 0:
    return jnp.mean(_split(x, axis, bins), axis=axis + 1)
  starts, ends = (jnp.array(edges)[:, None] for edges in _bins(length, bins))
  position = jnp.arange(length)[None, :]
  inside = ((starts <= position) & (position < ends)).astype(x.dtype)
  weights = inside / (ends - starts).astype(x.dtype)
  pooled = jnp.tensordot(
    weights, x, axes=((1,), (axis,)), precision=_math.HIGHEST
  )
  return jnp.moveaxis(pooled, 0, axis)


def _maximum(x, axis, bins):
  length = x.shape[axis]
  if length == bins:
    return x
  if length % bins == 0:
    return _math.maximum(_split(x, axis, bins), axis + 1)
  starts, ends = _bins(length, bins)
  widest = max(end - start for start, end in zip(starts, ends, strict=True))
  index = jnp.array(starts)[:, None] + jnp.arange(widest)[None, :]
  inside = index < jnp.array(ends)[:, None]
  windows = jnp.take(x, jnp.minimum(index, length - 1), axis=axis)
  inside = inside.reshape(
    (1,) * axis + inside.shape + (1,) * (x.ndim - axis - 1)
  )
  # A bin narrower than the widest is filled up with -inf, not with a repeated
  # cell, which would tie with itself.
  return _math.maximum(jnp.where(inside, windows, -jnp.inf), axis + 1)
