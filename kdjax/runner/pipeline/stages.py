"""Stages between teacher and student: assistants, and generations of its own."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdjax import evaluate, models
from kdjax.core import storage
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import fit, predict, setup
from kdjax.runner.pipeline.setup import Prepared, Trainee
from kdjax.runner.pipeline.stand_ins import teachers_of
from kdjax.runner.pipeline.teachers import Faculty, Taught
from kdjax.runner.pipeline.validate_teachers import stage_models
from kdjax.runner.report.logs import RunLog
from kdjax.train.loop import side_by_side
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import like


class Stage(NamedTuple):
  """A network that learns from the one before, and teaches the next.

  Attributes:
    name: of its folder.
    model: its spec.
  """

  name: str
  model: str


def stages(experiment: Experiment) -> tuple[Stage, ...]:
  """Lists who stands between the teacher and the students, in their order.

  Args:
    experiment: the settings.

  Returns:
    Assistants, then generations of the student's own network.
  """
  return tuple(Stage(*one) for one in stage_models(experiment).items())


def climb(
  experiment: Experiment,
  parts: Prepared,
  faculty: Faculty | None,
  workdir: Path,
  log: RunLog,
) -> tuple[Faculty | None, list[dict[str, Any]]]:
  """Trains stage after stage, each on the student's objective and images.

  Args:
    experiment: the settings.
    parts: of the run.
    faculty: the first teachers.
    workdir: gets the networks.
    log: of the run.

  Returns:
    Whom the students learn from: the last stage, or the first teachers where
    there is no stage; and what results.json says of each.

  Raises:
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if a network cannot be saved.
  """
  entries = []
  for place, stage in enumerate(stages(experiment)):
    trainee = _trainee(experiment, parts, stage, place)
    teachers = teachers_of(experiment, parts, faculty, trainee.arms.values())
    networks = fit.fit(parts, trainee, log, teachers).networks[stage.name]
    note = setup.note(parts, trainee)
    note["validation"] = experiment.data.validation
    storage.save_network(workdir / stage.name, predict.first(networks), note)
    faculty = Faculty((Taught(trainee, networks),))
    entries.append(_figures(parts, stage, trainee, networks))
  return faculty, entries


def _figures(parts, stage: Stage, trainee: Trainee, networks) -> dict:
  logits = predict.predict(trainee, networks, parts.scored.images)
  return {
    "name": stage.name,
    "model": stage.model,
    "parameters": evaluate.parameters(predict.first(networks)["params"]),
    **evaluate.measure(logits, parts.scored.labels),
  }


def _trainee(experiment, parts, stage: Stage, place: int) -> Trainee:
  """The student's training, of one network of a stage's architecture."""
  student = parts.student.arms["student"]
  settings = {name: value[:1] for name, value in student.settings.items()}
  settings["seed"] = np.array([experiment.teacher.seed + 1 + place])
  rate = experiment.teaching.chain_learning_rate
  if rate is not None:
    settings["learning_rate"] = np.array([rate])
  feed = parts.student.feeds[student.feed]
  length = max(one.steps for one in parts.student.feeds.values())
  network = like(
    parts.student.network,
    models.make_model(stage.model, classes=parts.dataset.classes),
  )
  chosen = experiment.student
  return parts.student._replace(
    network=network,
    model=stage.model,
    # Whoever teaches keeps its weights, also where the students lose some.
    optimizer=make_optimizer(
      chosen.optimizer, chosen.schedule, chosen.epochs * length
    ),
    arms={stage.name: student._replace(settings=settings)},
    feeds={student.feed: feed._replace(steps=length)},
    images=length * experiment.student.batch_size,
    together=side_by_side(network, parts.sample, parts.devices[0].platform),
    apart=False,
  )
