"""Who is trained on what: arms of networks, feeds of batches, step by step."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.method import Method
from kdjax.train.learner import ALONE, Learner

# One value a member: "seed", "learning_rate" and what the arm's method reads.
Settings = Mapping[str, Any]


class Feed(NamedTuple):
  """What a group of networks is shown.

  Attributes:
    batches: (seed, start, stop) -> indices (S, B) and weights (S, B) of the
      steps start..stop-1; weight 0 marks the padding of a ragged batch.
    steps: steps in one pass over the feed's examples.
    labels: (N,) int32 over the whole training set, -1 where hidden.
    view: (key, stored images, positions) -> float32 images, augmented.
  """

  batches: Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]
  steps: int
  labels: np.ndarray
  view: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


# Between the orders of two peers: no two seeds of a run come that far apart.
STRIDE = 1_000_003


def repeated(feed: Feed, *, times: int) -> Feed:
  """Shows every example several times in a row, in views of its own.

  Args:
    feed: what is shown.
    times: how often; places i * times, i * times + 1, ... of a batch hold
      example i, so that they lie on one device.

  Returns:
    The feed.

  Example:
    >>> feed = Feed(lambda *_: (np.array([[3, 5]]), np.ones((1, 2))), 1, None, None)
    >>> repeated(feed, times=2).batches(0, 0, 1)[0].tolist()
    [[3, 3, 5, 5]]
  """

  def batches(seed, start, stop):
    cut = feed.batches(seed, start, stop)
    return tuple(np.repeat(x, times, axis=1) for x in cut)

  return feed._replace(batches=batches)


def repeated_whole(feed: Feed, *, times: int) -> Feed:
  """Shows every batch several times side by side.

  Args:
    feed: what is shown.
    times: how often.

  Returns:
    The feed; its batches are `times` as long.

  Example:
    >>> feed = Feed(lambda *_: (np.array([[3, 5]]), np.ones((1, 2))), 1, None, None)
    >>> repeated_whole(feed, times=2).batches(0, 0, 1)[0].tolist()
    [[3, 5, 3, 5]]
  """

  def batches(seed, start, stop):
    cut = feed.batches(seed, start, stop)
    return tuple(np.tile(x, (1, times)) for x in cut)

  return feed._replace(batches=batches)


def one_each(feed: Feed, *, times: int) -> Feed:
  """Shows several batches side by side, each from an order of its own.

  Args:
    feed: what is shown.
    times: how many; the first is in the feed's own order.

  Returns:
    The feed; its batches are `times` as long.

  Example:
    >>> feed = Feed(lambda seed, *_: (np.array([[seed]]), np.ones((1, 1))), 1, None, None)
    >>> one_each(feed, times=2).batches(7, 0, 1)[0].tolist()
    [[7, 1000010]]
  """

  def batches(seed, start, stop):
    cuts = [
      feed.batches(seed + STRIDE * place, start, stop) for place in range(times)
    ]
    return tuple(np.concatenate(x, axis=1) for x in zip(*cuts, strict=True))

  return feed._replace(batches=batches)


class Arm(NamedTuple):
  """Networks trained alike, but for the settings of each.

  Attributes:
    feed: name of the feed that they are shown.
    method: settings of one member -> the method that trains it.
    settings: by name, an array (M,), one value a member.
    teacher: name of the teacher that they learn from; None for nobody.
    learner: who learns from whom in a step.
  """

  feed: str
  method: Callable[[Settings], Method]
  settings: Settings
  teacher: str | None = None
  learner: Learner = ALONE


def one_by_one(arms: Mapping[str, Arm]) -> Iterator[dict[str, Arm]]:
  """Splits arms into groups of a single member.

  Args:
    arms: by name.

  Yields:
    Groups: one arm with one value of each setting.

  Example:
    >>> arm = Arm("all", None, {"seed": np.arange(3)})
    >>> [group["a"].settings["seed"].tolist() for group in one_by_one({"a": arm})]
    [[0], [1], [2]]
  """
  for name, arm in arms.items():
    for i in range(len(arm.settings["seed"])):
      one = {key: value[i : i + 1] for key, value in arm.settings.items()}
      yield {name: arm._replace(settings=one)}


def member_settings(group: Mapping[str, Arm]) -> tuple[dict, np.ndarray]:
  """Lists the settings of a group's members.

  Args:
    group: arms that train together.

  Returns:
    By arm, each member's settings and its place among the seeds; the seeds.
  """
  seeds = _seeds(group)
  found = {}
  for arm_name, arm in group.items():
    settings = {
      name: np.asarray(values, np.int32 if name == "seed" else np.float32)
      for name, values in arm.settings.items()
    }
    place = np.searchsorted(seeds, settings["seed"])
    found[arm_name] = settings | {"place": place}
  return found, seeds


def _seeds(group: Mapping[str, Arm]) -> np.ndarray:
  return np.unique(
    np.concatenate([arm.settings["seed"] for arm in group.values()])
  )


def plan_steps(
  group: Mapping[str, Arm],
  feeds: Mapping[str, Feed],
  start: int,
  stop: int,
  *,
  read: Callable[[np.ndarray], Iterator[np.ndarray]] | None,
  at_once: bool,
) -> Iterator[tuple[np.ndarray, dict]]:
  """Plans the steps start..stop-1 of a group.

  Args:
    group: arms that train together.
    feeds: what is shown, by name.
    start: first step.
    stop: one past the last.
    read: as in `train`; None where the images are on the device.
    at_once: all steps in one portion, not one by one; only without `read`.

  Yields:
    (step numbers, plan). A plan holds, for every feed, indices, weights and
    read images with the axes (steps, seeds, batch).
  """
  plan = {}
  for name in {arm.feed for arm in group.values()}:
    cut = [
      feeds[name].batches(int(seed), start, stop) for seed in _seeds(group)
    ]
    indices, weights = (np.stack(x, axis=1) for x in zip(*cut, strict=True))
    plan[name] = (indices, weights)
  steps = np.arange(start, stop)
  if read is None and at_once:
    yield steps, {name: (*cut, None) for name, cut in plan.items()}
    return
  streams = {
    name: None if read is None else read(indices.reshape(len(steps), -1))
    for name, (indices, _) in plan.items()
  }
  for i in range(len(steps)):
    portion = {}
    for name, (indices, weights) in plan.items():
      stored = None
      if streams[name] is not None:
        flat = next(streams[name])
        stored = flat.reshape(1, *indices.shape[1:], *flat.shape[1:])
      portion[name] = (indices[i : i + 1], weights[i : i + 1], stored)
    yield steps[i : i + 1], portion
