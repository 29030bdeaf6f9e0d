"""What a student has written, read again by a teacher with another tokenizer.

On the host, between writing and training: a student's tokens stand for bytes, which
need not be text, and the teacher reads these bytes as tokens of its own. Slots put
the tokens of both side by side, as in `kdjax.data.text.beside`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kdjax.core.alignment import SLOTS
from kdjax.data.text.align import Groups
from kdjax.data.text.beside import (
  STEP,
  Coverage,
  Reader,
  Window,
  group_row,
  read_row,
  tokens_of,
  window_of,
)
from kdjax.data.text.examples import Example
from kdjax.data.text.rows import QUESTION, Row


class Beginning(NamedTuple):
  """What the teacher reads around what a student writes behind one prompt.

  Attributes:
    question: the teacher's tokens of the prompt; None for a document, all of which
      it reads in the student's words.
    end: the teacher's token that ends the text; None for none.
    later: whether what it reads stands behind something, and no space before it.
    added: bytes of white space before a document that are not its own.
  """

  question: tuple[int, ...] | None
  end: int | None
  later: bool = True
  added: int = 0


class Rereading(NamedTuple):
  """How texts are read again.

  Attributes:
    student: how the student reads.
    teacher: how the teacher does.
    encode: (bytes, later=whether they stand behind something) -> the teacher's ids.
    beginnings: one a prompt.
    length: T', tokens that the teacher reads at most.
    slots: S, at most.
  """

  student: Reader
  teacher: Reader
  encode: Callable[..., list[int]]
  beginnings: Sequence[Beginning]
  length: int = 0
  slots: int = 0


def reread(
  how: Rereading, index: np.ndarray, tokens: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
  """Reads texts by the teacher's tokenizer.

  With one tokenizer on both sides the teacher reads the student's tokens, which may
  be others than the tokenizer's own of the same bytes.

  Args:
    index: (B,) the texts' prompts.
    tokens: (B, T) the student's, -1 behind the end.
    counts: (B, T) the tokens that are compared, such as those that it wrote.

  Returns:
    What `put_beside` makes of file's texts, (B, T') and (B, S). Groups for which
    there is no room are not compared.
  """
  shape, slots = (len(tokens), how.length), (len(tokens), how.slots)
  mask = np.zeros(shape, bool)
  arrays = {"tokens": np.full(shape, how.teacher.tokenizer.pad, np.int32)}
  arrays |= {name: np.full(slots, -1, np.int32) for name in SLOTS}
  for i, row in enumerate(zip(index, tokens, counts, strict=True)):
    if not row[2].any():
      continue
    window = _with_room(_read(how, *row), how)
    ids, places = window.ids, window.slots
    arrays["tokens"][i, : len(ids)], mask[i, : len(ids)] = ids, True
    # An answer is about the token behind it.
    moved = np.where(places < 0, -1, places - np.array([[1], [1], [0]]))
    for name, values in zip(SLOTS, moved, strict=True):
      arrays[name][i, : len(values)] = values
  return arrays | {"mask": mask, "segments": mask.astype(np.int32)}


def rereading(
  examples: Sequence[Example],
  rows: Sequence[Row],
  student: Reader,
  teacher: Reader,
  encode: Callable[..., list[int]],
  *,
  new_tokens: int,
) -> tuple[Rereading, Coverage]:
  """Finds out how the texts behind some prompts are read again, and the room for it.

  There is room for the files' own texts, and for two of the teacher's tokens, and two
  slots, for each one that the student writes.

  Args:
    examples: the prompts, each with its file's answer.
    rows: of which these are made: of "text", or with the QUESTION that is the
      prompt beside one of the forms that `Tokenizer.tokenize` takes.
    student: how the student reads.
    teacher: how the teacher does.
    encode: see `Rereading`.
    new_tokens: that the student writes at most.

  Returns:
    How, and how much of the files' answers is compared.

  Raises:
    UserError: for a row that the teacher's tokenizer refuses, with its place.
  """
  beginnings = [
    _beginning(one, rows[one.row], student, teacher) for one in examples
  ]
  how = Rereading(student, teacher, encode, beginnings)
  prompts, windows = [], []
  for i, one in enumerate(examples):
    first = int(np.argmax(one.counts))
    ids, _ = _teachers_tokens(how, beginnings[i], one.tokens[:first], first)
    prompts.append(len(ids))
    windows.append(_read(how, i, one.tokens, one.counts))
  longest = max(prompts) + 2 * new_tokens
  longest = max(longest, *(len(one.ids) for one in windows))
  most = max(2 * new_tokens, *(one.slots.shape[1] for one in windows))
  total = np.sum([one.coverage for one in windows], axis=0)
  how = how._replace(length=-(-longest // STEP) * STEP, slots=most)
  return how, Coverage(*map(int, total))


def _beginning(
  example: Example, row: Row, student: Reader, teacher: Reader
) -> Beginning:
  """What the teacher reads around what is written behind an example's prompt."""
  if QUESTION not in row.values:
    ends, added = teacher.tokenizer.eos[:1], 0
    if not example.start:
      own = b"".join(student.pieces[x] or b"" for x in example.tokens)
      added = _spaces(own) - _spaces(row.values["text"].encode())
    return Beginning(None, *ends or [None], example.start > 0, max(added, 0))
  other = read_row(teacher, row)
  # The last answer begins behind the last token before it that is none.
  last = int(np.flatnonzero(other.counts)[-1])
  first = int(np.flatnonzero(~other.counts[:last])[-1]) + 1
  end = int(other.ids[last]) if other.pieces[last] is None else None
  return Beginning(tuple(other.ids[:first].tolist()), end)


