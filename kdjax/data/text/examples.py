"""Rows to token ids of bounded length; whatever is cut or left out is counted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.text.rows import Row

_NAMED = 5  # so many places, and then their number


class Tokenizer(Protocol):
  """What a tokenizer has to know: see `kdjax.models.tokenizers.Tokenizer`."""

  def tokenize(self, row: Mapping[str, Any]) -> tuple[list[int], list[bool]]:
    """Row -> ids, and whether each is (part of) an answer."""

  def decode(self, ids: Sequence[int]) -> str:
    """Ids -> text."""


class Example(NamedTuple):
  """A document, or a window of one.

  Attributes:
    tokens: (L,) int32.
    counts: (L,) bool, the tokens that are learned; never the first one.
    row: the number of the row that it comes from.
    start: the place of its first token among the row's.
  """

  tokens: np.ndarray
  counts: np.ndarray
  row: int
  start: int = 0


class Examples(NamedTuple):
  """What rows have become, and what became of them.

  Attributes:
    examples: of at most the length asked for, in the order of their rows.
    rows: how many there were.
    tokens: in all examples; a token that two windows share is one in each.
    learned: tokens that count, each of them once.
    bytes: of UTF-8 that the tokens that count stand for: nats a token become
      bits a byte by it, which tokenizers can be compared by.
    truncated: places of rows whose end was cut off.
    unanswered: places of rows that were left out, as no token of an answer was
      in them, or was left within the length.
  """

  examples: list[Example]
  rows: int
  tokens: int
  learned: int
  bytes: int
  truncated: list[str]
  unanswered: list[str]

  def summary(self) -> str:
    """Says in one line what there is, and what was cut or left out.

    Example:
      >>> Examples([], 3, 40, 12, 50, ["a.jsonl, line 3"], []).summary()
      '3 rows, 40 tokens, 12 of them learned; 1 row cut off: a.jsonl, line 3'
    """
    parts = [
      f"{quantity(self.rows, 'row')}, {quantity(self.tokens, 'token')},"
      f" {self.learned} of them learned"
    ]
    for problem, places in (
      ("cut off", self.truncated),
      ("without an answer left out", self.unanswered),
    ):
      if places:
        more = len(places) - _NAMED
        named = "; ".join(places[:_NAMED]) + f" and {more} more" * (more > 0)
        parts.append(f"{quantity(len(places), 'row')} {problem}: {named}")
    return "; ".join(parts)


def make_examples(
  rows: Sequence[Row], tokenizer: Tokenizer, length: int
) -> Examples:
  """Turns rows into token ids of at most some length.

  A longer document is read in windows: each begins with the last token of the one
  before, so that every token is predicted once. Of a longer row with a prompt or
  with messages the end is cut off.

  Args:
    length: tokens of an example, >= 2.

  Returns:
    The examples, at least one.

  Raises:
    UserError: for a row that the tokenizer refuses, with its place; and if no row
      has an answer.
  """
  if length < 2:
    raise UserError(f"the sequence length must be at least 2, got {length}")
  examples, truncated, unanswered, size = [], [], [], 0
  for number, row in enumerate(rows):
    try:
      ids, counts = tokenizer.tokenize(row.values)
    except UserError as error:
      raise UserError(f"{row.place}: {error}") from None
    tokens, counts = np.array(ids, np.int32), np.array(counts, bool)
    if "text" not in row.values:
      if len(tokens) > length:
        truncated.append(row.place)
      tokens, counts = tokens[:length], counts[:length]
    elif not row.values["text"].strip():
      counts = np.zeros_like(counts)  # an empty document
    if not counts.any():
      unanswered.append(row.place)
      continue
    size += count_bytes(tokenizer, tokens, counts)
    examples += [
      # Of a document every token counts, and so every window does.
      Example(*window, number, place * (length - 1))
      for place, window in enumerate(_windows(tokens, counts, length))
    ]
  if not examples:
    raise UserError(
      f"text: none of {quantity(len(rows), 'row')} has a token to learn within"
      f" {length} tokens, the first being {rows[0].place}"
    )
  return Examples(
    examples,
    len(rows),
    sum(len(one.tokens) for one in examples),
    int(sum(one.counts.sum() for one in examples)),
    size,
    truncated,
    unanswered,
  )


def count_bytes(
  tokenizer: Tokenizer, tokens: np.ndarray, counts: np.ndarray
) -> int:
  """Counts the bytes of UTF-8 that the tokens of a row that count stand for.

  Each run of them is what it adds to the text before it: alone, it might lose a
  space at its beginning.

  Args:
    tokens: (L,) int.
    counts: (L,) bool.
  """
  edges = np.flatnonzero(np.diff(counts, prepend=False, append=False))
  lengths = [len(tokenizer.decode(tokens[:edge]).encode()) for edge in edges]
  return sum(lengths[1::2]) - sum(lengths[::2])


def _windows(
  tokens: np.ndarray, counts: np.ndarray, length: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  for start in range(0, max(len(tokens) - 1, 1), length - 1):
    window = counts[start : start + length].copy()
    window[0] = False  # the window before has it
    if window.any():
      yield tokens[start : start + length], window
