"""Stages between teacher and student: assistants, and generations of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import fit, predict
from kdjax.runner.pipeline.setup import (
  IntermediateTeacher,
  Setup,
  TrainSpec,
  network_note,
)
from kdjax.runner.pipeline.stand_ins import make_teachers
from kdjax.runner.pipeline.teachers import TeacherPool, TrainedNetworks
from kdjax.runner.report.logs import RunLog
from kdjax.train.loop import side_by_side
from kdjax.train.precision import like


def train_stages(
  experiment: Experiment,
  setup: Setup,
  pool: TeacherPool | None,
  workdir: Path,
  log: RunLog,
) -> tuple[TeacherPool | None, list[dict[str, Any]]]:
  """Trains stage after stage, each on the student's objective and images."""
  entries = []
  for place, stage in enumerate(setup.stages):
    train_spec = _train_spec(experiment, setup, stage, place)
    teachers = make_teachers(experiment, setup, pool, train_spec.arms.values())
    networks = fit.fit(setup, train_spec, log, teachers).networks[stage.name]
    note = network_note(setup, train_spec.model.text)
    note["validation"] = experiment.data.validation
    storage.save_network(workdir / stage.name, predict.first(networks), note)
    pool = TeacherPool((TrainedNetworks(train_spec, networks),))
    entries.append(_scores(setup, stage, train_spec, networks))
  return pool, entries


def _scores(
  setup, stage: IntermediateTeacher, train_spec: TrainSpec, networks
) -> dict:
  logits = predict.predict(train_spec, networks, setup.score_split.images)
  return {
    "name": stage.name,
    "model": stage.model.text,
    "parameters": evaluate.parameters(predict.first(networks)["params"]),
    **predict.measured(setup, train_spec.task, logits),
  }


def _train_spec(
  experiment, setup, stage: IntermediateTeacher, place: int
) -> TrainSpec:
  """The student's training, of one network of a stage's architecture."""
  student = setup.student.arms["student"]
  settings = {name: value[:1] for name, value in student.settings.items()}
  settings["seed"] = np.array([experiment.teacher.seed + 1 + place])
  rate = experiment.teaching.chain_learning_rate
  if rate is not None:
    settings["learning_rate"] = np.array([rate])
  loader = setup.student.loaders[student.loader]
  length = max(one.steps for one in setup.student.loaders.values())
  network = like(setup.student.network, stage.network)
  return setup.student._replace(
    network=network,
    model=stage.model,
    optimizer=setup.student.optimizer_for(setup.student.epochs * length),
    arms={stage.name: student._replace(settings=settings)},
    loaders={student.loader: loader._replace(steps=length)},
    images=length * experiment.student.batch_size,
    together=side_by_side(network, setup.sample, setup.devices[0].platform),
    apart=False,
  )