def _spaces(text: bytes) -> int:
  return len(text) - len(text.lstrip())


def _read(
  how: Rereading, index: int, tokens: np.ndarray, counts: np.ndarray
) -> Window:
  """One text as both sides read it."""
  ids = tokens[tokens >= 0]
  own = tokens_of(how.student, ids, counts[: len(ids)])
  example = Example(ids, own.counts, 0)
  if _is_one_tokenizer(how):
    numbers = np.arange(len(ids), dtype=np.int32)
    return window_of(example, own, own, Groups(numbers, numbers, len(ids)))
  beginning = how.beginnings[index]
  first = int(np.argmax(own.counts))
  other = tokens_of(how.teacher, *_teachers_tokens(how, beginning, ids, first))
  form = {"text": ""} if beginning.question is None else {QUESTION: ""}
  sides = ((one.counts, one.pieces) for one in (own, other))
  return window_of(example, own, other, group_row(form, *sides))


def _teachers_tokens(
  how: Rereading, beginning: Beginning, ids: np.ndarray, first: int
) -> tuple[list[int], np.ndarray]:
  """The teacher's tokens of a text, and which are an answer's.

  Args:
    ids: the student's; with a question those from `first` on are read.
  """
  question = beginning.question
  written = b"".join(
    how.student.pieces[x] or b"" for x in ids[first * (question is not None) :]
  )
  answer = how.encode(written[beginning.added :], later=beginning.later)
  if len(ids) and ids[-1] in how.student.tokenizer.eos:
    answer = [*answer, *[beginning.end] * (beginning.end is not None)]
  if question is None:
    answer, question = how.teacher.tokenizer.with_prefix(answer), ()
  read = [*question, *answer]
  return read, np.arange(len(read)) >= len(question)


def _is_one_tokenizer(how: Rereading) -> bool:
  one, other = (side.tokenizer for side in (how.student, how.teacher))
  return one.fingerprint == other.fingerprint


def _with_room(window: Window, how: Rereading) -> Window:
  """Cuts a text off where the first group begins for which there is no room."""
  slots = window.slots
  too_many = np.arange(slots.shape[1]) >= how.slots
  bad = np.flatnonzero(too_many | (slots[1] >= how.length))
  if len(bad):
    slots = slots[:, : slots[2, bad[0]]]
  return window._replace(ids=window.ids[: how.length], slots=slots)
