"""The label's part in a response loss of large inputs: see `_rows`."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math


def picked(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns each row's logit at its label, in working precision."""
  return _picked(_math.at_least_float32(logits), labels)


@jax.custom_jvp
def _picked(logits, labels):
  return jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]


@_picked.defjvp
def _(primals, tangents):
  logits, labels = primals
  # Transposed this is elementwise, and joins the rest of the gradient; that of
  # `take` would be an array of zeros of the logits' size, and another pass.
  at_label = _math.is_label(labels, logits.shape[-1])
  return _picked(*primals), jnp.sum(
    jnp.where(at_label, tangents[0], 0.0), axis=-1
  )


def argmax(logits: jax.Array) -> jax.Array:
  """Returns the first class with a row's largest logit, (...) int32.

  As `jnp.argmax`, which goes through a row number by number: a NaN is largest.
  """
  last = logits.shape[-1] - 1
  ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
  top = _math.apart(jnp.max(logits, axis=-1, keepdims=True))
  is_top = (logits == top) | jnp.isnan(logits)
  first = jnp.min(jnp.where(is_top, ids, last + 1), axis=-1)
  # XLA may compute logits twice, and round otherwise, so that none equals the
  # largest: then the first that does but for rounding.
  rounding = 8 * jnp.finfo(logits.dtype).eps * jnp.abs(top)
  near = jnp.min(jnp.where(logits >= top - rounding, ids, last), axis=-1)
  return jnp.where(first <= last, first, near)


def log_share(
  logits: jax.Array,
  labels: jax.Array,
  top: jax.Array,
  log_z: jax.Array,
  temperature,
) -> jax.Array:
  """Returns the label's gap to `top` over T, less `log_z`; -inf if masked.

  That is its log-probability, where `log_z` is of all classes; its log-odds,
  where it is of the others.
  """
  label_logits = picked(logits, labels).astype(log_z.dtype)
  temperature = _math.per_row(
    temperature, label_logits.shape, label_logits.dtype
  )
  alive = label_logits > -jnp.inf
  gap = jnp.where(alive, label_logits - top, 0.0) / temperature
  return jnp.where(alive, gap - jnp.where(alive, log_z, 0.0), -jnp.inf)
