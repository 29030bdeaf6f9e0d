"""Who is trained on what: arms of networks, feeds of batches, step by step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.method import Method, View
from kdjax.train import devices as on_devices
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
    mixing: what then mixes the images of a batch, as `data.split_mixing` makes
      it, padding at the batch's end left out; None for nothing.
    teacher_view: as `view`, what the teacher sees instead of all that; None
      where it sees what the student sees.
    turns: (seed, indices (S, B), first step) -> (S, B) the number of the view
      that each example shows. `view` then takes (numbers, stored images,
      index). None where every step draws new views.
  """

  batches: Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]
  steps: int
  labels: np.ndarray
  view: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
  mixing: Callable | None = None
  teacher_view: Callable | None = None
  turns: Callable[[int, np.ndarray, int], np.ndarray] | None = None

  def rows(self, cut: "Cut") -> np.ndarray | jax.Array:
    """Places of a cut's views among all views: number * N + index."""
    if cut.numbers is None:
      return cut.indices
    return cut.numbers * len(self.labels) + cut.indices


class Cut(NamedTuple):
  """What a feed shows in some steps; axes (steps, seeds, batch).

  Attributes:
    indices: which examples.
    weights: 0 marks the padding of a ragged batch.
    numbers: which view of each; None where every step draws new ones.
    images: as stored; None where they are on the device.
    answers: by teacher, its view of them; without those on the device.
  """

  indices: np.ndarray
  weights: np.ndarray
  numbers: np.ndarray | None = None
  images: np.ndarray | None = None
  answers: Mapping[str, View] = {}


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


def teacher_taps(arms: Iterable[Arm]) -> tuple[str, ...]:
  """Lists all that the methods of some arms want to see of the teacher.

  Args:
    arms: who learns from what.

  Returns:
    Taps, each once.

  Example:
    >>> from kdjax.method import stateless
    >>> method = stateless(None, teacher_taps=("head:in",))
    >>> arm = Arm("all", lambda settings: method, {"seed": [0]})
    >>> teacher_taps([arm, arm])
    ('head:in',)
  """
  methods = [
    arm.method({name: values[0] for name, values in arm.settings.items()})
    for arm in arms
  ]
  return tuple(
    dict.fromkeys(tap for method in methods for tap in method.teacher_taps)
  )


def plan_steps(
  arms: Mapping[str, Arm],
  feeds: Mapping[str, Feed],
  seeds: np.ndarray,
  start: int,
  stop: int,
  *,
  read: Callable[[np.ndarray], Iterator[np.ndarray]] | None,
  at_once: bool,
  length: int | None = None,
  answers: Mapping[str, Callable[[np.ndarray], Iterator[View]]] | None = None,
  part: tuple[int, int, int] = (0, 1, 1),
) -> Iterator[tuple[np.ndarray, dict[str, Cut]]]:
  """Plans the steps start..stop-1 of some arms.

  Args:
    arms: who trains together.
    feeds: what is shown, by name.
    seeds: (S,) int, theirs.
    start: first step.
    stop: one past the last.
    read: as in `train`; None where the images are on the device.
    at_once: all steps in one portion, not one by one; only where nothing is
      read.
    length: how long such a portion must be: behind its end steps are -1, and
      show what the last one does; None for as long as it is.
    answers: as in `train`.
    part: of every batch that is shown here, and read; see `devices.portion`.

  Yields:
    (step numbers, what every feed shows in these steps).
  """
  plan = {
    name: _part_of(_cut(feeds[name], seeds, start, stop), part)
    for name in {arm.feed for arm in arms.values()}
  }
  steps = np.arange(start, stop)
  if at_once:
    missing = 0 if length is None else length - len(steps)
    yield (
      np.pad(steps, (0, missing), constant_values=-1),
      jax.tree.map(lambda x: _lengthened(x, missing), plan),
    )
    return
  streams = {
    name: _streams(
      arms, name, feeds[name].rows(cut), cut.indices, read, answers
    )
    for name, cut in plan.items()
  }
  for i in range(len(steps)):
    portion = {}
    for name, cut in plan.items():
      one = jax.tree.map(lambda x, i=i: x[i : i + 1], cut)
      portion[name] = _with_read(one, *streams[name])
    yield steps[i : i + 1], portion


def _with_read(cut: Cut, images, answers) -> Cut:
  """Puts what the next step's streams give into its cut."""

  def shaped(x):
    return x.reshape(*cut.indices.shape, *x.shape[1:])

  found = {name: next(stream) for name, stream in answers.items()}
  return cut._replace(
    images=None if images is None else shaped(next(images)),
    answers=jax.tree.map(shaped, found),
  )


def _cut(feed: Feed, seeds: np.ndarray, start: int, stop: int) -> Cut:
  planned = [feed.batches(int(seed), start, stop) for seed in seeds]
  indices, weights = (np.stack(x, axis=1) for x in zip(*planned, strict=True))
  if feed.turns is None:
    return Cut(indices, weights)
  numbers = [
    feed.turns(int(seed), indices[:, i], start) for i, seed in enumerate(seeds)
  ]
  return Cut(indices, weights, np.stack(numbers, axis=1))


def _lengthened(x: np.ndarray, missing: int) -> np.ndarray:
  return np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), mode="edge")


def _part_of(whole: Cut, part: tuple[int, int, int]) -> Cut:
  """The examples that this process's devices see."""
  return jax.tree.map(lambda x: on_devices.cut(x, part, axis=2), whole)


def _streams(arms, name, rows, indices, read, answers):
  """What is read for a feed, step by step: images, and teachers' answers."""
  steps = len(indices)
  teachers = {arm.teacher for arm in arms.values() if arm.feed == name}
  images = None if read is None else read(indices.reshape(steps, -1))
  return images, {
    teacher: function(rows.reshape(steps, -1))
    for teacher, function in (answers or {}).items()
    if teacher in teachers
  }
