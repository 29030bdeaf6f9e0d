"""What callers need around the losses: standardised logits, masked means."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks


def standardize_logits(
  logits: jax.Array, *, axis: int = -1, eps: float = 1e-7, ddof: int = 1
) -> jax.Array:
  """Takes off each row's mean and divides by its standard deviation.

  result = (z - mean(z)) / (std(z) + eps)

  A constant row gives zeros with zero gradient. Classes at -inf stay there and
  do not count.

  Args:
    logits: (..., C) float.
    axis: the classes' axis.
    eps: added to the standard deviation, in the logits' unit.
    ddof: 1 for the unbiased standard deviation, 0 for the population's.

  Returns:
    An array of the logits' shape, float32 (float64 for float64), no unit.

  Example:
    >>> print(standardize_logits(jnp.array([[1.0, 2.0, 3.0]])).round(4))
    [[-1.  0.  1.]]

  Source:
    Sun et al. 2024, arXiv:2403.01427 (the Z-score, without its T).
  """
  logits = _math.at_least_float32(logits)
  keep = _math.alive(logits)
  count = jnp.sum(keep, axis=axis, keepdims=True).astype(logits.dtype)
  # The maximum goes first: a constant row then is exactly 0, whatever its size.
  top = jax.lax.stop_gradient(jnp.max(logits, axis=axis, keepdims=True))
  shifted = jnp.where(keep, logits - top, 0.0)
  mean = jnp.sum(shifted, axis=axis, keepdims=True) / jnp.maximum(count, 1)
  centred = jnp.where(keep, shifted - mean, 0.0)
  variance = jnp.sum(
    jnp.square(centred), axis=axis, keepdims=True
  ) / jnp.maximum(count - ddof, 1)
  scaled = centred / (_math.safe_sqrt(variance) + eps)
  # Zero rows would still send 1 / eps back.
  scaled = jnp.where(variance > 0, scaled, 0.0)
  return jnp.where(keep, scaled, -jnp.inf)


def class_ids(ids: jax.Array, classes: int) -> jax.Array:
  """Reads class ids of any width, those that name no class as -1.

  Args:
    ids: (...) integer, signed or not.
    classes: C.

  Returns:
    (...) int32, -1 for an id outside 0 to C - 1: never the class that Python
    would count from the end, nor the last one.

  Example:
    >>> ids = jnp.array([2, 3, -1, -100])
    >>> print(class_ids(ids, 3))
    [ 2 -1 -1 -1]
  """
  # Within the ids' own range: a comparison with what lies beyond it overflows.
  kind = jnp.iinfo(ids.dtype)
  ids = ids.clip(max(-1, int(kind.min)), min(classes, int(kind.max)))
  ids = jnp.asarray(ids, jnp.int32)
  return jnp.where(ids < classes, ids, -1)


def masked_mean(
  values: jax.Array, mask: jax.Array, *, axis: int | tuple | None = None
) -> jax.Array:
  """Averages the values that count, with weights if the mask holds some.

  result = sum(where(mask, values, 0)) / max(count, 1), or
  result = sum(where(mask != 0, mask * values, 0)) / sum(mask)

  Args:
    values: (...) float; entries that do not count may hold NaN.
    mask: of the values' shape; bool, True = counts; or numbers, weights >= 0,
      of which 0 and 1 are the same as a bool. Gradient flows into weights.
    axis: the axes to average over; all of them by default.

  Returns:
    A scalar, or an array without `axis`, float32 (float64 for float64); 0 with
    zero gradient where nothing counts.

  Raises:
    ValueError: at trace time, if the shapes differ or a weight is negative or
      not finite.

  Example:
    >>> print(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([1, 1, 0]) > 0))
    2.0
    >>> print(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([0.3, 0.1, 0.0])))
    1.5

  Source:
    The plain formula.
  """
  if values.shape != mask.shape:
    raise ValueError(
      "masked_mean: values and mask must have the same shape, got"
      f" {values.shape} and {mask.shape}"
    )
  values = _math.at_least_float32(values)
  if not jnp.issubdtype(mask.dtype, jnp.bool_):
    return _weighted_mean(values, mask, axis)
  count = jnp.maximum(jnp.sum(mask, axis=axis), 1).astype(values.dtype)
  return jnp.sum(jnp.where(mask, values, 0.0), axis=axis) / count


def _weighted_mean(values, weights, axis):
  checks.weights("masked_mean", mask=weights)
  weights = jnp.asarray(weights, values.dtype)
  # NaN counts, and is seen.
  values = jnp.where(weights != 0, values, 0.0)
  total = jnp.sum(weights, axis=axis)
  some = total != 0
  mean = jnp.sum(weights * values, axis=axis) / jnp.where(some, total, 1.0)
  return jnp.where(some, mean, 0.0)
