"""How the numbers that a network answers with are told in their targets' units.

Networks learn from targets with mean 0 and deviation 1, so that no learning rate
depends on a unit; people are told numbers in the targets' own.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Units(NamedTuple):
  """told = offset + factor * answer, a value that JSON can hold.

  Attributes:
    offset: C numbers, what an answer of 0 means, such as the targets' mean.
    factor: C numbers > 0, what an answer of 1 is more, such as their deviation.
    log_variances: whether C logs of variances follow the C answers; told are
      standard deviations, factor * exp(log variance / 2).
  """

  offset: tuple[float, ...]
  factor: tuple[float, ...]
  log_variances: bool = False

  def told(self, answers: Any) -> jax.Array:
    """Makes of a network's answers what people are told.

    Args:
      answers: (..., C), or (..., 2 C) with log variances.

    Returns:
      The same shape, float32.

    Example:
      >>> print(Units((5.0,), (2.0,), True).told(jnp.zeros((1, 2))))
      [[5. 2.]]
    """
    answers = jnp.asarray(answers, jnp.float32)
    offset, factor = self._beside(answers)
    if not self.log_variances:
      return offset + factor * answers
    means, log_variances = jnp.split(answers, 2, axis=-1)
    deviations = factor * jnp.exp(0.5 * log_variances)
    return jnp.concatenate([offset + factor * means, deviations], axis=-1)

  def answers(self, told: Any) -> jax.Array:
    """The answers that are told so, the inverse of `told`.

    Example:
      >>> print(Units((5.0,), (2.0,)).answers(jnp.array([[9.0]])))
      [[2.]]
    """
    told = jnp.asarray(told, jnp.float32)
    offset, factor = self._beside(told)
    if not self.log_variances:
      return (told - offset) / factor
    numbers, deviations = jnp.split(told, 2, axis=-1)
    log_variances = 2 * jnp.log(deviations / factor)
    return jnp.concatenate([(numbers - offset) / factor, log_variances], -1)

  def _beside(self, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Offset and factor, in the rank of the numbers."""
    ones = [1] * (numbers.ndim - 1)
    offset, factor = (jnp.array(x, jnp.float32) for x in self[:2])
    return offset.reshape(*ones, -1), factor.reshape(*ones, -1)


def read_units(value: Any) -> Units | None:
  """Reads what JSON has kept of units.

  Example:
    >>> read_units([[0.0], [2.0], False])
    Units(offset=(0.0,), factor=(2.0,), log_variances=False)
  """
  if value is None:
    return None
  offset, factor, log_variances = value
  return Units(tuple(offset), tuple(factor), log_variances)
