"""`launch.py distill` and `sweep`: teachers -> students and controls -> scores."""

from typing import Any, NamedTuple

from kdjax.runner.config import Experiment
from kdjax.runner.config.commands import DistillConfig
from kdjax.runner.job import Context, Job, LazyModule, Measured, Plan, Stage

record = LazyModule("kdjax.runner.report.record")


class Teachers(NamedTuple):
  """Who teaches.

  Attributes:
    first: the teachers; None where nobody learns from one.
    last: whom the students learn from: the end of the chain, or the first.
    chain: what results.json says of each stage between them.
  """

  first: Any
  last: Any
  chain: list[dict[str, Any]]


def build(experiment: Experiment) -> Plan:
  """Opens the data and builds every part."""
  from kdjax.runner.pipeline import build, plan

  return plan.plan(experiment, build.prepare(experiment))


def train_teachers(setup: Any, context: Context) -> Teachers:
  """Trains or loads the teachers, then the stages between them and the students."""
  from kdjax.runner.pipeline import stages, teacher_targets, teachers

  of_run = setup.experiment, setup
  first = teachers.gather(*of_run, context.workdir, context.log)
  setup = teacher_targets.with_targets(setup, first)
  last, chain = stages.train_stages(
    setup.experiment, setup, first, context.workdir, context.log
  )
  return Teachers(first, last, chain)


def train_students(setup: Any, context: Context) -> Any:
  """Trains the students side by side with baseline and controls."""
  from kdjax.runner.pipeline import (
    best_epochs,
    fit,
    stand_ins,
    starts,
    teacher_targets,
  )

  first, last, _ = context.values["teacher"]
  setup = teacher_targets.with_targets(setup, first)
  experiment, arms = setup.experiment, setup.student.arms.values()
  teachers = stand_ins.make_teachers(experiment, setup, last, arms, first)
  best = best_epochs.best_to_keep(
    experiment, context.workdir, _note(setup), setup.student.task
  )
  train_spec = starts.begun(
    setup.student, setup.start, first and first.teacher.networks
  )
  return fit.fit(setup, train_spec, context.log, teachers, best=best)


def measure(setup: Any, context: Context) -> Measured:
  """Scores all networks, and saves the student."""
  from kdjax.core import storage
  from kdjax.runner.pipeline import (
    footprint,
    measure,
    teacher_targets,
    teachers,
    values,
  )
  from kdjax.runner.report import logs

  first, last, chain = context.values["teacher"]
  students = context.values["students"]
  experiment = setup.experiment
  setup = teacher_targets.with_targets(setup, first)
  setup = setup._replace(student=students.train_spec)
  measurement = measure.measure(
    experiment,
    setup,
    first and first.teacher.networks,
    students.networks,
    students.together,
    first
    and teachers.pooled_answers(experiment, last, setup.score_split.images),
  )
  scores = measurement.scores
  if first:
    scores["teacher"] |= teachers.scores(experiment, setup, first)
  if chain:
    scores["chain"] = chain
  folder = context.workdir / "student"
  note = _note(setup) | scores["student"]["settings"]
  storage.save_network(folder, measurement.networks["student"], note)
  scores |= footprint.scores(experiment, setup, folder)
  scores["objective"] = values.objective_text(
    experiment, setup.values.objective
  )
  rows = logs.read_history(context.workdir)
  history = measure.history_at_best(experiment, measurement, rows)
  return Measured(scores, {"history": history, "samples": measurement.samples})


def _note(setup: Any) -> dict[str, Any]:
  from kdjax.runner.pipeline import footprint
  from kdjax.runner.pipeline.setup import network_note

  return network_note(setup, setup.student.model.text) | footprint.note(
    setup.experiment
  )


DISTILL = Job(
  name="distill",
  config=DistillConfig,
  example="mnist_demo",
  build=build,
  stages=(Stage("teacher", train_teachers), Stage("students", train_students)),
  measure=measure,
  page=record.write_run,
  summary=record.summary,
)
SWEEP = DISTILL._replace(name="sweep")
TEXT = DISTILL._replace(name="text", example="text_sentiment")
