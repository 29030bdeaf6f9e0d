"""More texts to learn from: copies in which words are replaced by their like."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kdjax.core.arguments import check_whole
from kdjax.core.errors import UserError
from kdjax.data.subsets import place_of

# What is a word, and what is between words: joined again they are the text.
_PARTS = re.compile(r"\w+(?:'\w+)?|\W+")

# (the words of a text, the number of one of them) -> words that can stand there.
Alternatives = Callable[[Sequence[str], int], Sequence[str]]


def replace_words(
  texts: Sequence[str],
  alternatives: Alternatives,
  *,
  copies: int = 20,
  rate: float = 0.4,
  seed: int = 0,
) -> list[list[str]]:
  """Makes copies of texts in which some words are replaced.

  In each copy every word is replaced with the probability `rate`, by one of its
  alternatives, all of them as likely. A copy that is the text itself, or another
  copy, is left out: of short texts there are fewer. What becomes of a text depends
  on the seed and the text alone, not on the others.

  Args:
    texts: N texts.
    alternatives: what a word can be replaced by; nothing leaves it as it is.
    copies: the most copies of each text.
    rate: of the words, in (0, 1].
    seed: another one, other copies.

  Returns:
    N lists of copies.

  Raises:
    UserError: for no copies, or a rate outside (0, 1].

  Example:
    >>> like = {"good": ["fine"], "film": ["movie"]}
    >>> replace_words(
    ...   ["A good film."], lambda words, i: like.get(words[i], ()), rate=1.0
    ... )
    [['A fine movie.']]

  Source:
    Jiao et al. 2020, arXiv:1909.10351 (TinyBERT), algorithm 1, with p_t = `rate` = 0.4
    and N_a = `copies` = 20.
  """
  copies = check_whole("copies", copies)
  if not 0 < rate <= 1:
    raise UserError(f"rate must be in (0, 1], got {rate!r}")
  return [_copies(text, alternatives, copies, rate, seed) for text in texts]


def _copies(
  text: str, alternatives: Alternatives, copies: int, rate: float, seed: int
) -> list[str]:
  parts = _PARTS.findall(text)
  places = [i for i, part in enumerate(parts) if _is_word(part)]
  words = [parts[i] for i in places]
  choices = [list(alternatives(words, i)) for i in range(len(words))]
  rng = np.random.default_rng((seed, int(place_of(text) * 2**48)))
  distinct: dict[str, None] = {}
  for _ in range(copies):
    copy = list(parts)
    for place, choice in zip(places, choices, strict=True):
      # Drawn for every word, so that one does not shift the next one's.
      replaced, which = rng.random() < rate, rng.random()
      if replaced and choice:
        copy[place] = choice[int(which * len(choice))]
    distinct.setdefault("".join(copy))
  return [copy for copy in distinct if copy != text]


def nearest_words(
  vectors: Mapping[str, np.ndarray],
  words: Mapping[str, np.ndarray],
  *,
  count: int = 15,
) -> dict[str, list[str]]:
  """Finds the words whose vectors point most nearly the same way.

  Args:
    vectors: (D,) of each word that may be found, none of them zero.
    words: (D,) of each word whose neighbours are asked for.
    count: how many neighbours of each.

  Returns:
    By word, its neighbours, the nearest first; never the word itself.

  Example:
    >>> vectors = {"a": np.ones(2), "b": np.array([1, 0.9]), "c": np.array([1, -1])}
    >>> nearest_words(vectors, {"a": vectors["a"], "d": np.array([2, -3])}, count=1)
    {'a': ['b'], 'd': ['c']}
  """
  names, asked = list(vectors), list(words)
  place = {name: i for i, name in enumerate(names)}
  table, rows = (
    _directions(np.stack([*mapping.values()])) for mapping in (vectors, words)
  )
  neighbours = {}
  for start in range(0, len(asked), 256):
    some = asked[start : start + 256]
    cosines = rows[start : start + 256] @ table.T
    for own, word in zip(cosines, some, strict=True):
      if word in place:
        own[place[word]] = -np.inf
      most = min(count, len(names) - (word in place))
      best = np.argpartition(-own, most - 1)[:most]
      best = best[np.argsort(-own[best], kind="stable")]
      neighbours[word] = [names[i] for i in best]
  return neighbours


def _directions(vectors: np.ndarray) -> np.ndarray:
  vectors = vectors.astype(np.float32)
  return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def words_of(text: str) -> list[str]:
  """Returns a text's words, as `replace_words` counts them.

  Example:
    >>> words_of("It's a film, 3-D!")
    ["It's", 'a', 'film', '3', 'D']
  """
  return [part for part in _PARTS.findall(text) if _is_word(part)]


def _is_word(part: str) -> bool:
  return part[0].isalnum() or part[0] == "_"
