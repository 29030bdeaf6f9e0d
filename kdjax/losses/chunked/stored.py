"""A teacher's largest classes, stored, in the place of its hidden states and head."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

_STATIC = {"static": True}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TopClasses:
  """A head whose "hidden states" are rows of `pack_top`.

  The logits of a row are the log-probabilities of its k classes; the others
  share evenly what is left. Every loss of `kdjax.losses.chunked` takes it as a
  teacher's head, and makes the logits of a chunk of rows at a time. `topk_kd`
  with a bucket at T = 1 and no larger k loses nothing by it.

  Attributes:
    k: classes that a row names.
    size: V, of the whole vocabulary; more than k.

  Example:
    >>> row = pack_top(jnp.array([[2]]), jnp.log(jnp.array([[0.5]])), jnp.log(0.5)[None])
    >>> print(jnp.exp(TopClasses(1, 3).logits(row)).round(2))
    [[0.25 0.25 0.5 ]]
  """

  k: int = dataclasses.field(metadata=_STATIC)
  size: int = dataclasses.field(metadata=_STATIC)

  @property
  def shape(self) -> tuple[int, int]:
    """As a head of such rows has it."""
    return (2 * self.k + 1, self.size)

  @property
  def ndim(self) -> int:
    """As a head has it."""
    return 2

  def logits(self, rows: jax.Array, dtype=jnp.float32) -> jax.Array:
    """Makes the logits of some rows.

    Args:
      rows: (..., 2 k + 1).

    Returns:
      (..., V) log-probabilities.
    """
    flat = rows.reshape(-1, self.shape[0]).astype(dtype)
    ids, log_probs, rest = jnp.split(flat, [self.k, 2 * self.k], axis=1)
    ids = jnp.round(ids).astype(jnp.int32)
    share = rest - jnp.log(jnp.asarray(self.size - self.k, dtype))
    logits = jnp.broadcast_to(share, (len(flat), self.size))
    places = jnp.arange(len(flat))[:, None]
    logits = logits.at[places, ids].set(log_probs)
    return logits.reshape(*rows.shape[:-1], self.size)


def makes_logits(head: Any) -> bool:
  """Says whether a teacher's head is no matrix, but makes logits of rows itself.

  Example:
    >>> makes_logits(TopClasses(1, 3)), makes_logits(jnp.eye(3))
    (True, False)
  """
  return hasattr(head, "logits")


def pack_top(
  indices: jax.Array, log_probabilities: jax.Array, tail: jax.Array
) -> jax.Array:
  """Packs what is stored of some rows.

  Args:
    indices: (..., k) int, different classes.
    log_probabilities: (..., k) float, theirs.
    tail: (...) float, the log of the probability of all others together.

  Returns:
    (..., 2 k + 1) float32, in which ids up to 2^24 are exact.
  """
  parts = (indices, log_probabilities, tail[..., None])
  return jnp.concatenate([jnp.asarray(x, jnp.float32) for x in parts], axis=-1)
