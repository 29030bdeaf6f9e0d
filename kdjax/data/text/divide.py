"""Training and test documents: no document is on both sides."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.subsets import place_of
from kdjax.data.text.rows import Row

SPLIT = "split"
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
  has_split = [SPLIT in row.values for row in rows]
  if all(has_split):
    is_test = np.array([_says_test(row) for row in rows])
  elif any(has_split):
    row = rows[has_split.index(False)]
    raise UserError(f"{row.place}, has no `{SPLIT}`, but others have one")
  else:
    is_test = _by_content(rows, held_out)
  for name, mask in (("train", ~is_test), ("test", is_test)):
    if not mask.any():
      raise UserError(f"text: no row is {name}")
  pairs = [*zip(rows, is_test, strict=True)]
  return [row for row, test in pairs if not test], [
    row for row, test in pairs if test
  ]


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


def _says_test(row: Row) -> bool:
  split = row.values[SPLIT]
  if split not in ("train", "test"):
    raise UserError(
      f"{row.place}: `{SPLIT}` is {str(split)[:40]!r}; it must be train or test"
    )
  return split == "test"


def _by_content(rows: Sequence[Row], held_out: float) -> np.ndarray:
  if not 0 < held_out < 1:
    raise UserError(f"the share held out must be in (0, 1), got {held_out}")
  places = np.array([place_of(content(row)) for row in rows])
  if len(np.unique(places)) < 2:
    raise UserError(
      f"text: {quantity(len(rows), 'document')}, no two of which differ, cannot be"
      " divided into train and test, which is done by document; give more files,"
      " or divide a file by lines of <|endoftext|>"
    )
  is_test = places < held_out
  if not is_test.any():
    is_test = places == places.min()
  elif is_test.all():
    is_test = places != places.max()
  return is_test
