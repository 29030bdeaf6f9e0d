"""A teacher's tokens beside a student's sequences: the same bytes in every group."""

import functools
import pathlib

import numpy as np
import pytest
from small_tokenizers import characters

from kdjax.data.text import Row, make_examples, pack
from kdjax.data.text.beside import Reader, group_row, put_beside
from kdjax.models.tokenizers import token_bytes, tokenizer_of_folder

FOLDER = pathlib.Path(__file__).parents[2] / "models" / "tokenizers"
LENGTH = 12


@functools.cache
def reader(name):
  tokenizer = (
    characters() if name == "characters" else tokenizer_of_folder(FOLDER / name)
  )
  return Reader(tokenizer, token_bytes(tokenizer))


TEXTS = ["the cat sat on the mat " * 3, "a", "héllo 😀 x", " b c", "one more"]
ROWS = [
  *(Row({"text": text}, "text") for text in TEXTS),
  Row({"prompt": "2+2=", "completion": " is 4"}, "prompt"),
]
PAIRS = [
  ("byte_level", "byte_level"),
  ("byte_level", "sentencepiece"),
  ("sentencepiece", "byte_level"),
  ("sentencepiece", "sentencepiece"),
]


@functools.cache
def read_by(student, teacher):
  own, other = reader(student), reader(teacher)
  examples = make_examples(ROWS, own.tokenizer, LENGTH).examples
  sequences = pack(examples, LENGTH, pad=own.tokenizer.pad)
  arrays, coverage = put_beside(sequences, examples, ROWS, own, other)
  return sequences, arrays, coverage


def groups_of(sequences, arrays, pieces, side):
  """By sequence and group, the bytes of a side's tokens and its documents."""
  tokens_by_group = {}
  places = arrays[f"slots_{side}"]
  for i, slot in zip(*np.nonzero(arrays["slots_group"] >= 0), strict=True):
    group = (i, arrays["slots_group"][i, slot])
    tokens_by_group.setdefault(group, [])
    if places[i, slot] >= 0:
      # The answer at a place is about the token behind it.
      token = places[i, slot] + 1
      segments = sequences["segments"][i]
      assert segments[token] == segments[token - 1] > 0
      piece = pieces[sequences["tokens"][i, token]]
      tokens_by_group[group].append((piece, segments[token], token))
  return tokens_by_group


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_groups_have_the_same_bytes_of_the_same_document(pair):
  sequences, arrays, coverage = read_by(*pair)
  own = groups_of(sequences, arrays, reader(pair[0]).pieces, "student")
  others = groups_of(arrays, arrays, reader(pair[1]).pieces, "teacher")
  assert own.keys() == others.keys() and own
  compared = 0
  for group, tokens in own.items():
    texts = [
      b"".join(x or b"" for x, *_ in side) for side in (tokens, others[group])
    ]
    assert texts[0].strip() == texts[1].strip()
    assert {x[1] for x in tokens} == {x[1] for x in others[group]}
    compared += len(tokens)
  assert compared == coverage.single + coverage.merged
  assert coverage.tokens == sequences["counts"].sum()
  assert coverage.teacher_tokens == sum(map(len, others.values()))
  counted = [x[2] for tokens in own.values() for x in tokens]
  rows = [i for (i, _), tokens in own.items() for _ in tokens]
  assert sequences["counts"][rows, counted].all()
  # No token is in two groups.
  assert len({*zip(rows, counted, strict=True)}) == compared


@pytest.mark.parametrize("name", ["byte_level", "sentencepiece"])
def test_one_tokenizer_is_aligned_with_itself(name):
  sequences, arrays, coverage = read_by(name, name)
  width = sequences["tokens"].shape[1]
  np.testing.assert_array_equal(
    arrays["tokens"][:, :width][sequences["mask"]],
    sequences["tokens"][sequences["mask"]],
  )
  assert coverage.single == coverage.tokens and not coverage.left_out_bytes
  np.testing.assert_array_equal(
    arrays["slots_student"], arrays["slots_teacher"]
  )
  places = arrays["slots_student"]
  for row, counts in zip(places, sequences["counts"], strict=True):
    assert row[row >= 0].tolist() == (np.flatnonzero(counts) - 1).tolist()


def test_what_is_left_out_is_counted():
  """Between a beginning's token and none, the first token is nobody's to foretell."""
  _, _, coverage = read_by("byte_level", "sentencepiece")
  assert coverage.tokens > coverage.single > 0 and coverage.merged > 0
  assert coverage.bytes > coverage.merged_bytes > 0
  # Every document's last token is its end, which both have.
  assert coverage.single >= len(ROWS)


def test_answers_of_chats_are_grouped_one_by_one():
  chat = {"messages": []}
  counts = [False, True, True, False, True]
  own = [b"q", b"y", None, b"q", b"no"]
  others = [b"Q:", b"Q", b"y", None, b"n", b"o"]
  groups = group_row(
    chat, (counts, own), ([False, False, True, True, False, True], others)
  )
  assert groups.student.tolist() == [-1, 0, 1, -1, -1]
  groups = group_row(
    chat, (counts, own), ([False, False, True, True, False, False], others)
  )
  assert groups.count == 0
