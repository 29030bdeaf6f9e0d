"""A batch in pieces, one after the other: the same step in less memory.

Gradients are summed before the step, so that a step is a step for schedules,
logs and checkpoints; `optax.MultiSteps` would count the pieces.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def over_pieces(
  function: Callable[..., tuple[Any, Any, Any]], pieces: int, *trees: Any
) -> tuple[Any, Any, Any]:
  """Adds up what a function makes of pieces of a batch.

  Args:
    function: of the trees -> three trees: what is summed over the pieces; what
      is summed where it is floating, and else the largest; what any piece gives.
    *trees: arrays with a leading axis of examples, a multiple of `pieces`.

  Example:
    >>> count = lambda x: (x.sum(), (), ())
    >>> print(over_pieces(count, 2, jnp.arange(4))[0])
    6
  """
  if pieces == 1:
    return function(*trees)
  examples = len(jax.tree.leaves(trees)[0])
  if examples % pieces:
    raise ValueError(f"{examples} examples cannot be cut into {pieces} pieces")
  batch_pieces = jax.tree.map(
    lambda x: x.reshape(pieces, -1, *x.shape[1:]), trees
  )
  first = jax.tree.map(lambda x: x[0], batch_pieces)
  empty = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *first)
  )

  def body(before, piece):
    sums, metrics, rest = function(*piece)
    return (
      jax.tree.map(jnp.add, before[0], sums),
      jax.tree.map(_merge, before[1], metrics),
      rest,
    ), None

  return jax.lax.scan(body, empty, batch_pieces)[0]


def _merge(before: jax.Array, now: jax.Array) -> jax.Array:
  floating = jnp.issubdtype(now.dtype, jnp.floating)
  return before + now if floating else jnp.maximum(before, now)
