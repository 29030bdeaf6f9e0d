"""The next token of every text."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole
from kdjax.core.entries import example_entries
from kdjax.core.errors import UserError
from kdjax.core.factored import (
  Factored,
  as_logits,
  first_classes,
  over_rows,
)
from kdjax.core.one_pass import NATS
from kdjax.core.pooling import pool_logits
from kdjax.core.signature import Signature, signature_of
from kdjax.core.task import (
  Batch,
  Rows,
  Task,
  Weights,
  Words,
  batch_of,
  has_weight,
)
from kdjax.losses import chunked
from kdjax.tasks.classification import (
  correct,
  cross_entropy,
  negative_log_likelihood,
)
from kdjax.tasks.registry import register


@register("language_model")
def language_model(
  vocabulary: int | None = None,
  *,
  inputs: str = "tokens",
  mask: str = "mask",
  label: str = "labels",
  counts: str = "counts",
  segments: str = "segments",
  factored_from: int | None = 8192,
) -> Task:
  """The next token of every text.

  A network answers (B, T, V) logits, of which those at t are about token t + 1. A
  row is one of the B * (T - 1) positions before the last. It counts iff token
  t + 1 is to be learned: `counts` says which tokens those are, such as the
  answers, their ends included, and not the prompts. Padding never counts, nor
  does the first token of a document that is packed behind another one. What
  the network answers at positions that do not count reaches no loss and has
  no gradient, whatever it is.

  Args:
    vocabulary: how many token ids there are. What a network answers beyond them,
      as one whose classes are padded does, has probability 0. None for as many
      as the network answers.
    inputs: the entry of an item that holds the token ids, (B, T) int.
    mask: the entry that says which of them are no padding, (B, T); the network
      is handed it. It may be missing, as may those below.
    label: the entry that holds what is to be learned where it is not the tokens
      themselves, (B, T) int, at the places of the tokens; an id outside the
      vocabulary, such as -100, is no label: the position then adds nothing to the
      cross-entropy, but a teacher is heard there if `counts` says so.
    counts: the entry that says which tokens are learned, (B, T) bool, or 0 and
      1; by default those that have a label, or all.
    segments: the entry that numbers the documents of a row from 1, (B, T) int, 0
      for padding; the network is handed it.
    factored_from: from how many tokens in a network's vocabulary on no array of
      all positions' logits is made, where the network ends in a product with a
      matrix: losses and scores are then those of `kdjax.losses.chunked`. None
      for never.

  Returns:
    The task, scored by the nats per token of the positions with a label.

  Raises:
    UserError: for a vocabulary of fewer than two tokens, or an entry's name that
      is no text.

  Example:
    >>> task = language_model(5)
    >>> tokens = jnp.array([[3, 1, 4, 2, 0]])
    >>> answer = jnp.array([[0, 0, 0, 1, 0]])
    >>> batch = task.batch({"tokens": tokens, "counts": answer})
    >>> batch.targets.tolist(), task.weights(batch).rows.tolist()
    ([[-1, -1, 2, -1]], [False, False, True, False])
  """
  if vocabulary is not None:
    vocabulary = check_whole("vocabulary", vocabulary, least=2)
  names = {"inputs": inputs, "mask": mask, "label": label}
  for argument, name in (
    names | {"counts": counts, "segments": segments}
  ).items():
    check_text(argument, name)
  return _task(vocabulary, inputs, mask, label, counts, segments, factored_from)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(
  vocabulary: int | None,
  tokens: str,
  mask: str,
  label: str,
  counts: str,
  segments: str,
  factored_from: int | None,
) -> Task:
  def batch(item):
    numbers = example_entries(item)
    read = [name for name in (mask, segments) if name in item]
    network_inputs = {name: item[name] for name in (tokens, *read)}
    for name in (tokens, *read, label, counts):
      if name in item:
        _check_entry(name, item[name], item[tokens].shape)
    places = item.get(label, item[tokens])
    learned = item.get(counts, places >= 0)
    learned = learned_positions(
      learned, mask=item.get(mask), segments=item.get(segments)
    )
    targets = jnp.where(learned, places[:, 1:], -1)
    return batch_of(network_inputs, targets, counts=learned, **numbers)

  def sample(inputs):
    named = isinstance(inputs, Mapping)
    return batch(inputs if named else {tokens: inputs})

  def real_tokens(batch):
    inputs = batch.inputs
    if not isinstance(inputs, Mapping):
      return None
    entry = inputs.get(mask, inputs.get(segments))
    return None if entry is None else entry != 0

  return Task(
    name="language_model",
    kind="categories",
    batch=batch,
    sample=sample,
    weights=weights,
    rows=functools.partial(rows, vocabulary=vocabulary),
    hard_loss=hard_loss,
    metrics={NATS: nats, "perplexity": nats, "accuracy": top_is_right},
    score=NATS,
    better=-1,
    finish={"perplexity": np.exp},
    pool=pool_logits,
    signature=signature,
    words=Words(
      "nats per token", "", 1.0, 0.0, digits=4, counted="tokens", labels="texts"
    ),
    tokens=real_tokens,
    factored_from=factored_from,
    width=vocabulary,
  )


def learned_positions(
  counts: jax.Array,
  *,
  mask: jax.Array | None = None,
  segments: jax.Array | None = None,
) -> jax.Array:
  """Says at which positions the next token is learned.

  Args:
    counts: (B, T), not 0 where a token is learned.
    mask: (B, T), 0 for padding; None where there is none.
    segments: (B, T) int, numbers of documents, 0 for padding; None where a row
      is one document.

  Returns:
    (B, T - 1) bool, position t for token t + 1.

  Example:
    >>> counts, segments = jnp.ones((1, 5)), jnp.array([[1, 1, 2, 2, 0]])
    >>> learned_positions(counts, segments=segments).tolist()
    [[True, False, True, False]]
  """
  learned = counts[:, 1:] != 0
  if mask is not None:
    # A token behind padding at the beginning has nothing to be told from.
    learned &= (mask[:, 1:] != 0) & (mask[:, :-1] != 0)
  if segments is not None:
    learned &= (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] != 0)
  return jnp.asarray(learned)


def weights(batch: Batch) -> Weights:
  """Every position that counts weighs as its example does."""
  position_weights = batch.weight[:, None] * batch.extra.get(
    "counts", batch.targets >= 0
  )
  return Weights(position_weights.reshape(-1), batch.weight)


def rows(outputs: jax.Array, batch: Batch, *, vocabulary: int | None) -> Rows:
  """Every position but the last, with the logits of the token behind it."""
  weight = weights(batch).rows

  def flat(x):
    x = x[:, :-1].reshape(-1, x.shape[-1])
    # Whatever stands where nothing counts, nan too, has no part in a gradient.
    return jnp.where((weight != 0)[:, None], x, 0)

  answers = over_rows(flat, first_classes(outputs, vocabulary))
  return Rows(answers, batch.targets.reshape(-1), weight)


def nats(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """The sum of - log q of the labels, and how many there are."""
  answers = rows.answers
  if not isinstance(answers, Factored):
    return negative_log_likelihood(rows)
  totals = chunked.cross_entropy(
    answers.hidden,
    answers.kernel,
    rows.targets,
    bias=answers.bias,
    mask=has_weight(rows.weight),
  )
  return totals.cross_entropy, totals.labelled


def top_is_right(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """How many of the labelled rows name their token, and how many there are."""
  answers = rows.answers
  if not isinstance(answers, Factored):
    return correct(rows)
  top = chunked.top_class(answers.hidden, answers.kernel, bias=answers.bias)
  labelled = has_weight(rows.weight) & (rows.targets >= 0)
  return (labelled & (top == rows.targets)).sum(), labelled.sum()


def hard_loss(rows: Rows) -> jax.Array:
  """Cross-entropy with the next token, nats; 0 for a row without one."""
  return cross_entropy(rows._replace(answers=as_logits(rows.answers)))


def signature(inputs: Any, width: int) -> Signature:
  """One logit a token of the vocabulary, at every token of the text."""
  per_token = signature_of(
    inputs, width, name="tokens", output="logits", what="Tokens"
  )
  (logits,) = per_token.outputs
  shape = (*per_token.inputs[0].shape, width)
  return per_token._replace(outputs=(logits._replace(shape=shape),))


def _check_entry(name: str, entry: Any, shape: tuple[int, ...]) -> None:
  """Refuses an entry that is not one whole number a token."""
  whole = jnp.issubdtype(entry.dtype, jnp.integer) or entry.dtype == bool
  if whole and entry.shape == shape and len(shape) == 2 and shape[1] > 1:
    return
  raise UserError(
    f"batch: entry {name!r} has the shape {entry.shape} and the type"
    f" {entry.dtype}; the task language_model reads one whole number a token,"
    " (B, T) for T >= 2"
  )
