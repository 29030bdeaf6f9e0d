"""Response losses of large inputs: few passes over cached blocks of rows.

A response loss adds up, over the classes of a row, a term of both softmaxes.
Differentiated as it stands, it keeps a dozen arrays of the logits' size and goes
through memory for each. Here, from `LARGE` logits on, a block of rows that stays
in the cache gives what a row has to remember (maximum, log-normaliser, the sum of
the terms and that of their slopes), and the gradient is one elementwise
expression of the logits and these: nothing of the logits' size is kept.

The rule is one of forward mode, so that it serves gradients, `jvp` and second
derivatives alike. Smaller inputs take the losses' plain expressions. They give
more in one place: the gradient of a class whose probability is nearly one is
exact there, and exact to a rounding of one here.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kdjax.losses import _math

# Logits from which on the losses come here.
LARGE = 1 << 17
# Logits of one side in a block: with all that is made of them they stay in the
# second-level cache of a core, and one block still feeds several cores.
BLOCK = 1 << 18
_DEAD = -1e30


class Pair(NamedTuple):
  """Both softmaxes, element by element; the logarithms are 0 where not `keep`."""

  log_q: jax.Array
  log_p: jax.Array
  q: jax.Array
  p: jax.Array
  keep: jax.Array


class Sums(NamedTuple):
  """What a row gives: the sum of the terms; both sides' maxima, constants, and
  log sum exp of the gaps to them over T.
  """

  total: jax.Array
  top_q: jax.Array
  log_z_q: jax.Array
  top_p: jax.Array
  log_z_p: jax.Array


# A term takes a Pair and returns the summand and its derivative by log q. It is
# hashable, so that what is compiled for it is found again.
Term = Callable[[Pair], tuple[jax.Array, jax.Array]]


def is_large(logits: jax.Array) -> bool:
  """Whether an input is worth the blocks; known from its shape."""
  return logits.size >= LARGE


def divergence(
  function: str,
  term: Term,
  plain: Callable[[jax.Array, jax.Array], jax.Array],
  student: jax.Array,
  teacher: jax.Array,
  temperature,
) -> jax.Array:
  """Returns the sum of the term over the classes, one value a row.

  `plain(log_p, log_q)` is the same sum, for inputs that are not large.
  """
  if is_large(student):
    return add_up(function, term, student, teacher, temperature).total
  log_q, log_p = _math.softened(function, student, teacher, temperature)
  return plain(log_p, log_q)


def add_up(
  function: str,
  term: Term,
  student: jax.Array,
  teacher: jax.Array,
  temperature,
  labels: jax.Array | None = None,
) -> Sums:
  """Returns the sums of each row over its classes, without the label's if given.

  Args:
    function: who asks, for messages.
    term: elementwise.
    student: (..., C) float, logits; gradient flows into it.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0, for all or one a row; gradient flows into it.
    labels: (...) integer, the class of each row to leave out.
  """
  _math.check_positive(function, temperature=temperature)
  _math.check_same_shape(function, student, teacher)
  leading, classes = student.shape[:-1], student.shape[-1]
  dtype = _dtype(student, teacher)
  temperature = _math.per_row(temperature, leading, dtype, function)
  inverse = 1 / jnp.broadcast_to(temperature, leading).reshape(-1)
  if labels is not None:
    labels = labels.reshape(-1)
  sums = _sums(
    term,
    student.reshape(-1, classes),
    jax.lax.stop_gradient(teacher).reshape(-1, classes),
    inverse,
    labels,
  )
  return Sums(*(x.reshape(leading) for x in sums))


def _dtype(student, teacher):
  kinds = (_math.at_least_float32(x[:0]).dtype for x in (student, teacher))
  return jnp.promote_types(*kinds)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sums(term, student, teacher, inverse, labels):
  return _in_blocks(_row, term, (student, teacher, inverse, labels))


def _jvp(term, primals, tangents):
  student, teacher, inverse, labels = primals
  step, _, inverse_step, _ = tangents
  sums, slopes = _in_blocks(_row_and_slope, term, primals)
  dtype = sums.total.dtype
  moved = (jnp.zeros_like(sums.total),) * 2
  if not isinstance(step, jax.custom_derivatives.SymbolicZero):
    rows = jax.vmap(functools.partial(_gradients, term))
    step = step.astype(dtype)
    gradients = rows(student, teacher, inverse, labels, sums, slopes)
    moved = tuple(jnp.sum(gradient * step, axis=-1) for gradient in gradients)
  zero = jnp.zeros_like(moved[0])
  steps = Sums(moved[0], zero, moved[1], zero, zero)
  if not isinstance(inverse_step, jax.custom_derivatives.SymbolicZero):
    by_inverse = _in_blocks(_by_inverse, term, primals)
    steps = jax.tree.map(lambda x, d: x + d * inverse_step, steps, by_inverse)
  return sums, steps


_sums.defjvp(_jvp, symbolic_zeros=True)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _in_blocks(function, term, rows):
  """Applies `function` to all rows, in blocks on processors with a cache."""
  function = functools.partial(function, term)
  count, classes = rows[0].shape
  block = 1 << max(0, (BLOCK // classes).bit_length() - 1)
  whole = jax.vmap(function)
  if block >= count:
    return whole(*rows)

  def blocked(*rows):
    return jax.lax.map(lambda row: function(*row), rows, batch_size=block)

  return jax.lax.platform_dependent(*rows, cpu=blocked, default=whole)


def _top(logits):
  top = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
  # A row of nothing but -inf.
  return jnp.where(top > -jnp.inf, top, 0.0)


def _sides(student, teacher, label):
  """Returns both rows in working precision, without the label's class."""
  dtype = _dtype(student, teacher)
  student, teacher = student.astype(dtype), teacher.astype(dtype)
  if label is None:
    return student, teacher
  drop = jnp.arange(student.shape[-1], dtype=label.dtype) == label
  return _math.without(student, drop), _math.without(teacher, drop)


