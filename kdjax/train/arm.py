"""Arms, which share a teacher and batches, and what they need of each step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.method import Method, Outputs
from kdjax.train.devices import placement as on_devices
from kdjax.train.loader import BatchPlan, Loader, plan_batches, repeat_last_step
from kdjax.train.schemes.scheme import OFFLINE, Scheme

# One value a member: "seed", "learning_rate" and what the arm's method reads.
Settings = Mapping[str, Any]


class Arm(NamedTuple):
  """Networks trained alike, but for the settings of each.

  Attributes:
    loader: name of the loader that they are shown.
    method: settings of one member -> the method that trains it.
    settings: by name, an array (M,), one value a member.
    teacher: name of the teacher that they learn from; None for nobody.
    scheme: who learns from whom in a step.
  """

  loader: str
  method: Callable[[Settings], Method]
  settings: Settings
  teacher: str | None = None
  scheme: Scheme = OFFLINE


def teacher_taps(arms: Iterable[Arm]) -> tuple[str, ...]:
  """Lists all that the methods of some arms want to see of the teacher.

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


def asked_taps(
  arms: Mapping[str, Arm],
) -> dict[tuple[str, str | None], tuple[str, ...]]:
  """Lists what is to be seen of teachers, by (loader, teacher).

  Members share what a teacher makes of a loader's batch; schemes that ask
  themselves have no part in it.

  Returns:
    The taps.
  """
  arms_by_pair: dict[tuple[str, str | None], list[Arm]] = {}
  for arm in arms.values():
    if not arm.scheme.asks:
      arms_by_pair.setdefault((arm.loader, arm.teacher), []).append(arm)
  return {key: teacher_taps(own) for key, own in arms_by_pair.items()}


def plan_steps(
  arms: Mapping[str, Arm],
  loaders: Mapping[str, Loader],
  seeds: np.ndarray,
  start: int,
  stop: int,
  *,
  read: Callable[[np.ndarray], Iterator[np.ndarray]] | None,
  at_once: bool,
  length: int | None = None,
  answers: Mapping[str, Callable[[np.ndarray], Iterator[Outputs]]]
  | None = None,
  part: tuple[int, int, int] = (0, 1, 1),
) -> Iterator[tuple[np.ndarray, dict[str, BatchPlan]]]:
  """Plans the steps start..stop-1 of some arms.

  Args:
    seeds: (S,) int, theirs.
    read: as in `train`; None where the images are on the device.
    at_once: all steps in one portion, not one by one; only where nothing is
      read.
    length: how long such a portion must be: behind its end steps are -1, and
      show what the last one does; None for as long as it is.
    part: of every batch that is shown here, and read; see `devices.portion`.

  Yields:
    (step numbers, what every loader shows in these steps).
  """
  plans = {
    name: _part_of(plan_batches(loaders[name], seeds, start, stop), part)
    for name in {arm.loader for arm in arms.values()}
  }
  steps = np.arange(start, stop)
  if at_once:
    missing = 0 if length is None else length - len(steps)
    yield (
      np.pad(steps, (0, missing), constant_values=-1),
      jax.tree.map(lambda x: repeat_last_step(x, missing), plans),
    )
    return
  streams = {
    name: _streams(
      arms, name, loaders[name].rows(plan), plan.indices, read, answers
    )
    for name, plan in plans.items()
  }
  for i in range(len(steps)):
    portion = {}
    for name, plan in plans.items():
      one = jax.tree.map(lambda x, i=i: x[i : i + 1], plan)
      portion[name] = _with_read(one, *streams[name])
    yield steps[i : i + 1], portion


def _with_read(plan: BatchPlan, images, answers) -> BatchPlan:
  """Puts what the next step's streams give into its cut."""

  def shaped(x):
    return x.reshape(*plan.indices.shape, *x.shape[1:])

  answers_of_step = {name: next(stream) for name, stream in answers.items()}
  return plan._replace(
    images=None if images is None else jax.tree.map(shaped, next(images)),
    answers=jax.tree.map(shaped, answers_of_step),
  )


def _part_of(whole: BatchPlan, part: tuple[int, int, int]) -> BatchPlan:
  """The examples that this process's devices see."""
  return jax.tree.map(lambda x: on_devices.cut(x, part, axis=2), whole)


def _streams(arms, name, rows, indices, read, answers):
  """What is read for a loader, step by step: images, and teachers' answers."""
  steps = len(indices)
  teachers = {arm.teacher for arm in arms.values() if arm.loader == name}
  images = None if read is None else read(indices.reshape(steps, -1))
  return images, {
    teacher: function(rows.reshape(steps, -1))
    for teacher, function in (answers or {}).items()
    if teacher in teachers
  }
