"""Where the tokens of a batch are, and which of them each one sees."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Places(NamedTuple):
  """Where tokens are.

  Attributes:
    index: (B or 1, T) int32, in the row.
    positions: (B or 1, T) int32, in their document.
    lengths: (B, T) or (B, 1) int32, tokens of their document.
    counts: (B, T) bool, whether they are no padding; None for all.
    segments: (B, T) int, their document; None for one a row.
  """

  index: jax.Array
  positions: jax.Array
  lengths: jax.Array
  counts: jax.Array | None = None
  segments: jax.Array | None = None


# What is the same for all tokens stays static where blocks are computed again.
@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=["queries", "keys"],
  meta_fields=["window", "causal"],
)
@dataclasses.dataclass(frozen=True)
class Visibility:
  """Which keys each query sees: what a (B or 1, T, S) mask says, in (T) + (S).

  Attributes:
    queries: where the queries' tokens are.
    keys: where those of keys and values are.
    window: how far back is seen, tokens; None for all.
    causal: whether a query sees no later token; a window goes both ways where it
      does.
  """

  queries: Places
  keys: Places
  window: int | None = None
  causal: bool = True


def find_places(
  tokens: jax.Array, mask: jax.Array | None, segments: jax.Array | None
) -> Places:
  """Finds each token's position in its document.

  Args:
    mask: (B, T), not 0 where a token counts; None for all.
    segments: (B, T) int, the documents' numbers, 0 for padding; None for one
      document a row, which begins at its first token that counts.

  Example:
    >>> segments = jnp.array([[1, 1, 2, 2, 2, 0]])
    >>> find_places(segments, None, segments).positions.tolist()
    [[0, 1, 0, 1, 2, 0]]
  """
  index = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
  counts = None if mask is None else mask.astype(bool)
  if segments is None:
    if counts is None:
      return Places(index, index, jnp.full((1, 1), tokens.shape[1]))
    first = jnp.argmax(counts, axis=1)[:, None]
    lengths = jnp.sum(counts, axis=1, dtype=jnp.int32)[:, None]
    return Places(index, jnp.maximum(index - first, 0), lengths, counts)
  counts = segments > 0 if counts is None else counts & (segments > 0)
  begins = jnp.diff(segments, axis=1, prepend=-1) != 0
  starts = jax.lax.cummax(jnp.where(begins, index, 0), axis=1)
  document = jnp.cumsum(begins, axis=1) - 1
  lengths = jax.vmap(_counts_of)(document, counts)
  return Places(index, index - starts, lengths, counts, segments)


def _counts_of(document: jax.Array, counts: jax.Array) -> jax.Array:
  """(T,) how many tokens that count the document of each has."""
  size = len(document)
  total = jax.ops.segment_sum(counts.astype(jnp.int32), document, size)
  return total[document]


def mask_of(visibility: Visibility) -> jax.Array:
  """Says which keys each query sees.

  Returns:
    (B or 1, T, S) bool.

  Example:
    >>> three = find_places(jnp.zeros((1, 3), int), None, None)
    >>> mask_of(Visibility(three, three, window=2)).astype(int).tolist()
    [[[1, 0, 0], [1, 1, 0], [0, 1, 1]]]
  """
  queries, keys = visibility.queries, visibility.keys
  window, causal = visibility.window, visibility.causal
  distance = queries.index[:, :, None] - keys.index[:, None]
  if causal:
    mask = distance >= 0
  else:
    mask, distance = jnp.ones_like(distance, bool), jnp.abs(distance)
  if window is not None:
    mask &= distance < window
  if keys.counts is not None:
    mask = mask & keys.counts[:, None]
  if keys.segments is not None:
    mask = mask & (queries.segments[:, :, None] == keys.segments[:, None])
  return mask
