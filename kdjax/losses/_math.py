"""The arithmetic that several losses share: precision, softmax, norms, checks.

Everything here is about staying finite and exact: each function says which NaN,
overflow or cancellation it prevents.
"""

import jax
import jax.numpy as jnp

# Exact products for relations: TPUs and recent GPUs round the inputs of a
# default-precision matrix product to bfloat16 or tf32.
HIGHEST = jax.lax.Precision.HIGHEST


def at_least_float32(x: jax.Array) -> jax.Array:
  """Returns `x` in float32, or in float64 if it came in float64."""
  x = jnp.asarray(x)
  if x.dtype == jnp.float64:
    return x
  return x.astype(jnp.float32)


def constant(x: jax.Array) -> jax.Array:
  """Returns `x` in working precision, cut off from the gradient."""
  return jax.lax.stop_gradient(at_least_float32(x))


def check_same_shape(
  function: str, student: jax.Array, teacher: jax.Array
) -> None:
  """Raises a ValueError with both shapes unless they are equal."""
  if student.shape != teacher.shape:
    raise ValueError(
      f"{function}: student and teacher must have the same shape, got"
      f" {student.shape} and {teacher.shape}"
    )


def check_positive(function: str, **values) -> None:
  """Raises a ValueError for a value known before tracing that is not > 0."""
  for name, value in values.items():
    if isinstance(value, int | float) and not value > 0:
      raise ValueError(f"{function}: {name} must be > 0, got {value}")


def alive(*logits: jax.Array) -> jax.Array:
  """True for the classes that no side has masked out with -inf."""
  result = logits[0] > -jnp.inf
  for other in logits[1:]:
    result &= other > -jnp.inf
  return result


def per_row(value, shape: tuple[int, ...], dtype) -> jax.Array:
  """Returns a temperature, one for all or one a row, in the rows' rank.

  Raises a ValueError unless it broadcasts to `shape`, that of the rows.
  """
  value = jnp.asarray(value, dtype)
  if value.ndim == 0:
    return value
  padded = (1,) * (len(shape) - value.ndim) + value.shape
  fits = len(padded) == len(shape) and all(
    size in (1, rows) for size, rows in zip(padded, shape, strict=True)
  )
  if not fits:
    raise ValueError(
      f"temperature must be a scalar or broadcast to the rows' shape {shape},"
      f" got {value.shape}"
    )
  return value.reshape(padded)


def log_softmax(logits: jax.Array, temperature=1.0) -> jax.Array:
  """Returns log softmax(logits / temperature) over the last axis.

  The row's maximum is taken off before the division: logits near 3e4 keep
  their differences to the last bit, which a later subtraction would lose.
  """
  maximum = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
  # A row of -inf alone has no maximum to take off; 0 keeps it from being NaN.
  maximum = jnp.where(maximum > -jnp.inf, maximum, 0.0)
  temperature = per_row(temperature, logits.shape[:-1], logits.dtype)
  if temperature.ndim:
    temperature = temperature[..., None]
  scaled = (logits - maximum) / temperature
  return jax.nn.log_softmax(scaled, axis=-1)


def masked(log_probs: jax.Array, keep: jax.Array) -> jax.Array:
  """Replaces dropped log-probabilities by 0 before any arithmetic meets them.

  0 * -inf is NaN, and a `where` after the product leaves the NaN in the
  gradient.
  """
  return jnp.where(keep, log_probs, 0.0)


def kl_divergence(
  log_p: jax.Array, log_q: jax.Array, keep: jax.Array
) -> jax.Array:
  """Returns sum over the kept classes of p (log p - log q), one value a row."""
  log_p, log_q = masked(log_p, keep), masked(log_q, keep)
  return jnp.sum(
    jnp.where(keep, jnp.exp(log_p) * (log_p - log_q), 0.0), axis=-1
  )


def safe_sqrt(x: jax.Array) -> jax.Array:
  """Returns sqrt(x), and 0 with zero gradient where x <= 0."""
  positive = x > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def safe_norm(x: jax.Array, axis=-1, keepdims: bool = False) -> jax.Array:
  """Returns the Euclidean norm over `axis`, with zero gradient at 0.

  The largest entry is divided out first: squares of 1e20 overflow float32 and
  squares of 1e-23 vanish in it.
  """
  scale = jax.lax.stop_gradient(
    jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0.0)
  )
  scale = jnp.where(scale > 0, scale, 1.0)
  norm = safe_sqrt(jnp.sum(jnp.square(x / scale), axis=axis, keepdims=True))
  norm = norm * scale
  return norm if keepdims else jnp.squeeze(norm, axis=axis)


def unit(x: jax.Array, axis=-1, eps: float = 1e-12) -> jax.Array:
  """Returns x / ||x||, and 0 with zero gradient where ||x|| <= eps."""
  norm = safe_norm(x, axis=axis, keepdims=True)
  long_enough = norm > eps
  return jnp.where(long_enough, x / jnp.where(long_enough, norm, 1.0), 0.0)


def huber(x: jax.Array) -> jax.Array:
  """Returns x^2 / 2 where |x| < 1, else |x| - 1/2."""
  size = jnp.abs(x)
  return jnp.where(size < 1, 0.5 * jnp.square(x), size - 0.5)


def gather_batch(x: jax.Array, axis_name: str | None) -> jax.Array:
  """Returns the global batch inside a mapped step, `x` itself without one."""
  if axis_name is None:
    return x
  return jax.lax.all_gather(x, axis_name, axis=0, tiled=True)
