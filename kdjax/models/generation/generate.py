"""Prompts continued by a network: lists of token ids in, lists of token ids out."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kdjax.core.arguments import check_key, check_kind, check_whole, misfit
from kdjax.core.errors import UserError, quantity
from kdjax.models.generation.continuation import (
  Request,
  continue_prompts,
  keys_of,
)
from kdjax.models.generation.recompute import recomputed
from kdjax.models.generation.sampling import read_sampling
from kdjax.taps.decoding import Decoding


def generate(
  network: Any,
  variables: Any,
  prompts: Sequence[Any],
  *,
  max_new_tokens: int,
  sampling: str = "greedy",
  key: jax.Array | None = None,
  eos: int | Sequence[int] = (),
  samples: int = 1,
  ids: Sequence[int] | None = None,
  vocabulary: int | None = None,
  batch_size: int | None = None,
  devices: Sequence[Any] | None = None,
) -> list[np.ndarray]:
  """Continues prompts, as a language model does.

  One compiled program reads the prompts and then token after token, with what it
  remembers in a cache of fixed size, and ends when all texts have. Programs are
  kept for equal networks, and for some lengths of prompts: 8, 12, 16, 24, 32, ...
  The token at a step depends on `key`, the prompt's number and the step, and not
  on what else is in the batch.

  Args:
    network: of `kdjax.pretrained.load`, or any causal one of token ids that
      answers logits (B, T, V). One without a cache reads every text from its
      beginning at each step.
    variables: its variables, on any devices.
    prompts: token ids, a list or vector each, of at least one.
    max_new_tokens: the most tokens behind a prompt.
    sampling: "greedy", or a sum of "temperature(0.7)", "top_k(50)",
      "top_p(0.9)" and "min_p(0.05)", see `kdjax.models.generation.sampling`.
    key: what tokens are drawn from; not needed by "greedy".
    eos: ids that end a text, such as `tokenizer.eos`.
    samples: texts of each prompt, which follow each other in what is returned.
    ids: the prompts' numbers, from which with `key` their tokens are drawn; 0, 1,
      ... by default. So parts of a list of prompts have the texts of the whole.
    vocabulary: ids from this one on are never chosen, such as the classes that
      pad a network; None for all of the network's.
    batch_size: texts at a time; None for all at once.
    devices: among which texts are divided, with the network on each; None for
      where the variables are.

  Returns:
    For each text its new tokens, int32, the one that ended it included.

  Raises:
    UserError: for prompts that are empty, hold ids that the network does not
      have, or leave no room for the new tokens; for a sampling that is none, or
      that draws without a key; for a network that does not continue texts.

  Example:
    >>> from kdjax.models.gpt import gpt
    >>> from kdjax.taps.network import from_linen
    >>> network = from_linen(gpt(classes=9, width=8, depth=1, heads=2, mlp=8))
    >>> variables = network.init(jax.random.key(0), np.ones((1, 4), np.int32))
    >>> texts = generate(network, variables, [[3, 1], [4]], max_new_tokens=5)
    >>> [text.shape for text in texts]
    [(5,), (5,)]
  """
  check_kind("network", network, "network")
  texts = _checked_prompts(prompts)
  count = check_whole("max_new_tokens", max_new_tokens)
  samples = check_whole("samples", samples)
  if batch_size is not None:
    batch_size = check_whole("batch_size", batch_size)
  key = _checked_key(sampling, key)
  numbers = _checked_numbers(ids, len(texts))
  place, shards = _placement(devices)
  variables = network.collections(variables)
  longest = max(map(len, texts))
  decoding = decoding_for(network, variables, longest, count)
  _check_ids(texts, decoding.classes)
  request = read_request(decoding, count, sampling, eos, vocabulary)
  rows = [
    Row(text, number, sample)
    for text, number in zip(texts, numbers, strict=True)
    for sample in range(samples)
  ]
  size = min(len(rows) if batch_size is None else batch_size, len(rows))
  size = -(-size // shards) * shards
  variables = place(variables, split=False)
  answers: list[Any] = [None] * len(rows)
  # Texts of like lengths are continued together.
  queue = np.argsort([len(row.text) for row in rows], kind="stable")
  for start in range(0, len(rows), size):
    part = queue[start : start + size]
    batch = _batch([rows[i] for i in part], size, decoding, request)
    continuations = _program(
      variables, key, place(batch, split=True), network=network, request=request
    )
    for i, tokens, counts in zip(
      part, *jax.device_get(continuations), strict=False
    ):
      answers[i] = tokens[: counts.sum()]
  return answers


class Row(NamedTuple):
  """A text to be continued: the prompt, its number, and which sample it is."""

  text: np.ndarray
  number: int
  sample: int


def decoding_for(
  network: Any, variables: Any, length: int, count: int
) -> Decoding:
  """Finds how a network continues texts.

  Args:
    variables: by collection.
    length: tokens of the longest prompt.
    count: the most tokens behind one.

  Raises:
    UserError: if it cannot read that many, or does not continue texts.
  """
  if network.decoding is None:
    return recomputed(network, variables, length + count - 1)
  positions = network.decoding.positions
  if positions is not None and length + count > positions:
    raise UserError(
      f"a prompt of {quantity(length, 'token')} and max_new_tokens={count} are"
      f" more than the {positions} that the network reads"
    )
  return network.decoding


def read_request(
  decoding: Decoding,
  count: int,
  sampling: str,
  eos: int | Sequence[int],
  vocabulary: int | None,
) -> Request:
  """Makes of a user's settings what the loop takes."""
  classes = decoding.classes
  if vocabulary is not None:
    classes = min(classes, check_whole("vocabulary", vocabulary))
  ends = np.asarray(eos).reshape(-1)
  if ends.size and (ends.dtype.kind not in "iu" or ends.min() < 0):
    raise misfit("eos", "ids that end a text", eos)
  ends = tuple(sorted({int(end) for end in ends}))
  return Request(count, read_sampling(sampling), ends, classes)


