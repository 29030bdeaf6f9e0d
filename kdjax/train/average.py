"""The average of a network's past."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def follow(average: Any, value: Any, rate: jax.Array) -> Any:
  """Moves an average towards a value; whole numbers are taken over.

  Returns:
    (1 - rate) average + rate value.

  Example:
    >>> print(follow(jnp.zeros(2), jnp.ones(2), 0.25))
    [0.25 0.25]
  """

  def one(value, average):
    if jnp.issubdtype(value.dtype, jnp.floating):
      return optax.incremental_update(value, average, rate)
    return value

  return jax.tree.map(one, value, average)


def average_rate(steps: jax.Array, decay: float) -> jax.Array:
  """How far an average moves behind a step: early on faster, to forget the start.

  Args:
    steps: () int, taken so far.
    decay: of the average later on, in [0, 1).

  Returns:
    1 - min(1 - 1 / (steps + 1), decay).

  Example:
    >>> print(average_rate(jnp.array(1), 0.9), average_rate(jnp.array(99), 0.9))
    0.5 0.100...
  """
  return 1 - jnp.minimum(1 - 1 / (steps + 1), decay)
