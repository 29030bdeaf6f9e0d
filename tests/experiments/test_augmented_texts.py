"""A table of texts and its copies: which rows there are, and whose labels."""

import numpy as np
from small_texts import WORDS, words

from experiments.text.augmented import (
  augmented,
  by_mask,
  by_vectors,
  vectors_of,
)

TABLE = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
PLACE = {word: i for i, word in enumerate(WORDS)}
# By hand: two words that point the same way.
TABLE[PLACE["lovely"]] = 2 * TABLE[PLACE["great"]]


def test_copies_stand_behind_their_row_and_test_rows_have_none():
  rows = [
    {"text": "a great film", "label": "good", "split": "train"},
    {"text": "a great film", "label": "good", "split": "test"},
    {"text": "dull", "label": "bad", "split": "train"},
  ]
  like = {"great": ["fine"]}
  more = augmented(
    rows, lambda words, i: like.get(words[i], ()), copies=3, rate=1.0
  )
  copy = {"text": "a fine film", "label": "good", "split": "train"}
  assert more == [rows[0], copy, *rows[1:]]


def test_the_nearest_word_of_a_table():
  alternatives = by_vectors(["A great film"], words(), TABLE, 1)
  assert alternatives(["A", "great", "film"], 1) == ["lovely"]
  assert len(by_vectors(["film"], words(), TABLE, 5)(["film"], 0)) == 5
  assert alternatives(["unheard"], 0) == ()


def test_a_word_of_several_tokens_has_the_mean_of_their_vectors():
  (vector,) = vectors_of(["great film"], words(), TABLE).values()
  expected = (TABLE[PLACE["great"]] + TABLE[PLACE["film"]]) / 2
  np.testing.assert_allclose(vector, expected, rtol=1e-6)


def test_a_masked_model_is_asked_at_the_word_s_place():
  asked = []

  def likely(ids, place):
    asked.append((ids.tolist(), place))
    return np.array([PLACE["great"], PLACE["fine"], PLACE["[SEP]"]])

  alternatives = by_mask(likely, words(), lambda words, i: ["other"])
  assert alternatives(["a", "great", "film"], 1) == ["fine"]
  ids = [PLACE[x] for x in ("[CLS]", "a", "[MASK]", "film", "[SEP]")]
  assert asked == [(ids, 2)]
  # Of two tokens: the vectors say.
  assert alternatives(["a-film"], 0) == ["other"]
