"""Scores of generated texts: by hand, and those of rouge-score where it is."""

import math

import numpy as np
import pytest

from kdjax import evaluate

# Text, reference, words of each, words in common: all by hand.
PAIRS = [
  ("the cat sat", "the cat sat", 3, 3, 3),
  ("a b c d e", "e d c b a", 5, 5, 1),
  ("a b c d", "b d x", 4, 3, 2),
  ("x a y b z", "a b", 5, 2, 2),
  ("It's 2-fold; don't.", "its 2 fold don t", 6, 5, 4),
  ("a a a", "a a", 3, 2, 2),
  ("one", "two", 1, 1, 0),
  ("", "two", 0, 1, 0),
  ("one", "?!", 1, 0, 0),
  ("Naïve", "na ve", 2, 2, 2),
]


@pytest.mark.parametrize(
  ("text", "reference", "own", "theirs", "common"), PAIRS
)
def test_rouge_l_by_hand(text, reference, own, theirs, common):
  score = evaluate.rouge_l(text, reference)
  if not common:
    assert score == (0, 0, 0)
    return
  assert score.precision == pytest.approx(common / own)
  assert score.recall == pytest.approx(common / theirs)
  assert score.f == pytest.approx(2 * common / (own + theirs))


def test_of_several_references_the_nearest_counts():
  right, wrong = "a b c", "x y z"
  assert evaluate.rouge_l("a b c", [wrong, right]).f == 1
  assert evaluate.rouge_l("a b", [wrong, right]) == evaluate.rouge_l(
    "a b", right
  )


def random_text(draw):
  words = [
    "the",
    "Cat",
    "sat",
    "on",
    "a",
    "mat",
    "3rd",
    "it's",
    "é",
    "\n",
    "--",
  ]
  return " ".join(draw.choice(words, draw.integers(0, 40)))


def test_rouge_l_is_that_of_rouge_score():
  rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
  scorer = rouge_scorer.RougeScorer(["rougeL"])
  draw = np.random.default_rng(0)
  for _ in range(200):
    text, reference = random_text(draw), random_text(draw)
    ours = evaluate.rouge_l(text, reference)
    theirs = scorer.score(reference, text)["rougeL"]
    assert ours == pytest.approx(tuple(theirs), abs=1e-9), (text, reference)


@pytest.mark.parametrize(
  ("texts", "references", "share"),
  [
    (["4", " 4\n", "5"], ["4", "4", "4"], 2 / 3),
    (["Paris"], ["paris"], 0.0),
    (["Paris"], [["paris", " Paris"]], 1.0),
    ([""], [" "], 1.0),
  ],
)
def test_exact_match_by_hand(texts, references, share):
  assert evaluate.exact_match(texts, references) == pytest.approx(share)


@pytest.mark.parametrize(
  ("texts", "n", "distinct", "repeated"),
  [
    ([[1, 2, 3, 4]], 2, 1.0, 0.0),
    ([[1, 1, 1, 1]], 2, 1 / 3, 2 / 3),
    # The second text says what the first has said, but does not repeat itself.
    ([[1, 2, 3], [1, 2, 3]], 1, 0.5, 0.0),
    # Of one token: too short to repeat itself.
    ([[1, 2, 1, 2, 1], [7]], 2, 0.5, 0.5),
    ([np.array([5, 5]), "ab"], 1, 3 / 4, 0.25),
  ],
)
def test_distinct_n_and_repetition_by_hand(texts, n, distinct, repeated):
  assert evaluate.distinct_n(texts, n) == pytest.approx(distinct)
  assert evaluate.repetition(texts, n) == pytest.approx(repeated)


def test_without_anything_to_count_there_is_no_number():
  assert math.isnan(evaluate.distinct_n([[1]], 2))
  assert math.isnan(evaluate.repetition([[1]], 2))
  assert math.isnan(evaluate.exact_match([], []))
  with pytest.raises(ValueError, match="shorter|longer"):
    evaluate.exact_match(["a"], ["a", "b"])
