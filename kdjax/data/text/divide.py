"""Training and test documents: no document is on both sides."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.subsets import place_of
from kdjax.data.text.rows import Row

SPLIT, VALIDATION = "split", "validation"
_CONTENT = ("text", "prompt", "completion", "messages")


def divide_rows(
  rows: Sequence[Row], held_out: float = 0.1
) -> tuple[list[Row], list[Row]]:
  """Divides documents into those to learn from and those to measure on.

  Rows with an entry `split` of train or test are divided as it says; all must have
  it, or none. Without, a hash of a row's content decides, so that equal rows are
  on one side, and a row stays where it is when others are added; where none or
  all would be test, the one that is nearest changes sides.

  Args:
    held_out: the share that is test, in (0, 1).

  Returns:
    (train, test), in their order, none of them empty.

  Raises:
    UserError: if there are not two documents that differ, or a split is neither.
  """
  if _has_split(rows):
    is_test = np.array([_says_test(row) for row in rows])
  else:
    is_test = _by_content(rows, held_out) == 0
  for name, mask in (("train", ~is_test), ("test", is_test)):
    if not mask.any():
      raise UserError(f"text: no row is {name}")
  return _take(rows, ~is_test), _take(rows, is_test)


def divide_rows_in_three(
  rows: Sequence[Row], held_out: float = 0.1
) -> tuple[list[Row], list[Row], list[Row]]:
  """Divides documents into those to learn from, to choose by and to measure on.

  As `divide_rows`; an entry `split` may also be validation. Where none is, the
  documents to choose by are taken from those to learn from.

  Args:
    held_out: the share that is test, and the share that is validation, in
      (0, 0.5).

  Returns:
    (train, validation, test), in their order, none of them empty.

  Raises:
    UserError: as `divide_rows`, which here needs three documents that differ.
  """
  if not _has_split(rows):
    parts = _by_content(rows, held_out, held_out)
    test, validation, train = (_take(rows, parts == i) for i in range(3))
    return train, validation, test
  validation = [row for row in rows if row.values.get(SPLIT) == VALIDATION]
  others = [row for row in rows if row.values.get(SPLIT) != VALIDATION]
  train, test = divide_rows(others)
  if not validation:
    parts = _by_content(train, held_out)
    validation, train = (_take(train, parts == i) for i in range(2))
  return train, validation, test


def count_duplicates(rows: Sequence[Row], others: Sequence[Row] = ()) -> int:
  """Counts rows that say what another one says, but for spaces around it.

  Args:
    others: of another split: rows of these are counted that are among those.

  Returns:
    Without others, how many rows repeat an earlier one.

  Example:
    >>> rows = [Row({"text": text}, "") for text in ("a", "b", " a")]
    >>> count_duplicates(rows), count_duplicates(rows, rows[1:2])
    (1, 1)
  """
  contents = [content(row) for row in rows]
  if others:
    contents_of_others = {content(row) for row in others}
    return sum(one in contents_of_others for one in contents)
  return sum(count - 1 for count in Counter(contents).values())


def content(row: Row) -> str:
  """What a row says, as one text, without what is said about it.

  Example:
    >>> content(Row({"prompt": "2+2=", "completion": " 4", "id": 7}, "a.csv, line 2"))
    '["2+2=", "4"]'
  """

  def plain(value):
    if isinstance(value, list):
      return [plain(one) for one in value]
    if isinstance(value, dict):
      return [plain(value.get(name)) for name in ("role", "content")]
    return value.strip() if isinstance(value, str) else value

  contents = [
    plain(row.values[name]) for name in _CONTENT if name in row.values
  ]
  return json.dumps(contents, default=str)


def _has_split(rows: Sequence[Row]) -> bool:
  """Says whether rows have their split; all have one, or none."""
  has_split = [SPLIT in row.values for row in rows]
  if any(has_split) and not all(has_split):
    row = rows[has_split.index(False)]
    raise UserError(f"{row.place}, has no `{SPLIT}`, but others have one")
  return all(has_split)


def _says_test(row: Row) -> bool:
  split = row.values[SPLIT]
  if split not in ("train", "test"):
    raise UserError(
      f"{row.place}: `{SPLIT}` is {str(split)[:40]!r}; it must be train or test,"
      " or validation where there is a choice to make"
    )
  return split == "test"


def _by_content(rows: Sequence[Row], *shares: float) -> np.ndarray:
  """Deals documents out by what they say.

  Returns:
    (N,) int, 0 for those of the first share, 1 for those of the second, ...; the
    rest comes last. None of them is empty.
  """
  for share in shares:
    if not 0 < share < 1 / len(shares):
      raise UserError(
        f"the share held out must be in (0, {1 / len(shares):g}), got {share}"
      )
  places = np.array([place_of(content(row)) for row in rows])
  distinct = np.unique(places)
  if len(distinct) <= len(shares):
    into = (
      "train and test" if len(shares) == 1 else "train, validation and test"
    )
    few = len(distinct) if len(distinct) > 1 else "no two"
    raise UserError(
      f"text: {quantity(len(rows), 'document')}, {few} of which differ,"
      f" cannot be divided into {into}, which is done by document; give more files,"
      " or divide a file by lines of <|endoftext|>"
    )
  parts, first = np.full(len(rows), len(shares)), 0
  for number, end in enumerate(np.cumsum(shares)):
    # Each share has one at least, and leaves one to each that follows.
    latest = len(distinct) - len(shares) + number
    last = min(max(int(np.sum(distinct < end)), first + 1), latest)
    parts[np.isin(places, distinct[first:last])] = number
    first = last
  return parts


def _take(rows: Sequence[Row], which: np.ndarray) -> list[Row]:
  return [row for row, is_taken in zip(rows, which, strict=True) if is_taken]
