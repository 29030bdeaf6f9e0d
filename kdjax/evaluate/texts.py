"""How good generated texts are, by counting words: no network, no randomness."""

import re
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

Tokens = Sequence[Hashable]


class Rouge(NamedTuple):
  """How much of a text and of its reference is common to both, each in [0, 1].

  Attributes:
    precision: the share of the text's words.
    recall: the share of the reference's words.
    f: their harmonic mean.
  """

  precision: float
  recall: float
  f: float


def rouge_l(text: str, reference: str | Sequence[str]) -> Rouge:
  """Compares a text with what was to be written, by the words in their order.

  ROUGE-L: the longest sequence of words that both have, not necessarily side by
  side. Words are runs of a-z and 0-9 of the text in small letters, as in the
  package rouge-score without its stemmer: of other scripts nothing is compared.

  Args:
    text: what was written.
    reference: what was to be written; of several, the one that gives the highest
      f counts.

  Returns:
    All 0 where a side has no word.

  Source:
    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3.

  Example:
    >>> rouge_l("the cat sat", "The cat has sat down!")
    Rouge(precision=1.0, recall=0.6, f=0.75)
  """
  words = _words(text)
  scores = [_rouge(words, _words(one)) for one in _several(reference)]
  return max(scores, key=lambda score: score.f)


def exact_match(
  texts: Sequence[str], references: Sequence[str | Sequence[str]]
) -> float:
  """Returns the share of texts that say what was to be said, but for spaces around.

  Args:
    texts: what was written.
    references: of each text what was to be written, or all that would be right.

  Returns:
    In [0, 1]; nan without a text.

  Example:
    >>> exact_match([" 4", "Rome"], ["4", ["Paris", "paris"]])
    0.5
  """
  right = [
    text.strip() in [one.strip() for one in _several(reference)]
    for text, reference in zip(texts, references, strict=True)
  ]
  return float(np.mean(right)) if right else float("nan")


def distinct_n(texts: Sequence[Tokens], n: int = 2) -> float:
  """Returns how many different n-grams texts have, over how many they have.

  It falls as texts become longer and more: compare texts of like length.

  Args:
    texts: words or token ids.
    n: tokens of an n-gram.

  Returns:
    In (0, 1], 1 where nothing is said twice in all texts; nan without an n-gram.

  Source:
    Li et al. 2016, arXiv:1510.03055, section 5.

  Example:
    >>> distinct_n([["a", "b", "a", "b"], ["a", "b"]], n=2)
    0.5
  """
  grams = [gram for text in texts for gram in _grams(text, n)]
  return len({*grams}) / len(grams) if grams else float("nan")


def repetition(texts: Sequence[Tokens], n: int = 4) -> float:
  """Returns the share of n-grams that a text has said before, a mean over texts.

  Args:
    texts: words or token ids; those shorter than n are left out.
    n: tokens of an n-gram.

  Returns:
    In [0, 1), 0 where no text repeats itself; nan without an n-gram.

  Source:
    Welleck et al. 2020, arXiv:1908.04319, section 6 (seq-rep-n).

  Example:
    >>> repetition([["a", "b", "a", "b", "a"], ["a", "b", "c"]], n=2)
    0.25
  """
  shares = [1 - distinct_n([text], n) for text in texts if len(text) >= n]
  return float(np.mean(shares)) if shares else float("nan")


def _rouge(text: Sequence[str], reference: Sequence[str]) -> Rouge:
  common = _common(text, reference)
  if not common:
    return Rouge(0.0, 0.0, 0.0)
  precision, recall = common / len(text), common / len(reference)
  return Rouge(precision, recall, 2 * common / (len(text) + len(reference)))


def _common(text: Tokens, other: Tokens) -> int:
  """The length of the longest common subsequence, a row of the table an integer.

  Source:
    Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
  """
  places: dict[Hashable, int] = {}
  for place, token in enumerate(text):
    places[token] = places.get(token, 0) | 1 << place
  whole = (1 << len(text)) - 1
  row = whole
  for token in other:
    same = row & places.get(token, 0)
    row = ((row + same) | (row - same)) & whole
  return len(text) - row.bit_count()


def _words(text: str) -> list[str]:
  return re.findall("[a-z0-9]+", text.lower())


def _grams(text: Tokens, n: int) -> list[tuple[Hashable, ...]]:
  return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def _several(reference: str | Sequence[str]) -> Sequence[str]:
  return [reference] if isinstance(reference, str) else reference
