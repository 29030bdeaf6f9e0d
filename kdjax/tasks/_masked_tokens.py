"""Which tokens of a text are hidden, and what stands in their place."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Of the chosen tokens: replaced by the mask's token, and by any token; others stay.
MASKED, REPLACED = 0.8, 0.1


class Masking(NamedTuple):
  """How tokens are hidden.

  Attributes:
    vocabulary: V, how many token ids there are.
    mask_token: the id that stands for a hidden one.
    special: ids that are never chosen.
    rate: share of the other tokens that are chosen.
  """

  vocabulary: int
  mask_token: int
  special: tuple[int, ...]
  rate: float


class Hidden(NamedTuple):
  """Texts of which some tokens are hidden.

  Attributes:
    tokens: (B, T) int32, as a network sees them.
    places: (B, K) int32, where the chosen tokens stand; 0 for none.
    targets: (B, K) int32, what they were; -1 for none.
  """

  tokens: jax.Array
  places: jax.Array
  targets: jax.Array


def keys_of(key: jax.Array, positions: jax.Array) -> jax.Array:
  """Folds texts' places into a key, or into one key each, (B,)."""
  keys = jnp.broadcast_to(key, positions.shape)
  return jax.vmap(jax.random.fold_in)(keys, positions)


def candidates(
  tokens: jax.Array, mask: jax.Array | None, special: tuple[int, ...]
) -> jax.Array:
  """Says which tokens may be chosen, (B, T) bool.

  Args:
    mask: (B, T), 0 for padding; None where there is none but by its id.
  """
  fine = ~jnp.isin(tokens, jnp.array(special, tokens.dtype))
  return fine if mask is None else fine & (mask != 0)


def hide(
  keys: jax.Array, tokens: jax.Array, fine: jax.Array, masking: Masking
) -> Hidden:
  """Chooses tokens and hides them.

  Args:
    keys: (B,) PRNG keys, one a text.
    tokens: (B, T) int.
    fine: (B, T) bool, which may be chosen.

  Example:
    >>> keys = keys_of(jax.random.key(0), jnp.arange(1))
    >>> tokens = jnp.arange(1, 9)[None]
    >>> hidden = hide(keys, tokens, tokens < 5, Masking(20, 19, (), 0.25))
    >>> hidden.targets.tolist()[0][1], hidden.tokens[0, 4:].tolist()
    (-1, [5, 6, 7, 8])
  """
  length = tokens.shape[1]
  most = max(1, round(masking.rate * length))

  def one(key, ids, fine):
    for_places, for_kinds, for_ids = jax.random.split(key, 3)
    order = jax.random.uniform(for_places, (length,))
    places = jnp.argsort(jnp.where(fine, order, 2.0))[:most]
    there = fine.sum()
    share = jnp.round(masking.rate * there).astype(int)
    chosen = jnp.arange(most) < jnp.minimum(jnp.maximum(share, 1), there)
    kind = jax.random.uniform(for_kinds, (most,))
    any_token = jax.random.randint(for_ids, (most,), 0, masking.vocabulary)
    before = ids[places]
    after = jnp.where(kind < MASKED + REPLACED, any_token, before)
    after = jnp.where(kind < MASKED, masking.mask_token, after)
    after = jnp.where(chosen, after, before)
    return (
      ids.at[places].set(after.astype(ids.dtype)),
      jnp.where(chosen, places, 0).astype(jnp.int32),
      jnp.where(chosen, before, -1).astype(jnp.int32),
    )

  return Hidden(*jax.vmap(one)(keys, tokens, fine))
