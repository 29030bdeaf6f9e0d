"""Losses of large vectors by their plain formulas, where no square overflows.

What keeps a loss finite at every size, dividing out each vector's largest entry
and masking, goes many times through memory. From `_rows.LARGE` entries on, a
processor does so only where the squared lengths, which a loss sums up anyhow,
say that it was needed. Value and gradient are made in one branch: the rule is
one of forward mode, as in `_rows`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.losses import _math
from kdjax.losses._rows import LARGE

# Of a side: what `quick` takes of it, and the squared lengths of its vectors.
Sums = Callable[[jax.Array], tuple[Any, jax.Array]]


def unless_extreme(
  sums: Sums,
  quick: Callable[..., jax.Array],
  careful: Callable[[jax.Array, jax.Array], jax.Array],
  student: jax.Array,
  teacher: jax.Array,
  eps: float | jax.Array = 1e-12,
) -> jax.Array:
  """Returns quick(student, teacher, *sums of both) or careful(student, teacher).

  Args:
    sums: of a side; a mask of -inf makes squares infinite.
    quick: the plain formula; each value depends on a row of its own, or the
      only one on all.
    careful: the same for all sizes; what is taken for small inputs, and on
      devices where passes are joined and a branch waits for the host.
    student: float, in working precision; gradient flows into it.
    teacher: float of the same dtype, a constant.
    eps: a vector that is no longer has no direction, and is for `careful`.
  """
  large = max(student.size, teacher.size) >= LARGE
  if not large or not isinstance(eps, int | float):
    return careful(student, teacher)
  return _unless_extreme(sums, quick, careful, float(eps), student, teacher)


def inverse_length(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the inverse lengths along the last axis, and the squared lengths."""
  squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  return _math.apart(jax.lax.rsqrt(squares)), squares


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def _unless_extreme(sums, quick, careful, eps, student, teacher):
  def choose(*sides):
    both = [sums(x) for x in sides]

    def quickly(*sides):
      return quick(*sides, *(of_side for of_side, _ in both))

    return jax.lax.cond(_fit(eps, both), quickly, careful, *sides)

  return jax.lax.platform_dependent(
    student, teacher, cpu=choose, default=careful
  )


@_unless_extreme.defjvp
def _(sums, quick, careful, eps, primals, tangents):
  def carefully(student, teacher):
    value, pull = jax.vjp(lambda x: careful(x, teacher), student)
    return value, *pull(jnp.ones_like(value))

  def choose(student, teacher):
    of_student, pull_sums, squares = jax.vjp(sums, student, has_aux=True)
    of_teacher, others = sums(teacher)

    def quickly(student, teacher):
      value, pull = jax.vjp(
        lambda *x: quick(x[0], teacher, x[1], of_teacher), student, of_student
      )
      slope, of_sums = pull(jnp.ones_like(value))
      return value, slope + pull_sums(of_sums)[0]

    both = (of_student, squares), (of_teacher, others)
    return jax.lax.cond(_fit(eps, both), quickly, carefully, student, teacher)

  value, slope = jax.lax.platform_dependent(
    *primals, cpu=choose, default=carefully
  )
  axes = tuple(range(value.ndim, slope.ndim))
  return value, jnp.sum(slope * tangents[0], axis=axes)


def _fit(eps, both):
  """Whether no square has left the range in which sums keep their digits."""
  squares = [x for _, x in both]
  info = jnp.finfo(squares[0].dtype)
  least = max(info.tiny / info.eps**2, 2 * eps**2)
  fits = [jnp.all((x >= least) & (x <= info.max)) for x in squares]
  return _math.everywhere(fits[0] & fits[1])
