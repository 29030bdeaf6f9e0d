"""The loop that continues prompts: pure, of fixed shapes, for use inside jit."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.models.generation.sampling import Sampling, draw_tokens
from kdjax.taps.decoding import Decoding


class Request(NamedTuple):
  """What is asked for, the same for all prompts.

  Attributes:
    count: N, the most tokens behind a prompt.
    sampling: how they are chosen.
    eos: ids that end a text.
    classes: ids from this one on are never chosen.
  """

  count: int
  sampling: Sampling
  eos: tuple[int, ...]
  classes: int


class Continuations(NamedTuple):
  """What follows the prompts.

  Attributes:
    tokens: (B, N) int32; 0 behind a text's end.
    counts: (B, N) bool, the tokens of the text, that which ends it included.
  """

  tokens: jax.Array
  counts: jax.Array


class _State(NamedTuple):
  step: jax.Array
  token: jax.Array
  alive: jax.Array
  cache: Any
  texts: Continuations


def continue_prompts(
  decoding: Decoding,
  variables: Any,
  tokens: jax.Array,
  mask: jax.Array,
  keys: jax.Array,
  request: Request,
) -> Continuations:
  """Continues prompts until all have ended, or are as long as asked for.

  The token at step t of a row is drawn from fold_in(the row's key, t): a row's
  text does not depend on the others, nor on how rows lie on devices.

  Args:
    decoding: of the network.
    variables: its arrays by collection.
    tokens: (B, P) int, prompts that begin at the left.
    mask: (B, P) bool, the tokens that count, in front of those that do not; a
      row of which none counts is left empty.
    keys: (B,) PRNG keys.
    request: how many tokens, and how they are drawn.
  """
  batch, length = tokens.shape
  slots = length + request.count - 1
  empty = jnp.zeros((batch, request.count), jnp.int32)

  def choose(step, logits, alive, cache, texts):
    logits = logits[:, : request.classes].astype(jnp.float32)
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
    token = draw_tokens(request.sampling, step_keys, logits)
    token = jnp.where(alive, token, 0)
    texts = Continuations(
      *(
        jax.lax.dynamic_update_slice_in_dim(old, new[:, None], step, axis=1)
        for old, new in zip(texts, (token, alive), strict=True)
      )
    )
    ended = jnp.isin(token, jnp.array(request.eos, jnp.int32))
    return _State(step + 1, token, alive & ~ended, cache, texts)

  def more(state):
    return (state.step < request.count) & jnp.any(state.alive)

  def advance(state):
    logits, cache = decoding.read(
      variables, state.token[:, None], state.alive[:, None], state.cache
    )
    return choose(state.step, logits, state.alive, cache, state.texts)

  cache = decoding.start(variables, batch, slots)
  logits, cache = decoding.read(variables, tokens, mask, cache)
  texts = Continuations(empty, empty.astype(bool))
  first = choose(jnp.int32(0), logits, jnp.any(mask, axis=1), cache, texts)
  return jax.lax.while_loop(more, advance, first).texts


def keys_of(
  key: jax.Array, ids: jax.Array, samples: jax.Array | int = 0
) -> jax.Array:
  """Makes each row's key, of the prompt's number and of the sample's.

  Keys of any kind give keys whose numbers do not depend on their neighbours.

  Args:
    key: one PRNG key.
    ids: (B,) int, numbers of the prompts.
    samples: (B,) int, which of a prompt's texts it is.
  """
  seed = jax.random.bits(key, (2,), "uint32")
  root_key = jax.random.wrap_key_data(seed, impl="threefry2x32")
  samples = jnp.broadcast_to(samples, jnp.shape(ids))
  fold = jax.vmap(jax.random.fold_in, (0, 0))
  return fold(jax.vmap(jax.random.fold_in, (None, 0))(root_key, ids), samples)
