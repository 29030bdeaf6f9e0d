"""Texts and pairs of them as arrays: what stands around them, what is cut."""

import numpy as np
import pytest
import tokenizers
from small_texts import words
from small_tokenizers import characters

from kdjax.core.errors import UserError
from kdjax.models.tokenizers import encode_texts

TOKENIZER = words()
ID = TOKENIZER.backend.token_to_id
CLS, SEP, PAD = 2, 3, 0


def ids(text):
  return [ID(word) for word in text.split()]


@pytest.mark.parametrize(
  ("texts", "length", "rows", "lengths"),
  [
    (["the film"], 6, [[CLS, *ids("the film"), SEP, PAD, PAD]], [4]),
    (["the film"], 4, [[CLS, *ids("the film"), SEP]], [4]),
    (["the film and its actors"], 5, [[CLS, *ids("the film and"), SEP]], [7]),
    (["unheard"], 4, [[CLS, 1, SEP, PAD]], [3]),
    ([""], 3, [[CLS, SEP, PAD]], [2]),
  ],
)
def test_a_text_has_its_tokens_and_no_more(texts, length, rows, lengths):
  arrays, counts = encode_texts(TOKENIZER, texts, length=length)
  assert arrays["tokens"].tolist() == rows
  assert arrays["mask"].tolist() == [[x != PAD for x in row] for row in rows]
  assert counts.tolist() == lengths
  assert sorted(arrays) == ["mask", "tokens"]


def test_the_texts_of_a_pair_are_told_apart_and_the_longer_one_is_cut():
  arrays, counts = encode_texts(
    TOKENIZER, ["film", "the film and its actors"], ["dull", "dull"], length=7
  )
  assert arrays["tokens"].tolist() == [
    [CLS, ID("film"), SEP, ID("dull"), SEP, PAD, PAD],
    [CLS, *ids("the film and"), SEP, ID("dull"), SEP],
  ]
  assert arrays["segments"].tolist() == [
    [0, 0, 0, 1, 1, 0, 0],
    [0, 0, 0, 0, 0, 1, 1],
  ]
  assert counts.tolist() == [5, 9]


def test_a_tokenizer_that_gives_a_pair_one_type_has_no_segments():
  processor = tokenizers.processors.RobertaProcessing(
    ("</s>", 1), ("<s>", 0), trim_offsets=False
  )
  one = characters(processor=processor)
  arrays, _ = encode_texts(one, ["ab"], ["c"], length=9)
  assert sorted(arrays) == ["mask", "tokens"]
  assert arrays["mask"].sum() == 7  # <s> a b </s></s> c </s>


@pytest.mark.parametrize(
  ("tokenizer", "second", "length", "message"),
  [
    (TOKENIZER, None, 2, "nothing of the text is left"),
    (TOKENIZER, ["a"], 3, "nothing of the text is left"),
    (characters(), ["a"], 9, "says of no pair of texts how it is written"),
  ],
)
def test_what_cannot_be_written_is_refused(tokenizer, second, length, message):
  with pytest.raises(UserError, match=message):
    encode_texts(tokenizer, ["a"], second, length=length)


def test_padding_is_told_by_the_mask_and_not_by_an_id():
  arrays, _ = encode_texts(TOKENIZER, ["[PAD] film", "film"], length=8)
  assert arrays["mask"].sum(axis=1).tolist() == [4, 3]
  assert arrays["tokens"].dtype == np.int32
