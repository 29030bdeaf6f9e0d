"""Networks that read with no cache: every step reads the whole text again."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.taps.decoding import Decoding


class Texts(NamedTuple):
  """The tokens so far.

  Attributes:
    tokens: (B, slots) int32, without gaps from the left on.
    counts: (B,) int32, how many.
  """

  tokens: jax.Array
  counts: jax.Array


def recomputed(network: Any, variables: Any, length: int) -> Decoding:
  """Makes a decoding of any causal network of token ids.

  A token must see itself and those before it alone: padding stands behind the
  text, and the network is not told which it is.

  Args:
    network: tokens (B, T) int32 -> logits (B, T, V).
    variables: its variables by collection.
    length: the most tokens of a row.

  Raises:
    UserError: for a network that does not answer so, or reads fewer tokens.
  """
  tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)

  def apply(variables, tokens):
    return network.apply(variables, {"tokens": tokens})[0]

  try:
    logits = jax.eval_shape(apply, variables, tokens)
  except ValueError as error:  # such as of a table of positions
    line = str(error).split("\n")[0]
    raise UserError(f"network= cannot read {length} tokens: {line}") from None
  if logits.ndim != 3 or logits.shape[:2] != (1, length):
    raise UserError(
      f"network= answers {logits.shape} to tokens (1, {length}); to continue a"
      " text it must give the next token's logits at each, (1, "
      f"{length}, V)"
    )

  def start(variables, batch, slots):
    del variables
    empty = jnp.zeros((batch, slots), jnp.int32)
    return Texts(empty, jnp.zeros((batch,), jnp.int32))

  def read(variables, new, mask, texts):
    places = texts.counts[:, None] + jnp.cumsum(mask, axis=1) - 1
    # Past the end, where nothing is written.
    places = jnp.where(mask, places, texts.tokens.shape[1])
    rows = jnp.arange(new.shape[0])[:, None]
    tokens = texts.tokens.at[rows, places].set(new, mode="drop")
    counts = texts.counts + jnp.sum(mask, axis=1, dtype=jnp.int32)
    last = jnp.maximum(counts - 1, 0)[:, None, None]
    logits = jnp.take_along_axis(apply(variables, tokens), last, axis=1)
    return logits[:, 0], Texts(tokens, counts)

  return Decoding(start, read, logits.shape[-1])
