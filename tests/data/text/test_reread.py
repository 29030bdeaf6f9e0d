"""What a student has written, read again by a teacher: whatever bytes it wrote."""

import functools
import pathlib

import numpy as np
import pytest
from small_tokenizers import characters

from kdjax.data.text import Row, make_examples, pack, pad_out, put_beside
from kdjax.data.text.beside import Reader
from kdjax.data.text.reread import reread, rereading
from kdjax.data.text.rows import QUESTION
from kdjax.models.tokenizers import (
  encode_bytes,
  token_bytes,
  tokenizer_of_folder,
)

FOLDER = pathlib.Path(__file__).parents[2] / "models" / "tokenizers"
LENGTH, NEW = 24, 8
ROWS = [
  {"text": "the cat sat on the mat and on a dog until it ran"},
  {"text": " héllo 😀 x"},
  {"prompt": "2+2=", "completion": " is 4"},
  {"prompt": "Say:", "completion": "no 日本"},
]
PAIRS = [
  ("byte_level", "sentencepiece"),
  ("sentencepiece", "byte_level"),
  ("byte_level", "characters"),
]


@functools.cache
def reader(name):
  tokenizer = (
    characters() if name == "characters" else tokenizer_of_folder(FOLDER / name)
  )
  return Reader(tokenizer, token_bytes(tokenizer))


@functools.cache
def read_by(student, teacher):
  own, other = reader(student), reader(teacher)
  rows = [
    Row(values if "text" in values else values | {QUESTION: ()}, "row")
    for values in ROWS
  ]
  examples = make_examples(rows, own.tokenizer, LENGTH).examples
  sequences = pad_out(examples, LENGTH, pad=own.tokenizer.pad)
  encode = functools.partial(encode_bytes, *other)
  how, coverage = rereading(examples, rows, own, other, encode, new_tokens=NEW)
  return how, coverage, examples, rows, sequences


def texts_of(how, tokens, arrays):
  """By row and group, the bytes of both sides."""
  texts = {}
  for i, slot in zip(*np.nonzero(arrays["slots_group"] >= 0), strict=True):
    pair = texts.setdefault((i, arrays["slots_group"][i, slot]), [[], []])
    for side, reader, ids, name in (
      (pair[0], how.student, tokens, "student"),
      (pair[1], how.teacher, arrays["tokens"], "teacher"),
    ):
      place = arrays[f"slots_{name}"][i, slot]
      if place >= 0:
        side.append(reader.pieces[ids[i, place + 1]])
  return texts


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_files_texts_are_read_as_the_file_has_them(pair):
  how, coverage, examples, rows, sequences = read_by(*pair)
  tokens = np.where(sequences["mask"], sequences["tokens"], -1)
  arrays = reread(how, np.arange(len(tokens)), tokens, sequences["counts"])
  compared = 0
  for i, one in enumerate(examples):
    alone = pack([one], LENGTH, pad=0)
    whole, of_file = put_beside(alone, [one], rows, how.student, how.teacher)
    compared += of_file.single + of_file.merged
    # Of a later window the teacher reads all, and not from where it compares.
    if not one.start:
      ids = [x["tokens"][x["mask"]] for x in (whole, _at(arrays, i))]
      assert ids[0].tolist() == ids[1].tolist()
  assert any(one.start for one in examples)
  assert coverage.single + coverage.merged >= compared > 0


def _at(arrays, i):
  return {name: x[i] for name, x in arrays.items()}


def written(how, examples, answers):
  """Tokens and marks of the prompts with other answers behind them."""
  tokens = np.full((len(answers), LENGTH + NEW), -1)
  counts = np.zeros(tokens.shape, bool)
  for i, answer in enumerate(answers):
    first = int(np.argmax(examples[i].counts))
    ids = [*examples[i].tokens[:first], *answer]
    tokens[i, : len(ids)], counts[i, first : len(ids)] = ids, True
  return tokens, counts


