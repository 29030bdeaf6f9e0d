"""From settings to what `lm` trains and measures; what is wrong ends here."""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import data, methods
from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.core.task import Task, as_batch
from kdjax.core.teacher import Teacher
from kdjax.data import Split
from kdjax.models.pretrained.load import Pretrained
from kdjax.runner.config import Experiment
from kdjax.runner.job import Plan
from kdjax.runner.jobs.lm import measure, networks
from kdjax.runner.pipeline import cached_texts, language_models
from kdjax.runner.pipeline import texts as rows
from kdjax.runner.pipeline.arms import settings_of
from kdjax.runner.pipeline.setup import TrainSpec
from kdjax.runner.pipeline.validate import (
  check_batch_size,
  check_pieces,
  check_schedules,
)
from kdjax.runner.pipeline.values import Values, read_values
from kdjax.tasks import language_model
from kdjax.train.arm import Arm
from kdjax.train.devices import placement
from kdjax.train.dry_run import check_step
from kdjax.train.loader import Loader
from kdjax.train.optimizer import read_optimizer
from kdjax.train.schemes.scheme import OFFLINE, in_pieces
from kdjax.train.teacher import live_teacher


class Setup(NamedTuple):
  """All that a run is made of; `fit` reads what it has in common with others.

  Attributes:
    experiment: the settings.
    values: what the texts among them mean.
    texts: what is read, by split.
    teacher: as it was loaded.
    asked: the teacher.
    shown: the teacher as students see it: itself, or what a cache has of it.
    learner: the network that learns.
    student: the student with its baseline, and how they are trained.
    grid: the cells of both arms; members are cell-major, then seeds.
    train_split: the training sequences, and what is to be learned of each.
    sample: one empty sequence, for shapes.
    devices: what to train on.
  """

  experiment: Experiment
  values: Values
  texts: rows.Texts
  teacher: Pretrained
  asked: Teacher
  shown: Teacher
  learner: networks.Student
  student: TrainSpec
  grid: list[dict[str, float]]
  train_split: Split
  sample: Any
  devices: list[jax.Device]
  cached: None = None
  streams_answers: bool = False


def build(experiment: Experiment) -> Plan:
  """Opens the texts, loads the networks and checks that they fit."""
  local = placement.choose(experiment.run.accelerator)
  values = _checked(experiment, local)
  where, length = (
    experiment.teacher.teacher_from,
    experiment.language.sequence_length,
  )
  teacher = language_models.open_language_model("teacher_from", where)
  classes = language_models.count_classes(
    f"--teacher_from={where}", teacher, length
  )
  learner = networks.make_student(experiment, values.student, teacher, classes)
  known = language_models.count_classes(
    f"student {learner.text}", learner.pretrained, length
  )
  task = language_model(min(classes, known, teacher.tokenizer.vocabulary_size))
  texts = rows.read(experiment.language, teacher.tokenizer)
  language_models.check_ids(texts.largest, task.width)
  sequences = dict(texts.parts["train"].sequences)
  targets = np.asarray(as_batch(task, sequences).targets)
  del sequences["counts"]
  asked = live_teacher(
    teacher.network,
    teacher.variables,
    dtype=experiment.computing.teacher_dtype,
  )
  setup = Setup(
    experiment=experiment,
    values=values,
    texts=texts,
    teacher=teacher,
    asked=asked,
    shown=cached_texts.find(
      experiment, values, task, sequences, teacher, asked
    ),
    learner=learner,
    student=None,
    grid=[{"learning_rate": rate} for rate in _rates(experiment)],
    train_split=Split(sequences, targets),
    sample=language_models.sample(length),
    devices=local,
  )
  setup = setup._replace(student=_trained(setup, task))
  return Plan(setup, experiment, local, partial(_inputs, setup))


