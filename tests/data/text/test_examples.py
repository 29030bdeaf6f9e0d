"""Token ids of bounded length, worked by hand: every character is a token."""

import math

import numpy as np
import pytest
from small_tokenizers import EOS, characters, spelled

from kdjax.core.errors import UserError
from kdjax.data.text import Row, examples, make_examples


def of(*rows, length=8, **settings):
  tokenizer = characters(**settings)
  rows = [Row(row, f"a.jsonl, line {i + 1}") for i, row in enumerate(rows)]
  return tokenizer, make_examples(rows, tokenizer, length)


def lines(tokenizer, made):
  """Each example's tokens in a line, and below each ^ where it counts."""
  short = {"<s>": "<", EOS: ">", "\n": "/"}
  return [
    (
      "".join(short.get(x, x) for x in spelled(tokenizer, one.tokens)),
      "".join("^" if x else " " for x in one.counts).rstrip(),
    )
    for one in made.examples
  ]


WINDOWS = [
  # The text, the length, its windows and what counts in each.
  ("abc", 8, [("<abc>", " ^^^^")]),
  ("abc", 5, [("<abc>", " ^^^^")]),
  ("abc", 4, [("<abc", " ^^^"), ("c>", " ^")]),
  ("abc", 3, [("<ab", " ^^"), ("bc>", " ^^")]),
  ("abc", 2, [("<a", " ^"), ("ab", " ^"), ("bc", " ^"), ("c>", " ^")]),
  ("abcdef", 4, [("<abc", " ^^^"), ("cdef", " ^^^"), ("f>", " ^")]),
]


def check(windows):
  for text, length, expected in WINDOWS:
    tokenizer, made = of({"text": text}, length=length)
    ids, counts = tokenizer.tokenize({"text": text})
    cut = windows(np.array(ids), np.array(counts), length)
    cut = [examples.Example(*one, 0) for one in cut]
    assert lines(tokenizer, made._replace(examples=cut)) == expected


def test_every_token_of_a_document_is_predicted_once():
  check(examples._windows)
  for text, length, expected in WINDOWS:
    tokenizer, made = of({"text": text}, length=length)
    assert lines(tokenizer, made) == expected
    assert made.learned == len(text) + 1 and not made.truncated


def without_overlap(tokens, counts, length):
  """The first token of a window is predicted by nothing."""
  for start in range(0, len(tokens), length):
    window = counts[start : start + length].copy()
    window[0] = False
    yield tokens[start : start + length], window


def counted_twice(tokens, counts, length):
  for start in range(0, len(tokens) - 1, length - 1):
    yield tokens[start : start + length], counts[start : start + length]


def cut_off(tokens, counts, length):
  yield tokens[:length], counts[:length]


@pytest.mark.parametrize("variant", [without_overlap, counted_twice, cut_off])
def test_wrong_windows_are_rejected(variant):
  with pytest.raises(AssertionError):
    check(variant)


def test_the_end_of_a_long_answer_is_cut_off_and_told():
  tokenizer, made = of(
    {"prompt": "abc=", "completion": "1"},
    {"prompt": "abc=", "completion": "123"},
    {"prompt": "abcdef=", "completion": "1"},
    {"messages": [{"role": "user", "content": "q"}]},
    {"text": " \n"},
    {"prompt": "a=", "completion": ""},
  )
  assert lines(tokenizer, made) == [
    ("<abc=1>", "     ^^"),
    ("<abc=123", "     ^^^"),
    ("<a=>", "   ^"),
  ]
  assert [one.row for one in made.examples] == [0, 1, 5]
  assert made.truncated == ["a.jsonl, line 2", "a.jsonl, line 3"]
  assert made.unanswered == [f"a.jsonl, line {line}" for line in (3, 4, 5)]
  assert (made.rows, made.tokens, made.learned) == (6, 19, 6)
  assert made.bytes == len("1" + "123")
  assert made.summary() == (
    "6 rows, 19 tokens, 6 of them learned; 2 rows cut off: a.jsonl, line 2;"
    " a.jsonl, line 3; 3 rows without an answer left out: a.jsonl, line 3;"
    " a.jsonl, line 4; a.jsonl, line 5"
  )


def test_a_summary_names_five_places():
  rows = [{"prompt": "abcdef=", "completion": "1"}] * 7
  _, made = of({"text": "a"}, *rows, length=8)
  assert "line 6 and 2 more" in made.summary()


@pytest.mark.parametrize(
  ("settings", "row", "size"),
  [
    ({}, {"text": "abc"}, 3),
    # The first token is told by nothing: it is no part of what is measured.
    ({"bos": False}, {"text": "abc"}, 2),
    ({}, {"prompt": "ab", "completion": " c"}, 2),
  ],
)
def test_bytes_of_what_is_learned(settings, row, size):
  _, made = of(row, **settings)
  assert made.bytes == size


def test_bytes_of_pieces():
  """Of a tokenizer of bytes: a character may be several tokens, or in several."""
  import pathlib

  from kdjax.models.tokenizers import tokenizer_of_folder

  here = pathlib.Path(__file__).parent.parent.parent / "models" / "tokenizers"
  for name in ("byte_level", "sentencepiece"):
    tokenizer = tokenizer_of_folder(here / name)
    row = {"prompt": "你好 é", "completion": " 😀 ça va? 世"}
    made = make_examples([Row(row, "")], tokenizer, 64)
    assert made.bytes == len(row["completion"].encode())
  # A document of several windows is not cut within its characters.
  whole = make_examples([Row({"text": "😀" * 9}, "")], tokenizer, 64)
  parts = make_examples([Row({"text": "😀" * 9}, "")], tokenizer, 7)
  assert whole.bytes == parts.bytes == 36
  assert len(parts.examples) == math.ceil((whole.tokens - 1) / 6)


@pytest.mark.parametrize(
  ("rows", "length", "said"),
  [
    ([{"text": "a"}], 1, "at least 2, got 1"),
    (
      [{"text": "a"}, {"prompt": "b"}],
      8,
      "a.jsonl, line 2: a row has 'prompt'",
    ),
    ([{"text": 3}], 8, "a.jsonl, line 1: `text` is a int"),
    (
      [{"prompt": "abcdefgh", "completion": "1"}],
      8,
      "none of 1 row has a token",
    ),
    ([{"messages": []}], 8, "a.jsonl, line 1: `messages` is empty"),
  ],
)
def test_rows_that_are_refused(rows, length, said):
  with pytest.raises(UserError, match=said):
    of(*rows, length=length)
