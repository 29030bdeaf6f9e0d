"""Copies of texts with other words, by hand."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data.text.word_replacement import (
  nearest_words,
  replace_words,
  words_of,
)

LIKE = {"good": ["fine"], "film": ["movie"], "It's": ["That's"]}
MANY = {word: [f"{word}{i}" for i in range(9)] for word in "abcdefgh"}
LONG = " ".join("abcdefgh" * 50)


def like(words, i):
  return LIKE.get(words[i], ())


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("A good film.", ["A fine movie."]),
    ("  good,good -- film!\\n", ["  fine,fine -- movie!\\n"]),
    ("It's 1 film", ["That's 1 movie"]),
    ("nothing of it", []),
    ("", []),
    ("...", []),
  ],
)
def test_every_word_is_replaced(text, expected):
  assert replace_words([text], like, rate=1.0) == [expected]


def test_copies_differ_and_are_not_the_text():
  (copies,) = replace_words(["good film"], like, copies=50, rate=0.5)
  assert sorted(copies) == ["fine film", "fine movie", "good movie"]


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.9])
def test_so_many_words_are_replaced_and_all_alternatives_are_as_likely(rate):
  (copies,) = replace_words(
    [LONG], lambda words, i: MANY[words[i]], copies=10, rate=rate
  )
  words = [word for copy in copies for word in copy.split()]
  replaced = [word[1] for word in words if len(word) > 1]
  total = len(words)
  assert total == 4000
  spread = np.sqrt(rate * (1 - rate) * total)
  assert abs(len(replaced) - rate * total) < 4 * spread
  _, counts = np.unique(replaced, return_counts=True)
  share = len(replaced) / 9
  assert len(counts) == 9 and ((counts - share) ** 2 / share).sum() < 26.1


def test_a_text_is_replaced_alike_among_others():
  alone = replace_words([LONG], lambda words, i: MANY[words[i]], copies=3)
  others = replace_words(
    ["a b", LONG, LONG], lambda words, i: MANY[words[i]], copies=3
  )
  assert others[1] == others[2] == alone[0]
  again = replace_words(
    [LONG], lambda words, i: MANY[words[i]], copies=3, seed=1
  )
  assert again != alone


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"copies": 0}, "copies"),
    ({"rate": 0.0}, r"rate must be in \(0, 1\], got 0.0"),
    ({"rate": 1.5}, "got 1.5"),
  ],
)
def test_settings_that_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    replace_words(["a"], like, **settings)


def test_neighbours_by_an_independent_search():
  rng = np.random.default_rng(0)
  vectors = {str(i): x for i, x in enumerate(rng.normal(size=(30, 4)))}
  asked = {"7": vectors["7"], "other": rng.normal(size=4)}
  found = nearest_words(vectors, asked, count=5)
  for word, x in asked.items():
    cosines = {
      name: x @ y / np.sqrt((x @ x) * (y @ y))
      for name, y in vectors.items()
      if name != word
    }
    assert found[word] == sorted(cosines, key=cosines.get, reverse=True)[:5]


def test_fewer_words_than_are_asked_for():
  vectors = {"a": np.ones(2), "b": np.array([1.0, 0.0])}
  found = nearest_words(vectors, {"a": np.ones(2), "c": np.ones(2)}, count=9)
  assert found == {"a": ["b"], "c": ["a", "b"]}


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("It's a 3-D film!", ["It's", "a", "3", "D", "film"]),
    ("naïve _x", ["naïve", "_x"]),
    ("'quoted'", ["quoted"]),
    (" - ", []),
  ],
)
def test_words(text, expected):
  assert words_of(text) == expected
