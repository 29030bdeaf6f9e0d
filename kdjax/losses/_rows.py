"""Response losses of large inputs: few passes over the logits.

A response loss adds up, over the classes of a row, a term of both softmaxes.
Differentiated as it stands, it keeps a dozen arrays of the logits' size and goes
through memory for each. Here, from `LARGE` logits on, one way forward gives what
a row has to remember (maximum, log-normaliser, the sum of the terms and that of
their slopes), and the gradient is one elementwise expression of the logits and
these. From `WHOLE` logits on, processors go through blocks of rows that stay in
their caches: nothing of the logits' size is kept.

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

from kdjax.losses import _math, checks

# Logits from which on the losses come here.
LARGE = 1 << 17
# Logits that are one block: a loop costs more than what it keeps in the cache.
# Their temporaries stay below 32 MB, which glibc keeps, and does not ask for anew.
WHOLE = 1 << 20
# Logits of one side in a block: about what the second-level caches hold, and
# enough that one block loaders several cores.
BLOCK = 1 << 18
# Rows of fewer classes than a vector register holds gain nothing.
_CLASSES = 32
_DEAD = -1e30
# In place of a term, says that one side alone masks a class: above all totals.
_MARK = 1e30


class Pair(NamedTuple):
  """Both softmaxes, element by element.

  A class that either side masks is masked on both: its probabilities are 0, and
  their logarithms numbers far below all others.
  """

  log_q: jax.Array
  log_p: jax.Array
  q: jax.Array
  p: jax.Array


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


@dataclasses.dataclass(frozen=True)
class Closed:
  """A term whose derivatives have a sum that is known from that of the terms.

  Attributes:
    term: elementwise.
    slopes: takes the total of each row, returns the sum of the derivatives.
  """

  term: Term
  slopes: Callable[[jax.Array], jax.Array]

  def __call__(self, pair: Pair) -> tuple[jax.Array, jax.Array]:
    return self.term(pair)


def is_large(logits: jax.Array, axis: int = -1) -> bool:
  """Whether an input is worth the blocks; known from its shape."""
  return logits.size >= LARGE and logits.shape[axis] >= _CLASSES


def divergence(
  function: str,
  term: Term,
  plain: Callable[[jax.Array, jax.Array], jax.Array],
  student: jax.Array,
  teacher: jax.Array,
  temperature,
  axis: int = -1,
  least: int = 2,
) -> jax.Array:
  """Returns the sum of the term over the classes, one value a row.

  `plain(log_p, log_q)` is the same sum, for inputs that are not large. The
  classes are on `axis`, a negative number; fewer than `least` are refused.
  """
  if is_large(student, axis):
    return add_up(
      function, term, student, teacher, temperature, axis=axis
    ).total
  student, teacher = (jnp.moveaxis(x, axis, -1) for x in (student, teacher))
  log_q, log_p = _math.softened(function, student, teacher, temperature, least)
  return plain(log_p, log_q)


def add_up(
  function: str,
  term: Term,
  student: jax.Array,
  teacher: jax.Array,
  temperature,
  labels: jax.Array | None = None,
  axis: int = -1,
) -> Sums:
  """Returns the sums of each row over its classes, without the label's if given.

  Args:
    student: (..., C) float, logits; gradient flows into it.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0, for all or one a row; gradient flows into it.
    labels: (...) integer, the class of each row to leave out.
    axis: of the classes, negative. Rows stay where they are: a map's channels,
      brought to the end, would be copied.
  """
  checks.positive(function, temperature=temperature)
  checks.same_shape(function, student, teacher)
  leading, dtype = _leading(student, axis), _dtype(student, teacher)
  temperature = _math.per_row(temperature, leading, dtype, function)
  inverse = _math.apart(1 / jnp.broadcast_to(temperature, leading))
  if labels is not None:
    labels = jnp.asarray(labels)
  teacher = jax.lax.stop_gradient(teacher)
  return _sums(term, axis, student, teacher, inverse, labels)


def _leading(logits, axis):
  return logits.shape[:axis] + logits.shape[logits.ndim + axis + 1 :]


def _dtype(student, teacher):
  kinds = (_math.at_least_float32(x[:0]).dtype for x in (student, teacher))
  return jnp.promote_types(*kinds)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _sums(term, axis, student, teacher, inverse, labels):
  rows = student, teacher, inverse, labels
  return _on_shared(_rows, term, axis, rows)[0]


def _jvp(term, axis, primals, tangents):
  step, _, inverse_step, _ = tangents
  sums, slopes = _sums_and_slopes(term, axis, primals)
  dtype = sums.total.dtype
  changes = (jnp.zeros_like(sums.total),) * 2
  if not isinstance(step, jax.custom_derivatives.SymbolicZero):
    step = step.astype(dtype)
    gradients = _gradients(term, axis, *primals, sums, slopes)
    changes = tuple(jnp.sum(gradient * step, axis) for gradient in gradients)
  zero = jnp.zeros_like(changes[0])
  steps = Sums(changes[0], zero, changes[1], zero, zero)
  if not isinstance(inverse_step, jax.custom_derivatives.SymbolicZero):
    by_inverse = _in_blocks(_by_inverse, term, axis, _shared(*primals))
    steps = jax.tree.map(lambda x, d: x + d * inverse_step, steps, by_inverse)
  return sums, steps


_sums.defjvp(_jvp, symbolic_zeros=True)


def _sums_and_slopes(term, axis, rows):
  """Returns the sums of each row, and the sum of its terms' derivatives."""
  if not isinstance(term, Closed):
    return _on_shared(_rows_and_slopes, term, axis, rows)
  (sums,) = _on_shared(_rows, term, axis, rows)
  return sums, term.slopes(sums.total)


