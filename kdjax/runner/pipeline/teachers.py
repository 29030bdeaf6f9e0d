"""The teachers of a run: one, several, on the way, or with specialists."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import fit, predict, setup
from kdjax.runner.pipeline.setup import Prepared, Trainee
from kdjax.runner.pipeline.specialists import (
  Specialist,
  merge,
  train_specialists,
)
from kdjax.runner.report.logs import RunLog
from kdjax.train.ensemble import ensemble, pool_logits, routed
from kdjax.train.state import frozen_state
from kdjax.train.teacher import Teacher, live, stored


class Taught(NamedTuple):
  """Trained networks of one architecture.

  Attributes:
    trainee: what they are.
    networks: their variables, with a leading axis (T,).
  """

  trainee: Trainee
  networks: Any


class Faculty(NamedTuple):
  """Whom the students learn from.

  Attributes:
    members: the teachers, or the moments of one teacher's training.
    route: whether the members teach in turn, not together.
    specialists: of the only member.
  """

  members: tuple[Taught, ...]
  route: bool = False
  specialists: tuple[Specialist, ...] = ()

  @property
  def teacher(self) -> Taught:
    """The teachers of the first architecture; of a route, its end."""
    return self.members[-1 if self.route else 0]


def gather(
  experiment: Experiment, parts: Prepared, workdir: Path, log: RunLog
) -> Faculty | None:
  """Loads or trains all teachers.

  Args:
    experiment: the settings.
    parts: of the run.
    workdir: its folder; gets what is trained.
    log: its log.

  Returns:
    The teachers; None where nobody learns from one and none was given.

  Raises:
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if a network cannot be saved or read.
  """
  chosen, anchors = experiment.teaching, {}
  kept = _anchors(chosen.route, experiment.teacher.epochs)

  def watch(epoch, networks):
    if epoch in kept[:-1]:
      anchors[epoch] = jax.device_get(networks["teacher"])

  arms = parts.student.arms.values()
  networks = fit.obtain_teacher(
    experiment, parts, workdir, log, arms, watch if chosen.route else None
  )
  if networks is None:
    return None
  first = Taught(parts.teacher, networks)
  if chosen.route:
    early = [Taught(parts.teacher, anchors[epoch]) for epoch in kept[:-1]]
    for epoch, one in zip(kept, early, strict=False):
      storage.save_network(
        workdir / f"teacher_epoch_{epoch}",
        predict.first(one.networks),
        setup.note(parts, one.trainee)
        | {"validation": experiment.data.validation},
      )
    return Faculty((*early, first), route=True)
  specialists = ()
  if chosen.specialists:
    specialists = train_specialists(experiment, parts, networks, workdir, log)
  others = tuple(
    Taught(trainee, jax.tree.map(lambda x: jnp.asarray(x)[None], found.load()))
    for trainee, found in parts.colleagues
  )
  return Faculty((first, *others), specialists=specialists)


def _anchors(route: int, epochs: int) -> list[int]:
  """Epochs, from 1, at equal distances; the last one is the end."""
  return [round((k + 1) * epochs / route) for k in range(route)]


def alone(faculty: Faculty) -> Faculty:
  """Leaves everybody out but the first teacher; of a route, all but its end.

  Args:
    faculty: the teachers.

  Returns:
    One teacher.
  """
  first = faculty.teacher
  one = jax.tree.map(lambda x: x[:1], first.networks)
  return Faculty((first._replace(networks=one),))


def answers(faculty: Faculty, images) -> np.ndarray:
  """Asks every member.

  Args:
    faculty: the teachers.
    images: stored images.

  Returns:
    (T, N, C) float32 logits.
  """
  return np.concatenate(
    [
      predict.predict(one.trainee, one.networks, images)
      for one in faculty.members
    ]
  )


def pooled(experiment: Experiment, faculty: Faculty, images) -> np.ndarray:
  """Asks all of them for one answer; of a route it is the end's.

  Args:
    experiment: the settings.
    faculty: the teachers.
    images: stored images.

  Returns:
    (N, C) float32 logits.
  """
  found = answers(faculty, images)
  if faculty.route or len(found) == 1:
    found = found[-1]
    return merge(found, faculty.specialists, images)
  return np.asarray(pool_logits(found, **_pooling(experiment)))


def remembered(
  experiment: Experiment, parts: Prepared, faculty: Faculty
) -> Teacher:
  """Makes a teacher of the answers to the stored training images.

  Args:
    experiment: the settings.
    parts: of the run.
    faculty: the teachers.

  Returns:
    The teacher.
  """
  images = parts.shown.images
  if not faculty.route:
    return stored(jnp.asarray(pooled(experiment, faculty, images)))
  found = answers(faculty, images)
  return routed(
    [stored(jnp.asarray(one)) for one in found], steps=_steps(parts)
  )


def alive(experiment: Experiment, parts: Prepared, faculty: Faculty) -> Teacher:
  """Makes a teacher that looks at whatever the student sees.

  Args:
    experiment: the settings.
    parts: of the run.
    faculty: the teachers, without specialists.

  Returns:
    The teacher.
  """
  each = [
    live(
      frozen_state(
        one.trainee.network,
        jax.tree.map(_nth(i), one.networks),
        experiment.computing.teacher_dtype,
      )
    )
    for one in faculty.members
    for i in range(len(jax.tree.leaves(one.networks)[0]))
  ]
  if faculty.route:
    return routed(each, steps=_steps(parts))
  together = all(one.trainee.together for one in faculty.members)
  return ensemble(each, together=together, **_pooling(experiment, len(each)))


def figures(
  experiment: Experiment, parts: Prepared, faculty: Faculty
) -> dict[str, Any]:
  """Scores the teachers, alone and all together.

  Args:
    experiment: the settings.
    parts: of the run.
    faculty: the teachers.

  Returns:
    What results.json says of the teacher besides; nothing of a single one.
  """
  images, labels = parts.scored.images, parts.scored.labels
  each = evaluate.accuracy(answers(faculty, images), labels).tolist()
  if faculty.route:
    return {"route": [{"test_accuracy": [value]} for value in each]}
  if len(each) == 1 and not faculty.specialists:
    return {}
  one = pooled(experiment, faculty, images)
  score = float(evaluate.accuracy(one[None], labels)[0])
  together = {"test_accuracy": [score]}
  if faculty.specialists:
    together["subsets"] = [one.subset.tolist() for one in faculty.specialists]
  else:
    together |= _pooling(experiment, len(each))
  return {"test_accuracy": each, "ensemble": together}


def _pooling(experiment: Experiment, teachers: int = 2) -> dict[str, Any]:
  chosen = experiment.teaching
  # The networks of a chain stand alone whatever weights their teachers had.
  weights = chosen.teacher_weights if teachers > 1 else ()
  return {"pool": chosen.pool, "weights": weights or None}


def _nth(i: int):
  return lambda x: jnp.asarray(x)[i]


def _steps(parts: Prepared) -> int:
  length = max(feed.steps for feed in parts.student.feeds.values())
  return parts.student.epochs * length
