"""From settings to what `lm` trains and measures; what is wrong ends here."""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import methods
from kdjax.core import storage
from kdjax.core.teacher import Teacher
from kdjax.data import Split
from kdjax.models.pretrained.load import Pretrained
from kdjax.runner.config import Experiment
from kdjax.runner.job import Plan
from kdjax.runner.jobs.lm import across, answers, networks, policies, trainee
from kdjax.runner.jobs.lm.across import Across
from kdjax.runner.pipeline import cached_texts, capacity, language_models
from kdjax.runner.pipeline import partition as partitions
from kdjax.runner.pipeline import texts as rows
from kdjax.runner.pipeline.setup import TrainSpec
from kdjax.runner.pipeline.validate import check_batch_size
from kdjax.runner.pipeline.values import Values, read_values
from kdjax.tasks import language_model
from kdjax.train.devices import placement
from kdjax.train.optimizer import read_optimizer
from kdjax.train.teacher import live_teacher


class Setup(NamedTuple):
  """All that a run is made of; `fit` reads what it has in common with others.

  Attributes:
    experiment: the settings.
    values: what the texts among them mean.
    policy: whose texts the student learns from.
    texts: what is read, by split.
    tokenizer: the student's.
    teacher: as it was loaded.
    asked: the teacher.
    shown: the teacher as students see it: itself, or what a cache has of it.
    learner: the network that learns.
    student: the student with its baseline, and how they are trained.
    examples: by loader, which of the training sequences it shows.
    prompts: by training row, the ids that the teacher is to go on from.
    grid: the cells of both arms; members are cell-major, then seeds.
    train_split: the training sequences, and what is to be learned of each.
    sample: one empty sequence, for shapes.
    devices: what to train on.
    across: how a teacher with another tokenizer is asked; None for the same one.
  """

  experiment: Experiment
  values: Values
  policy: policies.Policy
  texts: rows.Texts
  tokenizer: Any
  teacher: Pretrained
  asked: Teacher
  shown: Teacher
  learner: networks.Student
  student: TrainSpec | None
  examples: dict[str, np.ndarray]
  prompts: dict[int, list[int]]
  grid: list[dict[str, float]]
  train_split: Split
  sample: Any
  devices: list[jax.Device]
  across: Across | None = None
  cached: None = None
  streams_answers: bool = False


def build(experiment: Experiment) -> Plan:
  """Opens the texts, loads the networks and checks that they fit."""
  local = placement.choose(experiment.run.accelerator)
  partition = partitions.read_partition(
    experiment.computing.mesh, experiment.computing.shard_rules, local
  )
  parts = partitions.batch_parts(partition, local)
  policy = policies.read_policy(experiment)
  experiment = policies.with_objective(experiment, policy)
  values = _checked(experiment, parts)
  policies.check_policy(experiment, policy, values)
  where, length = (
    experiment.teacher.teacher_from,
    experiment.language.sequence_length,
  )
  teacher = language_models.open_language_model(
    "teacher_from", where, partition
  )
  classes = language_models.count_classes(
    f"--teacher_from={where}", teacher, length
  )
  learner = networks.make_student(experiment, values.student, teacher, classes)
  known = language_models.count_classes(
    f"student {learner.text}", learner.pretrained, length
  )
  how = experiment.language.across
  tokenizer = learner.pretrained.tokenizer or teacher.tokenizer
  width = min(known, tokenizer.vocabulary_size)
  width = width if how else min(classes, width)
  task = language_model(width)
  texts = rows.read(experiment.language, tokenizer)
  texts = policies.with_prompts(experiment, policy, tokenizer, texts)
  language_models.check_ids(texts.largest, task.width)
  split = trainee.split_of(task, texts.parts["train"].sequences)
  language_models.say_padding("student", known, width)
  beside = None
  if how:
    beside = across.read(experiment, texts, tokenizer, teacher)
    task = across.task_of(beside, width)
    images = across.with_teacher(split.images, beside, "train")
    split = split._replace(images=images)
    asked = across.teacher_of(experiment, beside, teacher)
  else:
    language_models.say_padding("teacher", classes, width)
    asked = live_teacher(
      teacher.network,
      teacher.variables,
      dtype=experiment.computing.teacher_dtype,
    )
  prompts = answers.prompts_of(
    experiment, policy.name, teacher, texts.parts["train"]
  )
  setup = Setup(
    experiment=experiment,
    values=values,
    policy=policy,
    texts=texts,
    tokenizer=tokenizer,
    teacher=teacher,
    asked=asked,
    shown=cached_texts.find(
      experiment, values, task, split.images, teacher, asked
    ),
    learner=learner,
    student=None,
    examples={"train": np.arange(len(split.labels))},
    prompts=prompts,
    grid=[{"learning_rate": rate} for rate in trainee.rates(experiment)],
    train_split=split,
    sample=language_models.sample(split.labels.shape[1] + 1),
    devices=local,
    across=beside,
  )
  student = trainee.make(setup, task)._replace(partition=partition)
  setup = setup._replace(student=student)
  if partition is not None:
    _check_partition(setup)
  return Plan(setup, experiment, local, partial(_inputs, setup))


def _check_partition(setup: Setup) -> None:
  """Refuses rules of `--shard_rules` that do not fit the run's networks."""
  student, shown = setup.student, setup.shown
  states = [
    capacity.state_shapes(
      student, arm, shown if arm.teacher else None, setup.sample
    )
    for arm in student.arms.values()
  ]
  rules = setup.experiment.computing.shard_rules
  teachers = [setup.teacher.variables]
  partitions.check_rules(student.partition, rules, states, teachers)


def _checked(experiment: Experiment, parts: int) -> Values:
  """Checks what needs neither texts nor networks.

  Args:
    parts: into how many parts devices cut a batch.
  """
  language_models.check_named(
    "lm",
    "texts and a trained teacher, --text=FILE and --teacher_from=FOLDER",
    text=experiment.language.text,
    teacher_from=experiment.teacher.teacher_from,
  )
  across.check(experiment)
  values = read_values(experiment)
  for objective in (values.objective, *values.alternatives.values()):
    methods.make_objective(objective, steps=1, examples=2, classes=2)
  settings = experiment.student
  read_optimizer(settings.optimizer, settings.schedule)(1)
  check_batch_size(experiment, settings.batch_size, parts)
  return values


def _inputs(setup: Setup) -> dict[str, Any]:
  """What a run that stopped must find again."""
  found = {
    "sha256 of the training texts": rows.fingerprint(
      setup.texts.parts["train"]
    ),
    "sha256 of the test texts": rows.fingerprint(setup.texts.parts["test"]),
    "sha256 of the teacher": storage.digest(setup.teacher.variables),
  }
  if setup.across:
    found["sha256 of what the teacher reads"] = storage.digest(
      setup.across.beside["train"]
    )
  if setup.experiment.teacher.teacher_cache:
    found["sha256 of the teacher cache"] = cached_texts.sha256_of(
      setup.experiment.teacher.teacher_cache
    )
  if setup.experiment.language.student_from:
    found["sha256 of the student"] = storage.digest(
      setup.learner.pretrained.variables
    )
  return found
