"""What a teacher with another tokenizer reads beside a student's sequences.

The documents of every sequence of the student's, cut at the same bytes, as the
teacher's tokens; and slots, in which the tokens of both stand side by side, as
`kdjax.losses.aligned` reads them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.core.alignment import SLOTS
from kdjax.core.errors import UserError
from kdjax.data.text.align import Groups, Pieces, align
from kdjax.data.text.examples import Example
from kdjax.data.text.pack import pack
from kdjax.data.text.rows import QUESTION, Row

# Lengths are multiples of it, so that few programs are compiled.
STEP = 8


class Reader(NamedTuple):
  """How one side reads texts.

  Attributes:
    tokenizer: as `make_examples` takes it.
    pieces: by id the bytes of each token, None for one that is no text.
  """

  tokenizer: Any
  pieces: Pieces


class Coverage(NamedTuple):
  """How much of what the student learns is compared with the teacher.

  Attributes:
    tokens: of the student's, that count.
    single: of those, the ones that are one token of the teacher's too.
    merged: those in groups of several tokens of a side; the others are in none.
    bytes: that the student's tokens that count stand for.
    merged_bytes: of those, the ones in groups of several tokens of a side.
    left_out_bytes: of those, the ones in no group.
    teacher_tokens: of the teacher's, in groups.
  """

  tokens: int
  single: int
  merged: int
  bytes: int
  merged_bytes: int
  left_out_bytes: int
  teacher_tokens: int


class Window(NamedTuple):
  """One of the student's examples, as both sides read it.

  Attributes:
    ids: (L',) the teacher's tokens.
    slots: (3, S) the places of the slots' tokens in the student's and the
      teacher's, 0 for the first token, -1 for none; and the slots' groups.
    coverage: of its tokens.
  """

  ids: np.ndarray
  slots: np.ndarray
  coverage: np.ndarray


class Tokens(NamedTuple):
  """A text as one side reads it: ids, which count, and the bytes of each."""

  ids: np.ndarray
  counts: np.ndarray
  sizes: np.ndarray
  pieces: list


def tokens_of(reader: Reader, ids: Any, counts: Any) -> Tokens:
  """Looks up the bytes of a text's tokens."""
  pieces = [reader.pieces[number] for number in ids]
  sizes = np.array([len(piece or b"") for piece in pieces], int)
  return Tokens(np.array(ids, np.int32), np.array(counts, bool), sizes, pieces)


def put_beside(
  sequences: Mapping[str, np.ndarray],
  examples: Sequence[Example],
  rows: Sequence[Row],
  student: Reader,
  teacher: Reader,
) -> tuple[dict[str, np.ndarray], Coverage]:
  """Reads the documents of a student's sequences by a teacher's tokenizer.

  Of a document that the student reads in windows, the teacher's begins with the
  token before the first that they have in common.

  Args:
    sequences: the student's, as `pack` makes them of the examples.
    examples: the student's.
    rows: of which these are made.
    student: how the student reads.
    teacher: how the teacher does.

  Returns:
    By name, N sequences, as long as the longest of the teacher's:
      tokens, mask, segments: (N, T') what the teacher reads, the documents
        numbered as the student's.
      slots_student, slots_teacher, slots_group: (N, S) int32, see
        `kdjax.losses.aligned.Alignment`; positions are those of the networks'
        answers, one less than those of the tokens that they are about.
    And how much of the student's tokens is compared.

  Raises:
    UserError: for a row that the teacher's tokenizer refuses, with its place.
  """
  windows = [*_windows(examples, rows, student, teacher)]
  length = sequences["tokens"].shape[1]
  # Packed as the examples are: their numbers, in their tokens' places.
  numbered = [
    one._replace(tokens=np.full(len(one.tokens), i, np.int32))
    for i, one in enumerate(examples)
  ]
  numbers = pack(numbered, length, pad=-1)["tokens"]
  each = [
    _sequence(own, segments, windows)
    for own, segments in zip(numbers, sequences["segments"], strict=True)
  ]
  tokens, segments, slots = zip(*each, strict=True)
  segments = _stacked(segments, 0)
  arrays = {
    "tokens": _stacked(tokens, teacher.tokenizer.pad),
    "mask": segments > 0,
    "segments": segments,
  }
  for i, name in enumerate(SLOTS):
    arrays[name] = _stacked([one[i] for one in slots], -1)
  total = np.sum([one.coverage for one in windows], axis=0)
  return arrays, Coverage(*map(int, total))


def group_row(
  row: Mapping[str, Any],
  student: tuple[Sequence[bool], Pieces],
  teacher: tuple[Sequence[bool], Pieces],
) -> Groups:
  """Groups the tokens of a row that two tokenizers have read.

  Chat templates differ; of messages, and of a QUESTION that each has written in
  its own way, the answers are grouped, one by one.

  Args:
    row: of one of the forms that `Tokenizer.tokenize` takes, or with QUESTION.
    student: of the student's tokens, which count, and their bytes.
    teacher: likewise, the teacher's.

  Example:
    >>> whole = [False, True, True], [b"un", b"like", None]
    >>> group_row({"text": "unlike"}, whole, ([False, True], [b"unlike", None]))
    Groups(student=array([0, 0, 1], dtype=int32), teacher=array([0, 1], dtype=int32), count=2)
  """
  if not {"messages", QUESTION} & row.keys():
    return align(student[1], teacher[1])
  spans = [_runs(np.array(counts)) for counts, _ in (student, teacher)]
  numbers = [np.full(len(side[1]), -1, np.int32) for side in (student, teacher)]
  count = 0
  # Of a chat that is written with other answers, nothing is known.
  if len(spans[0]) == len(spans[1]):
    for answer_spans in zip(*spans, strict=True):
      answer = align(student[1][answer_spans[0]], teacher[1][answer_spans[1]])
      for all_numbers, of_answer, span in zip(
        numbers, answer[:2], answer_spans, strict=True
      ):
        all_numbers[span] = np.where(of_answer < 0, -1, of_answer + count)
      count += answer.count
  return Groups(*numbers, count)


def _runs(counts: np.ndarray) -> list[slice]:
  """Where tokens that count stand one behind the other."""
  edges = np.flatnonzero(np.diff(counts, prepend=False, append=False))
  return [slice(*one) for one in edges.reshape(-1, 2).tolist()]


def _windows(
  examples: Sequence[Example],
  rows: Sequence[Row],
  student: Reader,
  teacher: Reader,
) -> Iterator[Window]:
  """Every example, as both sides read it; those of a row follow each other."""
  for number, windows in itertools.groupby(examples, lambda one: one.row):
    row = rows[number]
    tokens = [read_row(reader, row) for reader in (student, teacher)]
    groups = group_row(row.values, *((x.counts, x.pieces) for x in tokens))
    for example in windows:
      yield window_of(example, *tokens, groups)


def read_row(reader: Reader, row: Row) -> Tokens:
  """Reads a row; a UserError with its place for one that the tokenizer refuses."""
  try:
    ids, counts = reader.tokenizer.tokenize(row.values)
  except UserError as error:
    raise UserError(f"{row.place}: {error}") from None
  return tokens_of(reader, ids, counts)


def window_of(
  example: Example, own: Tokens, other: Tokens, groups: Groups
) -> Window:
  """What the teacher reads of a text beside one of the student's examples of it."""
  learned = np.zeros(len(own.ids), bool)
  learned[example.start :][: len(example.counts)] = example.counts
  # A group is compared if the student learns all of it here.
  keep = np.ones(groups.count, bool)
  keep[groups.student[(groups.student >= 0) & ~learned]] = False
  kept = _members(groups.teacher, keep)
  start = max(kept[0] - 1, 0) if example.start and len(kept) else 0
  # Nothing stands before the first token, so that nobody foretells it.
  unread = groups.teacher[: start + 1]
  keep[unread[unread >= 0]] = False
  kept = _members(groups.teacher, keep)
  end = kept[-1] + 1 if len(kept) else start
  slots, is_single = _slots(groups, keep)
  for places, first in zip(slots[:2], (example.start, start), strict=True):
    places[places >= 0] -= first
  group, sizes = groups.student[learned], own.sizes[learned]
  # The group -1, none, finds what stands last.
  compared = np.append(keep, False)[group]
  merged = compared & ~np.append(is_single, False)[group]
  coverage = np.array([
    len(group), (compared & ~merged).sum(), merged.sum(), sizes.sum(),
    sizes[merged].sum(), sizes[~compared].sum(), len(kept),
  ])  # fmt: skip
  return Window(other.ids[start:end], slots, coverage)


def _members(numbers: np.ndarray, keep: np.ndarray) -> np.ndarray:
  """Places of the tokens in groups that are kept."""
  places = np.flatnonzero(numbers >= 0)
  return places[keep[numbers[places]]]


def _slots(groups: Groups, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Puts the tokens of both sides side by side.

  Returns:
    (3, S) see `Window`, of whole documents; and (G,) which groups have one slot.
  """
  sides = [_members(one, keep) for one in groups[:2]]
  numbers = [one[places] for one, places in zip(groups[:2], sides, strict=True)]
  sizes = np.max(
    [np.bincount(one, minlength=groups.count) for one in numbers], axis=0
  )
  firsts = np.cumsum(sizes) - sizes
  slots = np.full((3, int(sizes.sum())), -1, np.int64)
  for row, places, number in zip(slots[:2], sides, numbers, strict=True):
    # The i-th token of a group is i behind the group's first.
    begin = np.searchsorted(number, number)
    row[firsts[number] + np.arange(len(number)) - begin] = places
  slots[2] = np.repeat(firsts, sizes)
  return slots, sizes == 1


def _sequence(
  numbers: np.ndarray, segments: np.ndarray, windows: Sequence[Window]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The teacher's tokens of one sequence, their documents' numbers, and slots."""
  tokens, documents, slots, read, used = [], [], [], 0, 0
  for document in range(1, int(segments.max()) + 1):
    first = int(np.argmax(segments == document))
    one = windows[numbers[first]]
    tokens.append(one.ids)
    documents.append(np.full(len(one.ids), document, np.int32))
    # An answer is about the token behind it.
    moved = one.slots + np.array([[first - 1], [read - 1], [used]])
    slots.append(np.where(one.slots < 0, -1, moved))
    read, used = read + len(one.ids), used + one.slots.shape[1]
  return (
    np.concatenate(tokens),
    np.concatenate(documents),
    np.concatenate(slots, axis=1),
  )


def _stacked(rows: Sequence[np.ndarray], fill: int) -> np.ndarray:
  """Rows of one length, int32."""
  longest = max(map(len, rows))
  shape = len(rows), max(-(-longest // STEP) * STEP, STEP)
  stacked = np.full(shape, fill, np.int32)
  for row, values in zip(stacked, rows, strict=True):
    row[: len(values)] = values
  return stacked
