"""The teachers of a run: one, several, on the way, or with specialists."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.core.teacher import Teacher, stored_teacher
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import fit, predict
from kdjax.runner.pipeline.partition import placed
from kdjax.runner.pipeline.setup import Setup, TrainSpec, network_note
from kdjax.runner.pipeline.specialists import (
  Specialist,
  merge,
  train_specialists,
)
from kdjax.runner.report.logs import RunLog
from kdjax.train.ensemble import ensemble, teacher_route
from kdjax.train.precision import full_precision
from kdjax.train.teacher import live_teacher


class TrainedNetworks(NamedTuple):
  """Trained networks of one architecture.

  Attributes:
    networks: their variables, with a leading axis (T,).
  """

  train_spec: TrainSpec
  networks: Any


class TeacherPool(NamedTuple):
  """Whom the students learn from.

  Attributes:
    members: the teachers, or the moments of one teacher's training.
    route: whether the members teach in turn, not together.
  """

  members: tuple[TrainedNetworks, ...]
  route: bool = False
  specialists: tuple[Specialist, ...] = ()

  @property
  def teacher(self) -> TrainedNetworks:
    """The teachers of the first architecture; of a route, its end."""
    return self.members[-1 if self.route else 0]


def gather(
  experiment: Experiment, setup: Setup, workdir: Path, log: RunLog
) -> TeacherPool | None:
  """Loads or trains all teachers; None where nobody learns from one."""
  settings, anchors = experiment.teaching, {}
  anchor_epochs = _anchors(settings.route, experiment.teacher.epochs)

  def watch(epoch, networks):
    if epoch in anchor_epochs[:-1]:
      anchors[epoch] = jax.device_get(networks["teacher"])

  arms = setup.student.arms.values()
  networks = fit.obtain_teacher(
    experiment, setup, workdir, log, arms, watch if settings.route else None
  )
  if networks is None:
    return None
  first = TrainedNetworks(setup.teacher, networks)
  if settings.route:
    early = [
      TrainedNetworks(setup.teacher, anchors[epoch])
      for epoch in anchor_epochs[:-1]
    ]
    for epoch, one in zip(anchor_epochs, early, strict=False):
      storage.save_network(
        workdir / f"teacher_epoch_{epoch}",
        predict.first(one.networks),
        network_note(setup, one.train_spec.model.text)
        | {"validation": experiment.data.validation},
      )
    return TeacherPool((*early, first), route=True)
  specialists = ()
  if settings.specialists:
    specialists = train_specialists(experiment, setup, networks, workdir, log)
  others = tuple(
    TrainedNetworks(
      train_spec,
      placed(
        jax.tree.map(lambda x: np.asarray(x)[None], saved.load()),
        train_spec.partition,
      ),
    )
    for train_spec, saved in setup.other_teachers
  )
  return TeacherPool((first, *others), specialists=specialists)


def _anchors(route: int, epochs: int) -> list[int]:
  """Epochs, from 1, at equal distances; the last one is the end."""
  return [round((k + 1) * epochs / route) for k in range(route)]


def first_teacher(pool: TeacherPool) -> TeacherPool:
  """Leaves everybody out but the first teacher; of a route, all but its end."""
  first = pool.teacher
  one = jax.tree.map(lambda x: x[:1], first.networks)
  return TeacherPool((first._replace(networks=one),))


def answers(pool: TeacherPool, images, *, whole: bool = False) -> np.ndarray:
  """Asks every member; (T, N, C) float32 logits, or what the task keeps."""
  return np.concatenate(
    [
      predict.predict(one.train_spec, one.networks, images, whole=whole)
      for one in pool.members
    ]
  )


def pooled_answers(
  experiment: Experiment, pool: TeacherPool, images, *, whole: bool = False
) -> np.ndarray:
  """Asks all of them for one answer (N, C); of a route it is the end's."""
  task, several = pool.teacher.train_spec.task, _several(pool)
  if several and task.kept is not None and not whole:
    return predict.kept_in_parts(
      pool.teacher.train_spec,
      lambda some: pooled_answers(experiment, pool, some, whole=True),
      images,
    )
  logits = answers(pool, images, whole=whole)
  if not several:
    logits = logits[-1]
    return merge(logits, pool.specialists, images)
  return np.asarray(task.pool(logits, **_pooling(experiment)))


def _several(pool: TeacherPool) -> bool:
  """Whether several networks give one answer."""
  count = sum(len(jax.tree.leaves(one.networks)[0]) for one in pool.members)
  return count > 1 and not pool.route


def can_be_stored(setup: Setup, pool: TeacherPool) -> bool:
  """Whether answers to all training images may be kept, and not made anew.

  Those that are one row an example are small beside the images.
  """
  task = setup.student.task
  if task.kept is None or task.redraw is not None:
    return task.redraw is None
  count = len(pool.members) if pool.route else 1
  resident_bytes = setup.experiment.data.resident_megabytes << 20
  return count * setup.answer_bytes <= resident_bytes


def make_stored_teacher(
  experiment: Experiment, setup: Setup, pool: TeacherPool
) -> Teacher:
  """Makes a teacher of the answers to the stored training images."""
  images = setup.train_split.images
  if not pool.route:
    one = pooled_answers(experiment, pool, images, whole=True)
    return stored_teacher(jnp.asarray(one))
  logits = answers(pool, images, whole=True)
  return teacher_route(
    [stored_teacher(jnp.asarray(one)) for one in logits], steps=_steps(setup)
  )


def make_live_teacher(
  experiment: Experiment, setup: Setup, pool: TeacherPool
) -> Teacher:
  """Makes a teacher that looks at whatever the student sees."""
  each = [
    live_teacher(
      full_precision(one.train_spec.network),
      jax.tree.map(_nth(i), one.networks),
      dtype=experiment.computing.teacher_dtype,
    )
    for one in pool.members
    for i in range(len(jax.tree.leaves(one.networks)[0]))
  ]
  if pool.route:
    return teacher_route(each, steps=_steps(setup))
  together = all(one.train_spec.together for one in pool.members)
  return ensemble(
    each,
    together=together,
    task=pool.teacher.train_spec.task,
    **_pooling(experiment, len(each)),
  )


def scores(
  experiment: Experiment, setup: Setup, pool: TeacherPool
) -> dict[str, Any]:
  """Scores the teachers, alone and all together."""
  images, labels = setup.score_split.images, setup.score_split.labels
  task = setup.teacher.task
  key, each = (
    f"test_{task.score}",
    evaluate.score(task, answers(pool, images), labels),
  )
  if pool.route:
    return {"route": [{key: [value]} for value in each]}
  if len(each) == 1 and not pool.specialists:
    return {}
  one = pooled_answers(experiment, pool, images)
  together = {key: evaluate.score(task, one[None], labels)}
  if pool.specialists:
    together["subsets"] = [one.subset.tolist() for one in pool.specialists]
  else:
    together |= _pooling(experiment, len(each))
  return {key: each, "ensemble": together}


def _pooling(experiment: Experiment, teachers: int = 2) -> dict[str, Any]:
  settings = experiment.teaching
  # The networks of a chain stand alone whatever weights their teachers had.
  weights = settings.teacher_weights if teachers > 1 else ()
  return {"pool": settings.pool, "weights": weights or None}


def _nth(i: int):
  return lambda x: x[i]


def _steps(setup: Setup) -> int:
  length = max(loader.steps for loader in setup.student.loaders.values())
  return setup.student.epochs * length