def _shared(student, teacher, *rest):
  return *_math.shared(student, teacher), *rest


def _on_shared(function, term, axis, rows):
  """Applies `function` to all rows, each class masked on both sides or none."""

  def shared(*rows):
    return _in_blocks(function, term, axis, _shared(*rows))

  def unless_marked(*rows):
    sums = _in_blocks(function, term, axis, rows)
    alike = _math.everywhere(jnp.all(sums[0].total < 0.5 * _MARK))
    return jax.lax.cond(alike, lambda *rows: sums, shared, *rows)

  # To mask first is a pass of its own; elsewhere it is none, and a branch waits
  # for the host.
  return jax.lax.platform_dependent(*rows, cpu=unless_marked, default=shared)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _in_blocks(function, term, axis, rows):
  """Applies `function` to all rows, in blocks on processors with a cache."""

  def whole(*rows):
    return function(term, axis, *rows)

  if rows[0].size <= WHOLE:
    return whole(*rows)
  leading, classes = _leading(rows[0], axis), rows[0].shape[axis]

  def blocked(student, teacher, *rest):
    rows = student, teacher, *rest
    if axis == -1:
      sides = (x.reshape(-1, classes) for x in rows[:2])
      rows = *sides, *jax.tree.map(lambda x: x.reshape(-1), rest)
    tops = None
    if rows[-1] is None:
      # Outside of the loop, which would copy each block for its maximum.
      dtype = _dtype(student, teacher)
      tops = tuple(_top(x, axis).astype(dtype) for x in rows[:2])
    one = rows[0][0].size
    size = 1 << max(0, (BLOCK // one).bit_length() - 1)
    sums = jax.lax.map(
      lambda row: function(term, axis, *row), (*rows, tops), batch_size=size
    )
    return jax.tree.map(lambda x: x.reshape(leading), sums)

  return jax.lax.platform_dependent(*rows, cpu=blocked, default=whole)


def _top(logits, axis):
  """Returns the largest logit of each row, a constant."""
  top = jax.lax.stop_gradient(jnp.max(logits, axis=axis, keepdims=True))
  # A row of nothing but -inf.
  return _math.apart(jnp.where(top > -jnp.inf, top, 0.0))


def _sides(student, teacher, label):
  """Returns both sides in working precision, without the labels' classes."""
  dtype = _dtype(student, teacher)
  student, teacher = student.astype(dtype), teacher.astype(dtype)
  if label is None:
    return student, teacher
  drop = _math.is_label(label, student.shape[-1])
  return _math.without(student, drop), _math.without(teacher, drop)


def _gaps(logits, top, inverse):
  # Dead classes get a number whose exp is 0: -inf sends a NaN to T. Not by a
  # branch, whose constants a loop over blocks would read from memory.
  gaps = (jnp.maximum(logits, _DEAD) - top) * inverse
  return jnp.maximum(gaps, _DEAD)


def _log_z(exps, axis):
  total = jnp.sum(exps, axis=axis, keepdims=True)
  some = total > 0
  return _math.apart(
    jnp.where(some, jnp.log(jnp.where(some, total, 1.0)), -jnp.inf)
  )


def _pair(gaps, exps, log_z):
  # A row of nothing but masked classes has no normaliser to take off.
  safe = [jnp.where(z > -jnp.inf, z, 0.0) for z in log_z]
  logs = [gap - z for gap, z in zip(gaps, safe, strict=True)]
  # The exponentials that the normalisers were summed from serve once more.
  shares = [
    x * _math.apart(jnp.exp(-z)) for x, z in zip(exps, safe, strict=True)
  ]
  return Pair(*logs, *shares)


def _rows(term, axis, *rows):
  return (_rows_and_terms(term, axis, *rows)[0],)


def _rows_and_slopes(term, axis, *rows):
  sums, slope = _rows_and_terms(term, axis, *rows)
  return sums, _math.apart(jnp.sum(slope, axis=axis))


def _rows_and_terms(term, axis, student, teacher, inverse, label, tops=None):
  sides = _sides(student, teacher, label)
  if tops is None:
    tops = [_top(x, axis) for x in sides]
  inverse = jnp.expand_dims(inverse, axis)
  gaps = [_gaps(x, top, inverse) for x, top in zip(sides, tops, strict=True)]
  exps = [jnp.exp(x) for x in gaps]
  log_z = [_log_z(x, axis) for x in exps]
  value, slope = term(_pair(gaps, exps, log_z))
  tops, log_z = ([jnp.squeeze(x, axis) for x in xs] for xs in (tops, log_z))
  student, teacher = (_math.alive(x) for x in sides)
  total = jnp.sum(jnp.where(student == teacher, value, _MARK), axis=axis)
  return Sums(total, tops[0], log_z[0], tops[1], log_z[1]), slope


def _gradients(term, axis, student, teacher, inverse, label, sums, slopes):
  """Returns the gradients of `total` and of `log_z_q` by the student's rows."""
  sums, slopes, inverse = jax.tree.map(
    lambda x: jnp.expand_dims(x, axis), (sums, slopes, inverse)
  )
  sides = _sides(*_math.shared(student, teacher), label)
  tops, log_z = (sums.top_q, sums.top_p), (sums.log_z_q, sums.log_z_p)
  gaps = [_gaps(x, top, inverse) for x, top in zip(sides, tops, strict=True)]
  pair = _pair(gaps, [jnp.exp(x) for x in gaps], log_z)
  _, slope = term(pair)
  return (slope - pair.q * slopes) * inverse, pair.q * inverse


def softmax(logits: jax.Array, inverse) -> jax.Array:
  """Returns softmax(logits * inverse) over the last axis, 0 where masked.

  Args:
    logits: (..., C) float, in working precision; gradient flows into it.
    inverse: 1 / T, a scalar; gradient flows into it.
  """
  top = _top(logits, -1)
  return _softmax(
    _gaps(logits, top, _math.apart(jnp.asarray(inverse, top.dtype)))
  )


@jax.custom_jvp
def _softmax(gaps):
  exps = jnp.exp(gaps)
  total = jnp.sum(exps, axis=-1, keepdims=True)
  return exps * _math.apart(1 / jnp.where(total > 0, total, 1.0))


@_softmax.defjvp
def _(primals, tangents):
  shares = _softmax(*primals)
  mean = jnp.sum(shares * tangents[0], axis=-1, keepdims=True)
  return shares, shares * (tangents[0] - mean)


def _by_inverse(term, axis, student, teacher, inverse, *rest):
  def of(inverse):
    return _rows(term, axis, student, teacher, inverse, *rest)[0]

  return jax.jvp(of, (inverse,), (jnp.ones_like(inverse),))[1]