def _gaps(logits, top, inverse):
  # Dead classes get a number whose exp is 0: -inf sends a NaN to T.
  return jnp.where(logits > -jnp.inf, logits - top, _DEAD) * inverse


def _log_z(gaps):
  total = jnp.sum(jnp.exp(gaps), axis=-1)
  return jnp.log(jnp.where(total > 0, total, 1.0))


def _pair(sides, gaps, log_z):
  keep = _math.alive(*sides)
  logs = [gap - z for gap, z in zip(gaps, log_z, strict=True)]
  masked = (_math.masked(x, keep) for x in logs)
  return Pair(*masked, *(jnp.exp(x) for x in logs), keep)


def _row(term, student, teacher, inverse, label):
  return _row_and_slope(term, student, teacher, inverse, label)[0]


def _row_and_slope(term, student, teacher, inverse, label):
  sides = _sides(student, teacher, label)
  tops = [_top(x) for x in sides]
  gaps = [_gaps(x, top, inverse) for x, top in zip(sides, tops, strict=True)]
  log_z = [_log_z(x) for x in gaps]
  value, slope = term(_pair(sides, gaps, log_z))
  sums = Sums(jnp.sum(value, axis=-1), tops[0], log_z[0], tops[1], log_z[1])
  return sums, jnp.sum(slope, axis=-1)


def _gradients(term, student, teacher, inverse, label, sums, slopes):
  """Returns the gradients of `total` and of `log_z_q` by the student's row."""
  sides = _sides(student, teacher, label)
  tops, log_z = (sums.top_q, sums.top_p), (sums.log_z_q, sums.log_z_p)
  gaps = [_gaps(x, top, inverse) for x, top in zip(sides, tops, strict=True)]
  pair = _pair(sides, gaps, log_z)
  _, slope = term(pair)
  return (slope - pair.q * slopes) * inverse, pair.q * inverse


def _by_inverse(term, student, teacher, inverse, label):
  def of(inverse):
    return _row(term, student, teacher, inverse, label)

  return jax.jvp(of, (inverse,), (jnp.ones_like(inverse),))[1]


def kl(pair: Pair) -> tuple[jax.Array, jax.Array]:
  """KL(p || q). Its slope leaves out q, whose gradient is zero in all."""
  value = _math.kl_terms(
    pair.log_p - pair.log_q, pair.p, pair.q, pair.keep
  )
  return value, jnp.where(pair.keep, -pair.p, 0.0)


def reverse_kl(pair: Pair) -> tuple[jax.Array, jax.Array]:
  """KL(q || p)."""
  gap = pair.log_q - pair.log_p
  return _math.kl_terms(gap, pair.q, pair.p, pair.keep), pair.q * gap


def cross_entropy(pair: Pair) -> tuple[jax.Array, jax.Array]:
  """- sum p log q, over the classes alive on both sides."""
  p = jnp.where(pair.keep, pair.p, 0.0)
  return -p * pair.log_q, -p


def total_variation(pair: Pair) -> tuple[jax.Array, jax.Array]:
  """sum |p - q| / 2; half of it on either side of 0 gives 0 its gradient."""
  gap = pair.q - pair.p
  return 0.5 * jnp.abs(gap), 0.5 * jnp.sign(gap) * pair.q


def _gap_to_mixture(pair, log_x, share):
  """Returns log(x / m), m = share p + (1 - share) q, and m."""
  mixture = share * pair.p + (1 - share) * pair.q
  some = mixture > 0
  log_m = jnp.log(jnp.where(some, mixture, 1.0))
  return jnp.where(pair.keep & some, log_x - log_m, 0.0), mixture


@dataclasses.dataclass(frozen=True)
class JensenShannon:
  """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q."""

  beta: float

  def __call__(self, pair: Pair) -> tuple[jax.Array, jax.Array]:
    p_gap, mixture = _gap_to_mixture(pair, pair.log_p, self.beta)
    q_gap, _ = _gap_to_mixture(pair, pair.log_q, self.beta)
    from_p = _math.kl_terms(p_gap, pair.p, mixture, pair.keep)
    from_q = _math.kl_terms(q_gap, pair.q, mixture, pair.keep)
    share = 1 - self.beta
    return self.beta * from_p + share * from_q, share * pair.q * q_gap


@dataclasses.dataclass(frozen=True)
class SkewKL:
  """KL(p || m), m = lam p + (1 - lam) q."""

  lam: float

  def __call__(self, pair: Pair) -> tuple[jax.Array, jax.Array]:
    gap, mixture = _gap_to_mixture(pair, pair.log_p, self.lam)
    value = _math.kl_terms(gap, pair.p, mixture, pair.keep)
    student = (1 - self.lam) * pair.q
    some = mixture > 0
    slope = -pair.p * student / jnp.where(some, mixture, 1.0)
    return value, slope


@dataclasses.dataclass(frozen=True)
class SkewReverseKL:
  """KL(q || m), m = (1 - lam) p + lam q."""

  lam: float

  def __call__(self, pair: Pair) -> tuple[jax.Array, jax.Array]:
    gap, mixture = _gap_to_mixture(pair, pair.log_q, 1 - self.lam)
    value = _math.kl_terms(gap, pair.q, mixture, pair.keep)
    teacher = (1 - self.lam) * pair.p
    some = mixture > 0
    # gap + 1 - lam q / m, whose last two are the teacher's share of m.
    rest = teacher / jnp.where(some, mixture, 1.0)
    return value, pair.q * (gap + rest)
