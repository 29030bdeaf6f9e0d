"""The iteration: sources -> soft labels -> student -> source, until it stops."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.runner.jobs.soft_td import targets

NEXT_SOURCES = ("all", "latest")


class SoftLabels(NamedTuple):
  """What the sources of one round say, for M chains side by side.

  Attributes:
    log_targets: (M, N, C) logarithms of the soft labels, nats.
    effective: (M, N) how many equally weighted sources they are worth.
    sources: how many sources there are, S.
  """

  log_targets: np.ndarray
  effective: np.ndarray
  sources: int


class RoundResult(NamedTuple):
  """The students of one round.

  Attributes:
    networks: their variables, with a leading axis (M,).
    validation_loss: (M,) nats.
    answers: (M, N, C) log of what they say of the training set, nats.
    scores: further scores, (M,) each.
  """

  networks: Any
  validation_loss: np.ndarray
  answers: np.ndarray
  scores: dict[str, np.ndarray]


class Round(NamedTuple):
  """A round that is done."""

  soft_labels: SoftLabels
  students: RoundResult


def make_soft_labels(
  sources: np.ndarray, *, beta: float, kind: str
) -> SoftLabels:
  """Mixes the sources of every chain and example.

  Args:
    sources: (S, M, N, C) logarithms of what S sources say, nats.
  """
  weights = targets.source_weights(sources, beta=beta)
  mixture = targets.pseudo_labels(targets.mixture(sources, weights), kind)
  targets.check_feasible(np.exp(mixture).reshape(-1, mixture.shape[-1]))
  effective = targets.effective_sample_size(weights)
  return SoftLabels(mixture, effective, len(sources))


def successors(
  sources: np.ndarray, answers: np.ndarray, who: str
) -> np.ndarray:
  """Returns the sources of the next round.

  Args:
    sources: (S, M, N, C) of this round.
    answers: (M, N, C) of its students.
    who: "all", this round's and the student; "latest", the student alone.

  Returns:
    (S + 1, M, N, C) or (1, M, N, C).
  """
  if who not in NEXT_SOURCES:
    raise ValueError(
      f"next_sources must be one of {', '.join(NEXT_SOURCES)}, got {who!r}"
    )
  latest = answers[None]
  return latest if who == "latest" else np.concatenate([sources, latest])


def stopping(
  losses: Sequence[np.ndarray], patience: int = 1
) -> tuple[np.ndarray, np.ndarray]:
  """Says for every chain which round is the best, and after which it stops.

  A chain stops after `patience` rounds in a row that are no better than its
  best one; what happens to it later does not count.

  Args:
    losses: validation losses, (M,) a round.
    patience: >= 1.

  Returns:
    best: (M,) int, place of the first round with the lowest loss that counts.
    last: (M,) int, place of the round after which it stops; -1 while it goes
      on.
  """
  losses = np.stack(losses)
  best = np.zeros(losses.shape[1], int)
  last = np.full(losses.shape[1], -1)
  for place in range(1, len(losses)):
    going = last < 0
    lowest = np.take_along_axis(losses, best[None], axis=0)[0]
    best = np.where(going & (losses[place] < lowest), place, best)
    last = np.where(going & (place - best >= patience), place, last)
  return best, last


def iterate(
  sources: np.ndarray,
  teach: Callable[[int, SoftLabels], RoundResult],
  *,
  rounds: int,
  patience: int = 1,
  beta: float = 0.0,
  kind: str = "soft",
  next_sources: str = "all",
) -> list[Round]:
  """Goes round after round until every chain has stopped.

  Chains do not know of each other: that they go on side by side until the last
  one stops changes none of their results, since `stopping` ends each.

  Args:
    sources: (S, M, N, C) logarithms of what the pre-trained sources say, nats.
    teach: (round from 1, soft labels) -> its students.
  """
  results: list[Round] = []
  for number in range(1, rounds + 1):
    soft_labels = make_soft_labels(sources, beta=beta, kind=kind)
    students = teach(number, soft_labels)
    results.append(Round(soft_labels, students))
    _, last = stopping(
      [one.students.validation_loss for one in results], patience
    )
    if (last >= 0).all():
      break
    sources = successors(sources, students.answers, next_sources)
  return results
