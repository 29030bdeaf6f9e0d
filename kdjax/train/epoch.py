"""What training yields, and how its parts are put together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.train.feed import Arm
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
        name: total / np.maximum(count, 1)
        for name, (total, count) in metrics.items()
      }
      for arm, metrics in self.sums.items()
    }


def portions(
  first: int, last: int, length: int, most: int
) -> Iterator[tuple[int, int]]:
  """Cuts the steps of a training into portions that end where epochs do.

  Args:
    first: step to begin with.
    last: one past the last.
    length: steps of an epoch.
    most: steps of a portion; the last of an epoch may be shorter.

  Yields:
    (first step, one past the last) of each. Wherever one begins, the ends are
    the same.

  Example:
    >>> list(portions(0, 10, 5, 3))
    [(0, 3), (3, 5), (5, 8), (8, 10)]
    >>> list(portions(3, 10, 5, 3))
    [(3, 5), (5, 8), (8, 10)]
  """
  while first < last:
    place = first % length
    stop = first - place + min(length, (place // most + 1) * most)
    yield first, min(stop, last)
    first = stop


def gathered(
  done: Sequence[tuple[dict, dict]], names: Iterable[str]
) -> tuple[dict[str, TrainState], Sums]:
  """Puts the members of all groups together again.

  Args:
    done: states and sums of each group, by arm.
    names: of all arms.

  Returns:
    States and sums of all members, by arm.
  """
  if len(done) == 1:
    return done[0]
  parts = {name: [one for one in done if name in one[0]] for name in names}
  states, added = (
    {
      name: jax.tree.map(
        lambda *x: jnp.concatenate(x), *(one[i][name] for one in parts[name])
      )
      for name in names
    }
    for i in (0, 1)
  )
  return states, jax.tree.map(np.asarray, added)


def split(
  states: Mapping[str, TrainState], groups: Sequence[Mapping[str, Arm]]
) -> list[dict[str, TrainState]]:
  """Gives each group its members' states, the other way round.

  Args:
    states: of all members, by arm.
    groups: who trains together, in the order of `one_by_one`.

  Returns:
    States by arm, for each group.
  """
  taken = dict.fromkeys(states, 0)
  parts = []
  for group in groups:
    part = {}
    for name, arm in group.items():
      start = taken[name]
      taken[name] = stop = start + len(arm.settings["seed"])
      part[name] = jax.tree.map(
        lambda x, start=start, stop=stop: x[start:stop], states[name]
      )
    parts.append(part)
  return parts


def plus(one: Sums, other: Sums) -> Sums:
  """Adds sums up.

  Args:
    one: sums.
    other: of the same metrics.

  Returns:
    Their sum.
  """
  return jax.tree.map(lambda x, y: x + y, one, other)
