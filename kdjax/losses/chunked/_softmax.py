"""Softmax over a vocabulary that may lie in shards on several devices."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """The classes of this device, and how to add over all of them.

  Attributes:
    size: the number of classes here.
    axis_name: the mapped axis over which they are spread, or None.
  """

  size: int
  axis_name: str | None = None

  def sum(self, x: jax.Array) -> jax.Array:
    """Returns the sums of the rows of x, (rows, here), as (rows, 1)."""
    return self.total(jnp.sum(x, axis=-1, keepdims=True))

  def total(self, x):
    """Returns x, or a tree of arrays, added over the devices."""
    return x if self.axis_name is None else jax.lax.psum(x, self.axis_name)

  def largest(self, x: jax.Array) -> jax.Array:
    top = jnp.max(x, axis=-1, keepdims=True)
    return top if self.axis_name is None else jax.lax.pmax(top, self.axis_name)

  def first(self, where: jax.Array) -> jax.Array:
    """Returns a bool like `where`: True at the lowest class of each row."""
    ids = self.ids()
    first = jnp.min(
      jnp.where(where, ids, jnp.iinfo(ids.dtype).max), axis=-1, keepdims=True
    )
    if self.axis_name is not None:
      first = jax.lax.pmin(first, self.axis_name)
    return ids == first

  def start(self) -> jax.Array | int:
    """Returns the id of the first class here."""
    if self.axis_name is None:
      return 0
    return jax.lax.axis_index(self.axis_name) * self.size

  def ids(self) -> jax.Array:
    """Returns the class ids here, (1, here)."""
    return self.start() + jnp.arange(self.size, dtype=jnp.int32)[None]

  def once(self, x: jax.Array) -> jax.Array:
    """Returns x on one device and 0 on the others: added up, it is x."""
    if self.axis_name is None:
      return x
    return jnp.where(jax.lax.axis_index(self.axis_name) == 0, x, 0.0)

  def gather(self, x: jax.Array) -> jax.Array:
    """Returns the last axis of all devices, one after the other."""
    if self.axis_name is None:
      return x
    return jax.lax.all_gather(x, self.axis_name, axis=x.ndim - 1, tiled=True)


class Softmax(NamedTuple):
  """The softmaxes of some rows.

  Attributes:
    logits: (rows, here) float, before the temperature.
    log_probs: (rows, here) float; -inf for a class that is masked out.
    probs: (rows, here) float.
    is_top: (rows, here) bool, at the row's first largest class.
    others: (rows, 1) float, the probability of all classes but that one.
  """

  logits: jax.Array
  log_probs: jax.Array
  probs: jax.Array
  is_top: jax.Array
  others: jax.Array


def softmax(logits: jax.Array, temperature, vocabulary: Vocabulary) -> Softmax:
  """Returns the softmaxes of (rows, here) logits over `temperature`.

  As in `_math.log_softmax`, all is a function of the gaps to the largest logit,
  and the log of a probability near one is log1p of the small rest.
  """
  largest = vocabulary.largest(logits)
  is_top = vocabulary.first(logits == largest)
  gaps = (logits - jnp.where(largest > -jnp.inf, largest, 0.0)) / temperature
  powers = jnp.exp(gaps)
  rest = vocabulary.sum(jnp.where(is_top, 0.0, powers))
  return Softmax(
    logits=logits,
    log_probs=gaps - jnp.log1p(rest),
    probs=powers / (1 + rest),
    is_top=is_top,
    others=rest / (1 + rest),
  )


def to_logits(
  slopes: jax.Array, of: Softmax, vocabulary: Vocabulary
) -> jax.Array:
  """Returns the gradient in logits / T, given that in the log-probabilities.

  It is slopes - probs sum(slopes). For the largest class that is the difference
  of two nearly equal numbers when the row is nearly one-hot, so there the same
  is written with the probability of the others.
  """
  top, others = vocabulary.total(
    (
      jnp.sum(jnp.where(of.is_top, slopes, 0.0), axis=-1, keepdims=True),
      jnp.sum(jnp.where(of.is_top, 0.0, slopes), axis=-1, keepdims=True),
    )
  )
  at_top = top * of.others - of.probs * others
  return jnp.where(of.is_top, at_top, slopes - of.probs * (top + others))