@functools.partial(jax.jit, static_argnames=("network", "request"))
def _program(variables, key, batch, *, network: Any, request: Request):
  tokens, mask, numbers, samples = batch
  decoding = decoding_for(network, variables, tokens.shape[1], request.count)
  keys = keys_of(key, numbers, samples)
  return continue_prompts(decoding, variables, tokens, mask, keys, request)


def _batch(
  rows: Sequence[Row], size: int, decoding: Decoding, request: Request
) -> tuple[np.ndarray, ...]:
  """Lays rows out as arrays, filled up with rows that are empty."""
  longest = max(len(row.text) for row in rows)
  # Without a cache longer rows cost more, and may be too long.
  length = longest
  if decoding.positions is not None:
    length = min(rounded(longest), decoding.positions - request.count)
  tokens = np.zeros((size, length), np.int32)
  mask = np.zeros((size, length), bool)
  numbers, samples = np.zeros((2, size), np.uint32)
  for i, row in enumerate(rows):
    tokens[i, : len(row.text)] = row.text
    mask[i, : len(row.text)] = True
    numbers[i], samples[i] = row.number, row.sample
  return tokens, mask, numbers, samples


def rounded(length: int) -> int:
  """Rounds a prompt's length up, so that few programs are compiled.

  Example:
    >>> [rounded(length) for length in (1, 9, 13, 17, 100)]
    [8, 12, 16, 24, 128]
  """
  size = 8
  while size < length:
    # Powers of two, and one and a half times these.
    size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
  return size


def _placement(devices: Sequence[Any] | None):
  """Returns what puts arrays on devices, and among how many rows are divided."""
  if devices is None:
    return (lambda arrays, *, split: arrays), 1
  several = isinstance(devices, Sequence | np.ndarray) and len(devices)
  if not several or not all(isinstance(one, jax.Device) for one in devices):
    expected = "a list of devices, jax.local_devices()[:2]"
    raise misfit("devices", expected, devices)
  mesh = Mesh(np.array([*devices]), ("rows",))

  def place(arrays, *, split):
    spec = PartitionSpec("rows") if split else PartitionSpec()
    return jax.device_put(arrays, NamedSharding(mesh, spec))

  return place, mesh.size


def _checked_prompts(prompts: Any) -> list[np.ndarray]:
  expected = "a list of prompts, each a list or vector of token ids"
  if isinstance(prompts, str) or not isinstance(
    prompts, Sequence | np.ndarray | jax.Array
  ):
    raise misfit("prompts", expected, prompts)
  if not len(prompts):
    raise misfit("prompts", expected, prompts)
  texts = []
  for number, prompt in enumerate(prompts):
    if isinstance(prompt, str):
      raise UserError(
        f"prompt {number} is a text; tokenizer.encode(text) makes token ids of it"
      )
    text = np.asarray(prompt)
    if text.ndim == 1 and not text.size:
      raise UserError(
        f"prompt {number} is empty; a network continues one token or more, such"
        " as tokenizer.bos"
      )
    if text.ndim != 1 or text.dtype.kind not in "iu":
      raise misfit(f"prompts[{number}]", "a vector of token ids", prompt)
    texts.append(text)
  return texts


def _check_ids(texts: Sequence[np.ndarray], classes: int) -> None:
  for number, text in enumerate(texts):
    wrong = text[(text < 0) | (text >= classes)]
    if wrong.size:
      raise UserError(
        f"prompt {number} has the token {wrong[0]}; the network's are 0 to"
        f" {classes - 1}"
      )


def _checked_numbers(ids: Any, count: int) -> np.ndarray:
  numbers = np.arange(count) if ids is None else np.asarray(ids)
  whole = numbers.dtype.kind in "iu" and numbers.shape == (count,)
  if not whole or numbers.min() < 0:
    raise misfit("ids", f"{quantity(count, 'whole number')} >= 0", ids)
  return numbers


def _checked_key(sampling: str, key: Any) -> jax.Array:
  if key is not None:
    check_key("key", key)
    return key
  if read_sampling(sampling).draws:
    raise UserError(
      f"sampling={sampling!r} draws tokens: give a key=, such as"
      " jax.random.key(0)"
    )
  return jax.random.key(0)
