"""The tokens of a text that were hidden."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole
from kdjax.core.entries import example_entries
from kdjax.core.errors import UserError
from kdjax.core.factored import first_classes, over_rows
from kdjax.core.kept import Kept
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
  mean_of,
)
from kdjax.tasks import _masked_tokens
from kdjax.tasks.language_model import hard_loss, nats, top_is_right
from kdjax.tasks.registry import register


@register("masked_language_model")
def masked_language_model(
  vocabulary: int = 30522,
  *,
  mask_token: int = 103,
  special: tuple[int, ...] = (0, 100, 101, 102, 103),
  rate: float = 0.15,
  seed: int = 0,
  inputs: str = "tokens",
  mask: str = "mask",
  segments: str = "segments",
  view: str = "view",
  factored_from: int | None = 8192,
) -> Task:
  """The tokens of a text that were hidden.

  Of each text's n real tokens max(1, round(rate * n)) are chosen. Of these 80 % are
  replaced by the mask's token, 10 % by any token and 10 % stay; a network answers at
  `places` (B, K), where they stand, (B, K, V) logits, and a row is one of them. K is
  round(rate * T), and at least 1; a text with fewer chosen tokens has rows that do
  not count.

  Which tokens are chosen, and what becomes of each, is a function of (seed, view,
  index) alone: of a text's place in the data and the number of its view, not of the
  batch that it stands in, nor of devices. A training of `launch.py` draws others in
  each step, by (the student's seed, step, place in the batch); what is scored there
  is drawn once.

  Args:
    vocabulary: how many token ids there are. What a network answers beyond them has
      probability 0.
    mask_token: the id that stands for a hidden token.
    special: ids that are never chosen. The defaults are BERT's, without case.
    rate: share of the real tokens that are chosen, in (0, 1).
    seed: of the choice, where there are no views.
    inputs: the entry of an item that holds the token ids, (B, T) int.
    mask: the entry that says which of them are no padding, (B, T); the network is
      handed it. It may be missing, as may those below.
    segments: the entry that says of which text of a pair they are, (B, T) int; the
      network is handed it.
    view: the entry with the number of the view that each text shows, (B,) int, such
      as the epoch: another one, other tokens; 0 by default.
    factored_from: as in `language_model`.

  Returns:
    The task, scored by the share of the chosen tokens that are told.

  Raises:
    UserError: for a vocabulary that does not hold the mask's token, or a rate outside
      (0, 1); when called, for tokens that are no (B, T) whole numbers.

  Example:
    >>> task = masked_language_model(9, mask_token=8, special=(0, 8), rate=0.5)
    >>> batch = task.batch({"tokens": jnp.array([[3, 1, 4, 2, 5, 0]])})
    >>> batch.inputs["places"].shape, task.weights(batch).rows.tolist()
    ((1, 3), [True, True, False])

  Source:
    Devlin et al. 2019, arXiv:1810.04805, section 3.1 and appendix A.1. As in the
    authors' code a text has a fixed number of chosen tokens; libraries that draw
    each token with the probability `rate` choose as many on average.
  """
  vocabulary = check_whole("vocabulary", vocabulary, least=2)
  mask_token = check_whole("mask_token", mask_token, least=0)
  if mask_token >= vocabulary:
    raise UserError(
      f"mask_token must be in [0, vocabulary), got {mask_token} of {vocabulary}"
    )
  if isinstance(rate, bool) or not 0 < rate < 1:
    raise UserError(f"rate must be in (0, 1), got {rate!r}")
  names = {"inputs": inputs, "mask": mask, "segments": segments, "view": view}
  for argument, name in names.items():
    check_text(argument, name)
  special = tuple(check_whole("special", x, least=0) for x in special)
  return _task(
    _masked_tokens.Masking(vocabulary, mask_token, special, float(rate)),
    check_whole("seed", seed, least=0),
    tuple(names.values()),
    factored_from,
  )


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(
  masking: _masked_tokens.Masking,
  seed: int,
  names: tuple[str, ...],
  factored_from: int | None,
) -> Task:
  tokens, mask, segments, view = names

  def draw(key, network_inputs, positions):
    ids = network_inputs[tokens]
    hidden = _masked_tokens.hide(
      _masked_tokens.keys_of(key, positions),
      ids,
      _masked_tokens.candidates(ids, network_inputs.get(mask), masking.special),
      masking,
    )
    shown = {**network_inputs, tokens: hidden.tokens, PLACES: hidden.places}
    return shown, hidden.targets

  def batch(item):
    _check_tokens(tokens, item[tokens])
    read = [name for name in (mask, segments) if name in item]
    stored = {name: item[name] for name in (tokens, *read)}
    result = batch_of(stored, **example_entries(item))
    key = jax.random.key(seed)
    numbers = item.get(view, jnp.zeros_like(result.index))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
    shown, targets = draw(keys, stored, result.index)
    return result._replace(inputs=shown, targets=targets)

  def redraw(key, shown, targets, positions):
    ids = shown[tokens]
    # A place that is none is behind the text, where nothing is written.
    at = jnp.where(targets >= 0, shown[PLACES], ids.shape[1])
    ids = jax.vmap(lambda row, at, right: row.at[at].set(right, mode="drop"))(
      ids, at, targets
    )
    stored = {name: x for name, x in shown.items() if name != PLACES}
    return draw(key, stored | {tokens: ids}, positions)

  def sample(network_inputs):
    named = isinstance(network_inputs, Mapping)
    stored = network_inputs if named else {tokens: network_inputs}
    stored = {name: x for name, x in stored.items() if name != PLACES}
    return batch(stored)

  return Task(
    name="masked_language_model",
    kind="categories",
    batch=batch,
    sample=sample,
    weights=weights,
    rows=functools.partial(rows, vocabulary=masking.vocabulary),
    hard_loss=hard_loss,
    metrics={"accuracy": top_is_right, NATS: nats, "perplexity": nats},
    score="accuracy",
    finish={"perplexity": np.exp},
    pool=pool_logits,
    signature=signature,
    words=Words(
      "hidden tokens told wrong", counted="texts", labels="hidden tokens"
    ),
    tokens=lambda batch: _real_tokens(batch, mask),
    factored_from=factored_from,
    width=masking.vocabulary,
    measure=measured,
    kept=Kept(likeliest, share_told),
    redraw=redraw,
  )


# What a network is told beside a text: where its hidden tokens stand.
PLACES = "places"


def likeliest(logits: jax.Array, inputs: Any) -> jax.Array:
  """(B, K) int32, the token that each hidden one is taken for."""
  del inputs
  return logits.argmax(-1).astype(jnp.int32)


def share_told(taken: np.ndarray, targets: np.ndarray) -> float:
  """The share of the hidden tokens that are told."""
  return float(mean_of((taken == targets).sum(), (targets >= 0).sum()))


def measured(
  taken: np.ndarray, targets: np.ndarray, teacher_taken: np.ndarray | None
) -> dict[str, Any]:
  """What results.json says of networks, by what is kept of their answers.

  Args:
    taken: (M, N, K) int, of M networks.
    targets: (N, K) int.
    teacher_taken: (N, K) int, or None.
  """
  scores = {
    "test_accuracy": [share_told(one, targets) for one in taken],
    "test_examples": len(targets),
  }
  if teacher_taken is None:
    return scores
  alike = np.where(targets >= 0, teacher_taken, -1)
  return scores | {"agreement": [share_told(one, alike) for one in taken]}


def weights(batch: Batch) -> Weights:
  """Every chosen token weighs as its text does."""
  chosen = batch.weight[:, None] * (batch.targets >= 0)
  return Weights(chosen.reshape(-1), batch.weight)


def rows(outputs: jax.Array, batch: Batch, *, vocabulary: int) -> Rows:
  """Every chosen token, with the logits of what it was."""

  def flat(x):
    return x.reshape(-1, x.shape[-1])

  answers = over_rows(flat, first_classes(outputs, vocabulary))
  return Rows(answers, batch.targets.reshape(-1), weights(batch).rows)


def signature(inputs: Any, width: int) -> Signature:
  """One logit a token of the vocabulary, for every chosen token of the text."""
  per_token = signature_of(
    inputs, width, name="tokens", output="logits", what="Tokens"
  )
  (logits,) = per_token.outputs
  shape = (*inputs[PLACES].shape, width)
  return per_token._replace(outputs=(logits._replace(shape=shape),))


def _real_tokens(batch: Batch, mask: str) -> jax.Array | None:
  entry = batch.inputs.get(mask)
  return None if entry is None else entry != 0


def _check_tokens(name: str, entry: Any) -> None:
  if jnp.issubdtype(entry.dtype, jnp.integer) and entry.ndim == 2:
    return
  raise UserError(
    f"batch: entry {name!r} has the shape {entry.shape} and the type"
    f" {entry.dtype}; the task masked_language_model reads whole numbers, (B, T)"
  )
