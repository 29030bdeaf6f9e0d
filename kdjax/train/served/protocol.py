"""What an endpoint is asked about a text, and what it must answer.

The completions of OpenAI's form with `prompt_logprobs`, as vLLM has them: for
every token of a prompt but the first, by id, the log-probabilities of the k
likeliest tokens there and of the token that stands there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# A probability may round to a little more than 1, and so may a sum of them.
_ABOVE_ONE = 1e-3
_LARGEST = 1e30
# What all other tokens have at least together, so that its logarithm is finite.
_LEAST_TAIL = 1e-10


class Fault(ValueError):
  """An answer that is none; the message says at which place, and what was got."""


class TopTokens(NamedTuple):
  """What a teacher says of a text of n tokens, of each but the first.

  Attributes:
    indices: (n - 1, k) int32, the likeliest tokens, the first one first.
    log_probabilities: (n - 1, k) float32, theirs.
    tail: (n - 1,) float32, the log of the probability of all others together.
    standing: (n - 1,) float32, the log-probability of the token that stands there.
  """

  indices: np.ndarray
  log_probabilities: np.ndarray
  tail: np.ndarray
  standing: np.ndarray


def request(model: str, tokens: Sequence[int], top_k: int) -> dict[str, Any]:
  """Asks about a text; of the one token behind it nothing is read.

  Example:
    >>> request("m", [3, 1], 2)["prompt_logprobs"]
    2
  """
  return {
    "model": model,
    "prompt": [int(token) for token in tokens],
    "max_tokens": 1,
    "temperature": 0,
    "prompt_logprobs": top_k,
  }


def read_answer(
  answer: Any, tokens: Sequence[int], *, top_k: int, classes: int
) -> TopTokens:
  """Reads and checks what an endpoint answers to `request`.

  Args:
    answer: the JSON value.
    tokens: n ids, those that it was asked about.
    top_k: k.
    classes: V; ids are 0 to V - 1.

  Raises:
    Fault: for another form, too few rows or tokens, ids that are no tokens, the
      token that stands there missing, and numbers that are no log-probabilities.

  Example:
    >>> rows = [None, {"1": {"logprob": -0.7}, "0": {"logprob": -1.2}}]
    >>> answer = {"choices": [{"prompt_logprobs": rows}]}
    >>> read_answer(answer, [0, 1], top_k=1, classes=3).indices.tolist()
    [[1]]
  """
  try:
    rows = answer["choices"][0]["prompt_logprobs"]
  except (KeyError, IndexError, TypeError):
    rows = None
  if not isinstance(rows, list):
    raise Fault(f"it has no prompt_logprobs: {_shown(answer)}")
  if len(rows) != len(tokens):
    raise Fault(
      f"it has {len(rows)} rows of prompt_logprobs for {len(tokens)} tokens"
    )
  read = [
    _row(f"row {i}", row, int(token), top_k, classes)
    for i, (row, token) in enumerate(zip(rows, tokens, strict=True))
    if i
  ]
  indices, log_probs, tail, standing = zip(*read, strict=True)
  return TopTokens(
    np.array(indices, np.int32),
    *(np.array(x, np.float32) for x in (log_probs, tail, standing)),
  )


def _row(place: str, row: Any, token: int, top_k: int, classes: int) -> tuple:
  """One row, checked: ids, log-probabilities, the others' and the token's own."""
  if not isinstance(row, Mapping):
    raise Fault(f"{place} is {_shown(row)}, no log-probabilities by token id")
  found = {}
  for key, entry in row.items():
    # "٣" is a number too, but no id.
    if not (key.isascii() and key.isdigit() and int(key) < classes):
      raise Fault(
        f"{place} has the token id {key!r}, and ids are 0 to {classes - 1}:"
        " another tokenizer?"
      )
    found[int(key)] = _log_probability(place, key, entry)
  if token not in found:
    raise Fault(
      f"{place} has nothing of token {token}, which stands there, but of"
      f" {_shown(sorted(found))}: another tokenizer?"
    )
  if len(found) < top_k:
    raise Fault(f"{place} has {len(found)} tokens, and {top_k} were asked for")
  likeliest = sorted(found, key=lambda one: (-found[one], one))[:top_k]
  log_probs = [found[one] for one in likeliest]
  total = float(np.exp(log_probs).sum())
  if total > 1 + _ABOVE_ONE:
    raise Fault(
      f"{place}: its tokens have the probability {total:.4f} together"
    )
  tail = np.log(max(1 - total, _LEAST_TAIL))
  return likeliest, log_probs, tail, found[token]


def _log_probability(place: str, key: str, entry: Any) -> float:
  value = entry.get("logprob") if isinstance(entry, Mapping) else None
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if not number or not -_LARGEST < value <= _ABOVE_ONE:  # nan is neither
    raise Fault(
      f"{place}: the log-probability of token {key} is {_shown(value)}, no number"
      " <= 0"
    )
  return float(value)


def _shown(value: Any) -> str:
  """A value, as much of it as fits into a line."""
  text = " ".join(str(value).split())
  return text if len(text) <= 60 else f"{text[:60]}..."
