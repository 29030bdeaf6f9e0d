"""Two tokenizations of one text: which tokens of both stand for the same bytes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Bytes of a token; None for one that is no text, such as a text's end.
Pieces = Sequence[bytes | None]


class Groups(NamedTuple):
  """Groups of tokens of two sides that stand for the same bytes.

  Attributes:
    student: (L,) int32, the group of each of the student's tokens, numbered from 0
      in the order of the text; -1 for a token of none.
    teacher: (L',) int32, likewise.
    count: how many groups there are.
  """

  student: np.ndarray
  teacher: np.ndarray
  count: int


def align(student: Pieces, teacher: Pieces) -> Groups:
  """Groups the tokens of two tokenizations of the same text.

  Wherever both begin a token at the same byte a group ends and another begins, so
  that the groups are as short as they can be, and stand for the same bytes on both
  sides. White space before the text that one side alone has, as SentencePiece puts
  it there, is no byte of the text. What ends both sides and is no text is
  a group of one token each. Tokens that are no text are in no other group: a
  beginning that one side has, for instance. Where the two sides differ in the
  middle, as where one of them normalises, what differs is in no group.

  Args:
    student: of each of the student's tokens, its bytes.
    teacher: likewise, the teacher's.

  Returns:
    The groups: each has tokens of both sides.

  Example:
    >>> groups = align([b"un", b"like", b"ly", None], [None, b" unlike", b"ly", None])
    >>> groups.student.tolist(), groups.teacher.tolist(), groups.count
    ([0, 0, 1, 2], [-1, 0, 1, 2], 3)
  """
  sides = student, teacher
  is_text = [np.array([x is not None for x in side], bool) for side in sides]
  sizes = [np.array([len(x or b"") for x in side], int) for side in sides]
  texts = [b"".join(x or b"" for x in side) for side in sides]
  skipped = _added_space(*texts)
  texts = [text[skip:] for text, skip in zip(texts, skipped, strict=True)]
  ends = [
    np.maximum(np.cumsum(size) - skip, 0)
    for size, skip in zip(sizes, skipped, strict=True)
  ]
  if texts[0] == texts[1]:
    numbers, count = _of_equal(*ends)
  else:
    numbers, count = _of_unequal(texts, ends)
  numbers = [np.where(*one, -1) for one in zip(is_text, numbers, strict=True)]
  behind = [_behind(one) for one in is_text]
  if None not in behind:
    for one, place in zip(numbers, behind, strict=True):
      one[place] = count
    count += 1
  return Groups(*(one.astype(np.int32) for one in numbers), count)


def _of_equal(*ends: np.ndarray) -> tuple[list[np.ndarray], int]:
  """Groups tokens of equal texts by where they end.

  Returns:
    The group of each token of both sides, and how many groups there are.
  """
  borders = np.intersect1d(*ends)
  borders = borders[borders > 0]
  numbers = (np.searchsorted(borders, one) for one in ends)
  # A token of no bytes belongs to what stands before it, the first to the first.
  return [np.where(one < len(borders), one, -1) for one in numbers], len(
    borders
  )


def _of_unequal(
  texts: Sequence[bytes], ends: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], int]:
  """Groups tokens of texts that begin and end alike; what differs is in none."""
  alike = _common(*texts)
  rest = _common(*(text[alike:][::-1] for text in texts))
  starts = [np.append(0, one[:-1]) for one in ends]
  # Where both begin a token in the common end, counted from the end of the text.
  distances = [
    len(text) - start for text, start in zip(texts, starts, strict=True)
  ]
  first = _largest_common(ends, alike)
  last = _largest_common(distances, rest)
  head, count = _of_equal(*(one[one <= first] for one in ends))
  in_tail = [one <= last for one in distances]
  tail, more = _of_equal(
    *(
      one[tail] - (len(text) - last)
      for one, tail, text in zip(ends, in_tail, texts, strict=True)
    )
  )
  numbers = [np.full(len(one), -1) for one in ends]
  for one, tail_places, of_tail in zip(numbers, in_tail, tail, strict=True):
    one[tail_places] = np.where(of_tail < 0, -1, count + of_tail)
  for one, end, of_head in zip(numbers, ends, head, strict=True):
    one[end <= first] = of_head
  return numbers, count + more


def _largest_common(places: Sequence[np.ndarray], most: int) -> int:
  """The largest place, `most` at most, that is one of both sides; 0 for none."""
  common = np.intersect1d(*(one[one <= most] for one in places))
  return int(common.max(initial=0))


def _added_space(student: bytes, teacher: bytes) -> tuple[int, int]:
  """How many bytes of white space each side begins with that are no text."""
  spaces = tuple(len(x) - len(x.lstrip()) for x in (student, teacher))
  choices = ((0, 0), (1, 0), (0, 1), spaces)
  possible = [
    one
    for one in choices
    if all(x <= y for x, y in zip(one, spaces, strict=True))
  ]
  return max(
    possible,
    # The first of those that leave as much alike.
    key=lambda one: _common(student[one[0] :], teacher[one[1] :]),
  )


def _common(one: bytes, other: bytes) -> int:
  """How many bytes two texts have in common at their beginning."""
  size = min(len(one), len(other))
  unlike = np.flatnonzero(
    np.frombuffer(one, np.uint8, size) != np.frombuffer(other, np.uint8, size)
  )
  return int(unlike[0]) if len(unlike) else size


def _behind(is_text: np.ndarray) -> int | None:
  """The place of the last token, if it is no text; else None."""
  last = len(is_text) - 1
  return None if last < 0 or is_text[last] else last
