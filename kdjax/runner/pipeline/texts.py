"""Texts as sequences of tokens: read, divided by document, packed, counted."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data import text
from kdjax.data.text.rows import ANSWER, QUESTION
from kdjax.runner.config.language import Documents, Text
from kdjax.runner.report.progress import say

SPLITS = ("train", "validation", "test")
# So many places of rows that were cut or left out stand in results.json.
NAMED = 20


class Part(NamedTuple):
  """One split.

  Attributes:
    rows: as they were read.
    examples: what they have become.
    sequences: arrays (N, T) by name, as `kdjax.data.text.pack` makes them.
  """

  rows: list[text.Row]
  examples: text.Examples
  sequences: dict[str, np.ndarray]


class Texts(NamedTuple):
  """All texts of a run.

  Attributes:
    parts: by split.
    duplicates: by split, documents that say what one of the training's does.
  """

  parts: dict[str, Part]
  duplicates: dict[str, int]

  @property
  def largest(self) -> int:
    """The largest token id."""
    sequences = (part.sequences for part in self.parts.values())
    return max(int(one["tokens"].max()) for one in sequences)


class Answered(NamedTuple):
  """A tokenizer that is handed the ids of questions and answers.

  Attributes:
    tokenizer: which reads all other rows.
    whose: what stands before QUESTION and ANSWER in a row that has its ids.
  """

  tokenizer: Any
  whose: str = ""

  def tokenize(self, row: Mapping[str, Any]) -> tuple[list[int], list[bool]]:
    if self.whose + ANSWER not in row:
      return self.tokenizer.tokenize(row)
    question, answer = ([*row[self.whose + x]] for x in (QUESTION, ANSWER))
    counts = [False] * len(question) + [True] * len(answer)
    return [*question, *answer], counts

  def decode(self, ids: Sequence[int]) -> str:
    return self.tokenizer.decode(ids)

  @property
  def pad(self) -> int:
    return self.tokenizer.pad


def read_rows(settings: Text) -> list[text.Row]:
  """Reads the rows of all that `--text` names."""
  return text.read_rows([one.strip() for one in settings.text.split(",")])


def read(settings: Documents, tokenizer: Any) -> Texts:
  """Reads, divides, tokenises and packs the texts of a run, and says what came."""
  rows = read_rows(settings)
  divided = dict(
    zip(SPLITS, text.divide_rows_in_three(rows, settings.held_out), strict=True)
  )
  duplicates = {
    name: text.count_duplicates(divided[name], divided["train"])
    for name in SPLITS[1:]
  }
  length, parts = settings.sequence_length, {}
  for name, split_rows in divided.items():
    try:
      part = make_part(split_rows, tokenizer, length)
    except UserError as error:
      raise UserError(f"{name} split: {error}") from None
    parts[name] = part
    say(f"{name}: {part.examples.summary()}; {_packed(part.sequences)}")
  for name, count in duplicates.items():
    if count:
      say(f"{name}: {count} of these documents are in train too")
  return Texts(parts, duplicates)


def make_part(rows: list[text.Row], tokenizer: Any, length: int) -> Part:
  """Tokenises rows and packs them in sequences of some length."""
  examples = text.make_examples(rows, tokenizer, length)
  sequences = text.pack(examples.examples, length, pad=tokenizer.pad)
  return Part(rows, examples, sequences)


def described(texts: Texts) -> dict[str, Any]:
  """What results.json says of the texts."""
  return {
    name: {
      "rows": part.examples.rows,
      "tokens": part.examples.tokens,
      "learned": part.examples.learned,
      "bytes": part.examples.bytes,
      "sequences": len(part.sequences["tokens"]),
      "positions_used": float(part.sequences["mask"].mean()),
      **_counted("truncated", part.examples.truncated),
      **_counted("unanswered", part.examples.unanswered),
    }
    for name, part in texts.parts.items()
  } | {"duplicates": texts.duplicates}


def fingerprint(part: Part) -> str:
  """The sha256 of a split's tokens, and of which of them are learned."""
  digest = hashlib.sha256()
  for name in ("tokens", "segments", "counts"):
    digest.update(np.ascontiguousarray(part.sequences[name]).tobytes())
  return digest.hexdigest()


def _counted(what: str, places: list[str]) -> dict[str, Any]:
  return {what: len(places), f"{what}_rows": places[:NAMED]}


def _packed(sequences: dict[str, np.ndarray]) -> str:
  mask = sequences["mask"]
  return (
    f"{len(mask):,} sequences of {mask.shape[1]}, {100 * mask.mean():.1f} % of"
    " their positions used"
  )
