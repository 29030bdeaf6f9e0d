"""Texts that a network writes itself, as rows to train on: pure, for use inside jit."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.models.generation.continuation import continue_prompts, keys_of
from kdjax.models.generation.generate import decoding_for, read_request
from kdjax.models.generation.mixture import Combine, together


def rollout(
  network: Any,
  variables: Any,
  prompts: Mapping[str, jax.Array],
  *,
  key: jax.Array,
  step: jax.Array | int,
  ids: jax.Array,
  max_new_tokens: int,
  sampling: str = "temperature(1.0)",
  eos: int | Sequence[int] = (),
  vocabulary: int | None = None,
  sample: jax.Array | int = 0,
  teacher: tuple[Any, Any, Combine] | None = None,
) -> dict[str, jax.Array]:
  """Continues a batch of prompts, and returns what the task language_model reads.

  A text depends on the key, the step, its prompt's number and the sample alone:
  the same on any number of devices, in any batch, and after a run went on. No
  gradient goes through it.

  Args:
    network: of `kdjax.pretrained.load`, or any causal one of token ids.
    variables: its arrays by collection.
    prompts: "tokens" (B, P) int, which begin at the left, and "mask" (B, P), not
      0 for those that count. A row of which none counts stays empty.
    key: of the run.
    step: of the training.
    ids: (B,) int, the prompts' numbers, such as the entry "index" of a batch.
    max_new_tokens: N, the most tokens behind a prompt.
    sampling: a spec, see `kdjax.models.generation.sampling`.
    eos: ids that end a text.
    vocabulary: ids from this one on are never chosen; None for all.
    sample: which of a prompt's texts it is.
    teacher: (another network with the same token ids, its arrays by collection, how
      the two are combined, see `kdjax.models.generation.mixture`); None for the
      network alone.

  Returns:
    By name, each (B, P + N):
      tokens: int32, the prompt and right behind it what the network wrote; 0
        behind the end.
      mask: bool, False behind the end.
      counts: bool, the tokens that the network wrote, that which ends the text
        included.

  Raises:
    UserError: when traced, for prompts and new tokens that are too many for the
      network, or a sampling that is none.

  Example:
    >>> from kdjax.models.gpt import gpt
    >>> from kdjax.taps.network import from_linen
    >>> network = from_linen(gpt(classes=9, width=8, depth=1, heads=2, mlp=8))
    >>> tokens, mask = jnp.array([[3, 1], [4, 0]]), jnp.array([[1, 1], [1, 0]])
    >>> variables = network.init(jax.random.key(0), tokens)
    >>> rows = rollout(
    ...   network, variables, {"tokens": tokens, "mask": mask},
    ...   key=jax.random.key(0), step=7, ids=jnp.arange(2), max_new_tokens=2,
    ... )
    >>> rows["counts"].astype(int).tolist()
    [[0, 0, 1, 1], [0, 1, 1, 0]]
  """
  tokens, mask = prompts["tokens"], prompts["mask"] != 0
  length = tokens.shape[1]
  variables = jax.lax.stop_gradient(variables)
  decoding = decoding_for(network, variables, length, max_new_tokens)
  if teacher is not None:
    other, other_variables, combine = teacher
    beside = decoding_for(other, other_variables, length, max_new_tokens)
    classes = min(
      decoding.classes, beside.classes, vocabulary or beside.classes
    )
    decoding = together([decoding, beside], combine, classes)
    variables = variables, other_variables
  request = read_request(decoding, max_new_tokens, sampling, eos, vocabulary)
  keys = keys_of(jax.random.fold_in(key, step), ids, sample)
  new, counts = continue_prompts(
    decoding, variables, tokens, mask, keys, request
  )
  lengths = jnp.sum(mask, axis=1, keepdims=True)
  places = lengths + jnp.arange(max_new_tokens)[None]
  beside = ((0, 0), (0, max_new_tokens))
  rows = jnp.arange(tokens.shape[0])[:, None]

  def joined(prompt, new_values):
    return jnp.pad(prompt, beside).at[rows, places].set(new_values)

  return {
    "tokens": joined(jnp.where(mask, tokens, 0).astype(jnp.int32), new),
    "mask": joined(mask, counts),
    "counts": joined(jnp.zeros_like(mask), counts),
  }
