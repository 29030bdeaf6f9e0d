"""Trainings that begin with given states, at a given step."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.train.feed import Arm, Feed


class Continued(dict):
  """For `loop.train`'s `programs`: begins with states rather than with seeds.

  The programs are those that `loop.train` compiles; batches, augmentation and
  dropout are those of the steps that follow.
  """

  def __init__(self, states: Any, arms: Mapping[str, Arm], step: int):
    """Compiles nothing.

    Args:
      states: TrainStates by arm, with a leading axis of members.
      arms: who learns from what.
      step: how many steps the states have taken.
    """
    super().__init__()
    self._states, self._step = states, step
    self._seeds = {name: arm.settings["seed"] for name, arm in arms.items()}

  def __setitem__(self, group, program):
    begin, run = program

    def later(states, plan, steps, *rest):
      return run(states, plan, steps + self._step, *rest)

    starts = {name: self._start(name) for name in begin}
    super().__setitem__(group, (starts, later))

  def _start(self, name):
    def start(settings, teacher):
      places = np.searchsorted(self._seeds[name], np.asarray(settings["seed"]))
      return jax.tree.map(lambda x: x[places], self._states[name])

    return start


def shifted(feed: Feed, step: int) -> Feed:
  """Shows what comes after some steps.

  Args:
    feed: from its first step on.
    step: how many are left out.

  Returns:
    The feed from there on.

  Example:
    >>> feed = Feed(lambda seed, start, stop: (start, stop), 5, None, None)
    >>> shifted(feed, 10).batches(0, 0, 5)
    (10, 15)
  """

  def batches(seed: int, start: int, stop: int):
    return feed.batches(seed, start + step, stop + step)

  return feed._replace(batches=batches)
