"""Arms, which share a teacher and batches, and what they need of each step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.method import Method, View
from kdjax.train.devices import placement as on_devices
from kdjax.train.loader import Cut, Feed, lengthened, plan_batches
from kdjax.train.schemes.scheme import ALONE, Learner

# One value a member: "seed", "learning_rate" and what the arm's method reads.
Settings = Mapping[str, Any]


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
    >>> from kdjax.core.method import stateless
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
    name: _part_of(plan_batches(feeds[name], seeds, start, stop), part)
    for name in {arm.feed for arm in arms.values()}
  }
  steps = np.arange(start, stop)
  if at_once:
    missing = 0 if length is None else length - len(steps)
    yield (
      np.pad(steps, (0, missing), constant_values=-1),
      jax.tree.map(lambda x: lengthened(x, missing), plan),
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
