"""The arithmetic that several losses share: precision, softmax, norms, checks.

Everything here is about staying finite and exact: each function says which NaN,
overflow or cancellation it prevents.
"""

import functools
import math

import jax
import jax.numpy as jnp

from kdjax.losses import checks

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


def pair(
  function: str, student: jax.Array, teacher: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns both sides of one shape in working precision, the teacher constant.

  Raises a ValueError with both shapes unless they are equal.
  """
  checks.same_shape(function, student, teacher)
  student, teacher = at_least_float32(student), constant(teacher)
  dtype = jnp.promote_types(student.dtype, teacher.dtype)
  return student.astype(dtype), teacher.astype(dtype)


def alive(*logits: jax.Array) -> jax.Array:
  """True for the classes that no side has masked out with -inf.

  A NaN is alive: taken for masked, a diverged network would have loss 0.
  """
  result = logits[0] != -jnp.inf
  for other in logits[1:]:
    result &= other != -jnp.inf
  return result


def shared(student: jax.Array, teacher: jax.Array) -> tuple[jax.Array, ...]:
  """Returns both sides with the classes that either masks at -inf on both."""
  drop = ~alive(student, teacher)
  return without(student, drop), without(teacher, drop)


def per_row(
  value, shape: tuple[int, ...], dtype, function: str = "log_softmax"
) -> jax.Array:
  """Returns a temperature, one for all or one a row, in the rows' rank.

  Raises a ValueError unless it broadcasts to `shape`, that of the rows.
  """
  value = jnp.asarray(value, dtype)
  if value.ndim == 0:
    return value
  aligned_shape = (1,) * (len(shape) - value.ndim) + value.shape
  fits = len(aligned_shape) == len(shape) and all(
    size in (1, rows) for size, rows in zip(aligned_shape, shape, strict=True)
  )
  if not fits:
    raise ValueError(
      f"{function}: temperature must be a scalar or broadcast to the rows' shape"
      f" {shape}, got {value.shape}"
    )
  return value.reshape(aligned_shape)


def log_softmax(logits: jax.Array, temperature=1.0) -> jax.Array:
  """Returns log softmax(logits / temperature) over the last axis.

  It is a function of the gaps to the row's largest logit, in value and in
  gradient. So logits near 3e4 keep their differences to the last bit; the log of
  a probability near one is log1p of the small rest, not log of a rounded 1; and
  the largest class's gradient is minus the sum of the others', where
  g - q sum(g) would cancel to noise in a row that is nearly one-hot.
  Classes at -inf stay there; neither they nor a row of nothing else send a NaN
  back, to the logits or to the temperature.
  """
  keep = alive(logits)
  largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
  # XLA may compute logits twice, and round otherwise, so that none equals the
  # largest: the gradient of `max` divides by how many do. A place is always one.
  ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
  equal = keep & (logits == largest)
  first = jnp.where(equal, ids, logits.shape[-1]).min(axis=-1, keepdims=True)
  last = jnp.where(equal, ids, -1).max(axis=-1, keepdims=True)
  alone = first == last
  is_top = alone & (ids == first)
  top = jnp.sum(jnp.where(is_top, logits, 0.0), axis=-1, keepdims=True)
  # A tied row is far from one-hot: there the plain way is exact enough.
  top = jnp.where(alone, top, largest)
  others = keep & ~is_top
  gaps = jnp.where(others, logits - top, 0.0)
  temperature = per_row(temperature, logits.shape[:-1], logits.dtype)
  if temperature.ndim:
    temperature = temperature[..., None]
  gaps = gaps / temperature
  rest = jnp.sum(jnp.where(others, jnp.exp(gaps), 0.0), axis=-1, keepdims=True)
  rest = jnp.where(alone, rest, jnp.maximum(rest - 1, 0))
  return jnp.where(keep, gaps - jnp.log1p(rest), -jnp.inf)


def softened(
  function: str,
  student: jax.Array,
  teacher: jax.Array,
  temperature,
  least: int = 2,
) -> tuple[jax.Array, jax.Array]:
  """Returns log q and log p, the student's first, after checking the inputs.

  A class that either side masks is as if removed from both. Fewer classes than
  `least` are refused: the softmax of one teaches nothing.
  """
  checks.classes(function, student, least=least)
  checks.positive(function, temperature=temperature)
  student, teacher = shared(*pair(function, student, teacher))
  temperature = per_row(
    temperature, student.shape[:-1], student.dtype, function
  )
  return log_softmax(student, temperature), log_softmax(teacher, temperature)


def times_t_squared(loss: jax.Array, temperature, t_squared: bool) -> jax.Array:
  """Returns the loss of each row times its own T^2, if `t_squared`."""
  if not t_squared:
    return loss
  return loss * jnp.square(per_row(temperature, loss.shape, loss.dtype))


def is_label(labels: jax.Array, classes: int) -> jax.Array:
  """Returns a bool (..., C): True at each row's label."""
  ids = jnp.arange(classes, dtype=labels.dtype)
  return labels[..., None] == ids.reshape((1,) * labels.ndim + (classes,))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def maximum(x: jax.Array, axis: int) -> jax.Array:
  """Returns the largest entries over `axis`; equal ones share the gradient."""
  return jnp.max(x, axis=axis)


@maximum.defjvp
def _(axis, primals, tangents):
  top = maximum(*primals, axis)
  equal = (primals[0] == jnp.expand_dims(top, axis)).astype(top.dtype)
  # XLA may compute x twice, and round otherwise, so that none equals the largest.
  count = jnp.maximum(jnp.sum(equal, axis=axis), 1)
  return top, jnp.sum(tangents[0] * equal, axis=axis) / count


def without(logits: jax.Array, drop: jax.Array) -> jax.Array:
  """Masks classes with -inf. Subtracting a large number would leave a trace."""
  return jnp.where(drop, -jnp.inf, logits)


def off_the_top(logits: jax.Array) -> jax.Array:
  """Returns the logits less each row's largest (a constant); 0 where dead.

  For sums of logits: the offsets of their rows would eat their last digits.
  """
  top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
  return jnp.where(alive(logits), logits - top, 0.0)


def log_sum(log_probs: jax.Array) -> jax.Array:
  """Returns log sum exp over the last axis; -inf, not NaN, for an empty sum."""
  keep = alive(log_probs)
  maximum = jax.lax.stop_gradient(jnp.max(log_probs, axis=-1, keepdims=True))
  shifted = jnp.where(keep, log_probs - maximum, 0.0)
  total = jnp.sum(jnp.where(keep, jnp.exp(shifted), 0.0), axis=-1)
  some = total > 0
  result = jnp.log(jnp.where(some, total, 1.0)) + maximum[..., 0]
  return jnp.where(some, result, -jnp.inf)


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


def cross_entropy(p: jax.Array, log_q: jax.Array) -> jax.Array:
  """Returns - sum p log q, one value a row; classes with log q at -inf drop."""
  keep = alive(log_q)
  return -jnp.sum(jnp.where(keep, p * masked(log_q, keep), 0.0), axis=-1)


def total_variation(p: jax.Array, q: jax.Array) -> jax.Array:
  """Returns sum |p - q| / 2, one value a row; each side sums to one.

  That is also the sum of the positive parts of p - q, or of q - p. The one
  without the largest q is taken: through the other, the gradient of a row that
  is nearly one-hot is 1 minus nearly 1.
  """
  gap = q - p
  top = jnp.argmax(q, axis=-1, keepdims=True)
  gap = jnp.where(jnp.take_along_axis(gap, top, axis=-1) > 0, -gap, gap)
  # Half the gradient at 0, as |x| has it.
  share = jax.lax.stop_gradient(jnp.heaviside(gap, 0.5))
  return jnp.sum(share * gap, axis=-1)


def excess(r: jax.Array) -> jax.Array:
  """Returns r + exp(-r) - 1, which is r^2 / 2 near 0, for |r| < 1/2.

  Written as it stands it loses every digit for small r; its Taylor series, cut
  below the last bit at 1/2, loses none.
  """
  terms = 14 if r.dtype == jnp.float64 else 8
  series = jnp.zeros_like(r)
  for n in reversed(range(2, 2 + terms)):
    series = series * -r + 1 / math.factorial(n)
  return jnp.square(r) * series


def kl_of_softmaxes(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
  """Returns KL(p || q), one value a row; each side's probabilities sum to one.

  As both sums are one, sum p (r + exp(-r) - 1) with r = log p - log q is the
  same number as sum p r. Its terms are all >= 0, so that nothing cancels: the
  plain sum is pure rounding noise, of either sign, once student and teacher are
  within 1e-4 of each other or the temperature is in the hundreds.
  Classes at -inf on either side are dropped.
  """
  keep = alive(log_p, log_q)
  p, q = jnp.exp(log_p), jnp.exp(log_q)
  terms = kl_terms(masked(log_p, keep) - masked(log_q, keep), p, q, keep)
  return jnp.where(jnp.any(keep, axis=-1), jnp.sum(terms, axis=-1), 0.0)


def kl_terms(
  r: jax.Array, p: jax.Array, q: jax.Array, keep: jax.Array
) -> jax.Array:
  """Returns p (r + exp(-r) - 1) with r = log(p / q), 0 where not `keep`."""
  near = jnp.abs(r) < 0.5
  # The probabilities of dropped classes still belong to the two sums of one.
  far_terms = jnp.where(keep, p * r, 0.0) - p + q
  near_terms = p * excess(jnp.where(near, r, 0.0))
  return jnp.where(keep & near, near_terms, far_terms)


def safe_sqrt(x: jax.Array) -> jax.Array:
  """Returns sqrt(x), and 0 with zero gradient where x <= 0."""
  positive = x > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def magnitude(x: jax.Array, axis=-1) -> jax.Array:
  """Returns the size of the largest entry over `axis`, to divide by.

  It is a power of two, so that no division by it rounds: differences of rows
  far from the origin would lose their digits. It is a constant, keeps the
  axis, and is 1 where all entries are 0, or so small that their inverse
  overflows.
  """
  largest = jax.lax.stop_gradient(
    jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0.0)
  )
  normal = largest >= jnp.finfo(x.dtype).tiny
  _, exponent = jnp.frexp(jnp.where(normal, largest, 1.0))
  power = jnp.ldexp(jnp.ones_like(largest), exponent - 1)
  return jnp.where(normal, power, 1.0)


def safe_norm(x: jax.Array, axis=-1, keepdims: bool = False) -> jax.Array:
  """Returns the Euclidean norm over `axis`, with zero gradient at 0.

  The largest entry is divided out first: squares of 1e20 overflow float32 and
  squares of 1e-23 vanish in it.
  """
  scale = magnitude(x, axis)
  norm = safe_sqrt(jnp.sum(jnp.square(x / scale), axis=axis, keepdims=True))
  norm = norm * scale
  return norm if keepdims else jnp.squeeze(norm, axis=axis)


def unit(x: jax.Array, axis=-1, eps: float | jax.Array = 1e-12) -> jax.Array:
  """Returns x / ||x||, and 0 with zero gradient where ||x|| <= eps.

  The largest entry is divided out before anything else: with a norm of 1e20
  its square, in the gradient of x / ||x||, would be infinite.
  """
  scale = magnitude(x, axis)
  scaled = x / scale
  norm = safe_sqrt(jnp.sum(jnp.square(scaled), axis=axis, keepdims=True))
  long_enough = norm * scale > eps
  return jnp.where(long_enough, scaled / jnp.where(long_enough, norm, 1.0), 0.0)


def unit_distance(u: jax.Array, v: jax.Array, axis=-1) -> jax.Array:
  """Returns 1 - <u, v> for unit vectors; 1 where one of them is 0.

  As half of the squared distance: 1 - <u, v> has lost its digits, and is not
  quite 0, where the two agree.
  """
  apart = jnp.sum(jnp.square(u - v), axis=axis)
  zeros = sum(jnp.all(x == 0, axis=axis).astype(x.dtype) for x in (u, v))
  return 0.5 * (apart + zeros)


def huber(x: jax.Array) -> jax.Array:
  """Returns x^2 / 2 where |x| < 1, else |x| - 1/2."""
  size = jnp.abs(x)
  return jnp.where(size < 1, 0.5 * jnp.square(x), size - 0.5)


@jax.custom_jvp
def gram(
  rows: jax.Array, left: jax.Array | float = 1.0, right: jax.Array | float = 1.0
) -> jax.Array:
  """Returns the inner products of all rows, <x_i / left_i, x_j / right>.

  Its derivative knows that both factors are the same rows: one product instead
  of two. The divisors, (n, 1) and a scalar, are constants.
  """
  return jnp.matmul(rows / left, (rows / right).T, precision=HIGHEST)


@gram.defjvp
def _(primals, tangents):
  rows, left, right = primals
  one = jnp.matmul(tangents[0], (rows / right).T, precision=HIGHEST)
  return gram(*primals), (one + one.T) / left


def apart(x):
  """Keeps the compiler of a processor from joining what makes x with its use.

  It would move the elementwise work that follows a reduction into a kernel made
  for reductions, several times slower, and write out broadcast constants.
  """
  return jax.lax.platform_dependent(
    x, cpu=jax.lax.optimization_barrier, default=lambda x: x
  )


@jax.custom_batching.custom_vmap
def everywhere(fits: jax.Array) -> jax.Array:
  """Returns a truth, under `vmap` that of all members together.

  A branch of each member's own would be no branch: both would be taken.
  """
  return fits


@everywhere.def_vmap
def _(members, batched, fits):
  return jnp.all(fits), False


def gather_batch(x: jax.Array, axis_name: str | None) -> jax.Array:
  """Returns the global batch inside a mapped step, `x` itself without one."""
  if axis_name is None:
    return x
  return jax.lax.all_gather(x, axis_name, axis=0, tiled=True)