def _checked(experiment: Experiment, local) -> Values:
  """Checks what needs neither texts nor networks."""
  for flag, value in (
    ("text", experiment.language.text),
    ("teacher_from", experiment.teacher.teacher_from),
  ):
    if value is None:
      raise UserError(
        "lm needs texts and a trained teacher, --text=FILE and"
        f" --teacher_from=FOLDER; --{flag} is missing"
      )
  values = read_values(experiment)
  methods.make_objective(values.objective, steps=1, examples=2, classes=2)
  settings = experiment.student
  read_optimizer(settings.optimizer, settings.schedule)(1)
  check_batch_size(experiment, settings.batch_size, local)
  return values


def _rates(experiment: Experiment) -> tuple[float, ...]:
  return experiment.search.rates or (experiment.student.learning_rate,)


def _trained(setup: Setup, task: Task) -> TrainSpec:
  """The student and its twin, which learns from the next tokens alone."""
  experiment = setup.experiment
  settings, computing = experiment.student, experiment.computing
  examples = np.arange(len(setup.train_split.labels))
  steps, rounds = _steps(experiment, len(examples))
  loader = _loader(setup.train_split, examples, settings.batch_size)
  # What is called an epoch is the way from one point of the curve to the next.
  loader = loader._replace(steps=steps // rounds)
  facts = {
    "steps": steps,
    "examples": len(examples),
    "classes": task.width,
    "task": task,
  }
  check_schedules(experiment, steps)
  members = settings_of(setup.grid, np.arange(settings.seeds))
  scheme = in_pieces(OFFLINE, computing.accumulate_steps)
  arms = {
    name: Arm(
      "train",
      lambda _, text=text: methods.make_objective(text, **facts),
      members,
      teacher,
      scheme,
    )
    for name, text, teacher in (
      ("student", setup.values.objective, "teacher"),
      ("baseline", "hard", None),
    )
  }
  check_pieces(experiment, arms)
  network = networks.as_computed(
    setup.learner.pretrained.network,
    dtype=computing.compute_dtype,
    remat=computing.remat,
  )
  method = arms["student"].method({})
  check_step(network, setup.shown, method, setup.sample, task)
  start = setup.learner.pretrained.variables
  return TrainSpec(
    network=network,
    model=setup.values.student,
    optimizer=read_optimizer(settings.optimizer, settings.schedule)(steps),
    arms=arms,
    loaders={"train": loader},
    epochs=rounds,
    images=loader.steps * settings.batch_size * 2 * len(members["seed"]),
    show=lambda x: x,
    together=True,
    task=task,
    most=computing.members_at_once,
    variables={} if start is None else dict.fromkeys(arms, start),
    measure=partial(measure.on_validation, setup, network, task),
  )


def _loader(split: Split, examples: np.ndarray, size: int) -> Loader:
  def batches(seed, start, stop):
    return data.batches(examples, size, seed=seed, start=start, stop=stop)

  steps = data.steps_per_pass(len(examples), size)
  return Loader(batches, steps, split.labels, lambda key, stored, _: stored)


def _steps(experiment: Experiment, examples: int) -> tuple[int, int]:
  """How many steps there are, and after how many equal parts of them is looked."""
  settings, student = experiment.language, experiment.student
  passes = data.steps_per_pass(examples, student.batch_size)
  steps = settings.steps or student.epochs * passes
  return steps, max(
    count for count in range(1, settings.evaluations + 1) if steps % count == 0
  )


def _inputs(setup: Setup) -> dict[str, Any]:
  """What a run that stopped must find again."""
  found = {
    "sha256 of the training texts": rows.fingerprint(
      setup.texts.parts["train"]
    ),
    "sha256 of the test texts": rows.fingerprint(setup.texts.parts["test"]),
    "sha256 of the teacher": storage.digest(setup.teacher.variables),
  }
  if setup.experiment.teacher.teacher_cache:
    found["sha256 of the teacher cache"] = cached_texts.sha256_of(
      setup.experiment.teacher.teacher_cache
    )
  if setup.experiment.language.student_from:
    found["sha256 of the student"] = storage.digest(
      setup.learner.pretrained.variables
    )
  return found