@pytest.mark.parametrize("pair", PAIRS[:2], ids="-".join)
@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_written_is_compared_by_its_bytes(pair, seed):
  """Tokens drawn at random: half characters, special ones, no end."""
  how, _, examples, *_ = read_by(*pair)
  draw, size = np.random.default_rng(seed), len(how.student.pieces)
  answers = [draw.integers(0, size, NEW) for _ in examples]
  tokens, counts = written(how, examples, answers)
  index = np.arange(len(examples))
  arrays = reread(how, index, tokens, counts)
  compared = texts_of(how, tokens, arrays)
  for sides in compared.values():
    joined = [b"".join(x or b"" for x in side) for side in sides]
    assert joined[0].strip() == joined[1].strip()
    assert [None in side for side in sides] in ([False] * 2, [True] * 2)
  # All but special tokens, and what white space may stand for.
  own = [x for sides in compared.values() for x in sides[0]]
  wrote = [
    how.student.pieces[x] for x in tokens[counts] if how.student.pieces[x]
  ]
  assert len(own) > 0.8 * len(wrote)
  assert any(not _is_text(x) for x in own if x)
  # A text does not depend on those beside it.
  alone = reread(how, index[1:2], tokens[1:2], counts[1:2])
  for name, x in alone.items():
    np.testing.assert_array_equal(x[0], arrays[name][1])


def _is_text(piece):
  try:
    return bool(piece.decode())
  except UnicodeDecodeError:
    return False


HALF = "😀".encode()[:2]


@pytest.mark.parametrize(
  ("answer", "ended", "tokens"),
  [
    (b" is 4", True, [b" is 4", None]),
    (b"", True, [None]),
    (b" a", False, [b" a"]),
    # Half a character stays half a one, in the middle and at the end.
    (b"a" + HALF, False, [b"a", HALF[:1], HALF[1:]]),
    (HALF + b" a", True, [HALF[:1], HALF[1:], b" a", None]),
  ],
)
@pytest.mark.parametrize("pair", PAIRS[:2], ids="-".join)
def test_answers_by_hand(pair, answer, ended, tokens):
  how, _, examples, *_ = read_by(*pair)
  own, other = how.student, how.teacher
  ids = encode_bytes(*own, answer, later=True)
  ids = [*ids, *own.tokenizer.eos[:1] * ended]
  place = next(i for i, one in enumerate(how.beginnings) if one.question)
  row, counts = written(how, examples[place:], [ids])
  arrays = reread(how, np.array([place]), row, counts)
  read = arrays["tokens"][0][arrays["mask"][0]]
  question, _ = other.tokenizer.tokenize({"prompt": "2+2=", "completion": ""})
  behind = [other.pieces[x] for x in read[len(question) - 1 :]]
  joined = b"".join(x or b"" for x in behind)
  assert joined == answer and (behind[-1] is None) == ended
  halves = [x for x in tokens if x in (HALF[:1], HALF[1:])]
  assert [x for x in behind if x in halves] == halves
  compared = texts_of(how, row, arrays).values()
  assert b"".join(x or b"" for sides in compared for x in sides[0]) == answer


def test_one_tokenizer_reads_the_students_own_tokens():
  how, coverage, examples, *_ = read_by("byte_level", "byte_level")
  assert coverage.single == coverage.tokens
  # Letters one by one, which the tokenizer itself would merge, and a special token.
  letters = [how.student.pieces.index(x) for x in (b"t", b"h", b"e")]
  special = how.student.tokenizer.pad
  tokens, counts = written(how, examples, [[*letters, special, *letters]])
  arrays = reread(how, np.array([0]), tokens, counts)
  read = arrays["tokens"][0][arrays["mask"][0]]
  assert read.tolist() == tokens[0][tokens[0] >= 0].tolist()
  places = np.flatnonzero(counts[0]) - 1
  for name in ("student", "teacher"):
    slots = arrays[f"slots_{name}"][0]
    assert slots[slots >= 0].tolist() == places.tolist()


def test_what_has_no_room_is_not_compared():
  how, _, examples, *_ = read_by("byte_level", "characters")
  long = [encode_bytes(*how.student, b" the cat sat on the mat until")]
  tokens, counts = written(how, examples, long)
  compared = []
  for slots, length in ((64, 128), (4, 128), (64, 64)):
    arrays = reread(
      how._replace(slots=slots, length=length), np.array([0]), tokens, counts
    )
    assert arrays["tokens"].shape == (1, length)
    compared.append([*texts_of(how, tokens, arrays).values()])
  whole, few, short = compared
  assert 0 < len(few) < len(whole) and few == whole[: len(few)]
  assert short == whole[: len(short)]


def test_nothing_is_read_where_nothing_was_written():
  how, *_ = read_by("byte_level", "sentencepiece")
  empty = np.full((1, LENGTH), -1)
  arrays = reread(how, np.array([0]), empty, empty >= 0)
  assert not arrays["mask"].any() and (arrays["slots_group"] < 0).all()
