"""What training yields, and how its parts are put together."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from kdjax.train.state import TrainState

Sums = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]


class Epoch(NamedTuple):
  """What an epoch, or the part of one that is over, leaves behind.

  Attributes:
    number: from 1.
    step: steps taken so far.
    ended: whether the epoch is over.
    examples: that all members together have seen since the last one was
      yielded.
    states: each arm's TrainState with a leading axis of members. The next
      steps reuse its memory: copy what must be kept.
    sums: by arm and name, the epoch's (sum, count) of each member so far.
  """

  number: int
  step: int
  ended: bool
  examples: int
  states: dict[str, TrainState]
  sums: Sums

  @property
  def metrics(self) -> dict[str, dict[str, np.ndarray]]:
    """By arm and name, the epoch's mean of each member so far, (M,)."""
    return {
      arm: {
        name: total / np.where(count, count, 1)
        for name, (total, count) in metrics.items()
      }
      for arm, metrics in self.sums.items()
    }


def portions(
  first: int, last: int, length: int, most: int
) -> Iterator[tuple[int, int]]:
  """Cuts the steps of a training into portions that end where epochs do.

  Args:
    most: steps of a portion; the last of an epoch may be shorter.

  Yields:
    (first step, one past the last) of each. Wherever one begins, the ends are
    the same.
  """
  while first < last:
    place = first % length
    stop = first - place + min(length, (place // most + 1) * most)
    yield first, min(stop, last)
    first = stop


def plus(one: Sums, other: Sums) -> Sums:
  """Adds sums up."""
  return jax.tree.map(lambda x, y: x + y, one, other)
