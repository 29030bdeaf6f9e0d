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
from kdjax.runner.jobs.lm import (
  across,
  answers,
  networks,
  policies,
  routed,
  served,
  trainee,
)
from kdjax.runner.jobs.lm.teachers import Teachers, open_teachers
from kdjax.runner.jobs.lm.tokenization import Tokenization, one_tokenizer
from kdjax.runner.pipeline import cached_texts, capacity, language_models
from kdjax.runner.pipeline import partition as partitions
from kdjax.runner.pipeline import texts as rows
from kdjax.runner.pipeline.setup import TrainSpec
from kdjax.runner.pipeline.validate import check_batch_size
from kdjax.runner.pipeline.values import Values, read_values
from kdjax.train.devices import placement
from kdjax.train.devices.rules import Partition
from kdjax.train.optimizer import read_optimizer


class Setup(NamedTuple):
  """All that a run is made of; `fit` reads what it has in common with others.

  Attributes:
    experiment: the settings.
    values: what the texts among them mean.
    policy: whose texts the student learns from.
    texts: what is read, by split.
    tokenizer: the student's.
    teachers: who teaches.
    tokenization: what follows from how student and teacher read the texts.
    training_teacher: what answers to the training's batches: the teacher, or what
      a cache has of it.
    student_model: the network that learns, as it begins.
    student: the student with its baseline, and how they are trained.
    examples: by loader, which of the training sequences it shows.
    prompts: by training row, the ids that the teacher is to go on from.
    grid: the cells of both arms; members are cell-major, then seeds.
    train_split: the training sequences, and what is to be learned of each.
    sample: one empty sequence, for shapes.
    devices: what to train on.
    partition: how networks are cut over a mesh; None for none.
  """

  experiment: Experiment
  values: Values
  policy: policies.Policy
  texts: rows.Texts
  tokenizer: Any
  teachers: Teachers
  tokenization: Tokenization
  training_teacher: Teacher
  student_model: networks.StudentModel
  student: TrainSpec | None
  examples: dict[str, np.ndarray]
  prompts: dict[int, list[int]]
  grid: list[dict[str, float]]
  train_split: Split
  sample: Any
  devices: list[jax.Device]
  partition: Partition | None
  cached: None = None
  streams_answers: bool = False

  @property
  def teacher(self) -> Pretrained:
    """The teacher, or all of them as one."""
    return self.teachers.together


def build(experiment: Experiment) -> Plan:
  """Opens the texts, loads the networks and checks that they fit."""
  devices = placement.choose(experiment.run.accelerator)
  partition = partitions.read_partition(
    experiment.computing.mesh, experiment.computing.shard_rules, devices
  )
  policy = policies.read_policy(experiment)
  experiment = served.with_default(experiment, policy)
  experiment = policies.with_objective(experiment, policy)
  values = _read_values(experiment, partitions.batch_parts(partition, devices))
  across.check(experiment, policy)
  policies.check_policy(experiment, policy, values)
  served.check(experiment, policy, values)
  if experiment.computing.preflight:
    folders = values.teacher_folders
    capacity.check_teachers(experiment, folders, devices, partition)
  teachers = open_teachers(experiment, values, partition)
  student_model = networks.make_student(
    experiment, values.student, teachers.members[0], teachers.classes
  )._replace(lora=values.lora, quantization=experiment.compression.quantization)
  networks.check_bits(experiment, student_model)
  teachers = served.with_tokenizer(teachers, student_model)
  teacher = teachers.together
  tokenizer = student_model.pretrained.tokenizer or teacher.tokenizer
  texts = rows.read(experiment.language, tokenizer)
  if teachers.route is not None:
    routed.check(experiment, policy, teachers.route, texts)
    texts = routed.by_teacher(teachers.route, texts, tokenizer.pad)
  texts = policies.with_prompts(experiment, policy, tokenizer, texts)
  student_model = networks.cut_by_texts(
    student_model, texts.parts["train"].sequences
  )
  tokenization = _tokenization(
    experiment, values, texts, tokenizer, teachers, student_model, policy
  )
  train_split = trainee.split_of(
    tokenization.task,
    {**texts.parts["train"].sequences, **tokenization.teacher_inputs},
  )
  setup = Setup(
    experiment=experiment,
    values=values,
    policy=policy,
    texts=texts,
    tokenizer=tokenizer,
    teachers=teachers,
    tokenization=tokenization,
    training_teacher=_training_teacher(
      experiment, values, tokenization, train_split, teacher, tokenizer
    ),
    student_model=student_model,
    student=None,
    examples={"train": np.arange(len(train_split.labels))},
    prompts=answers.prompts_of(
      experiment, policy.name, teachers, texts.parts["train"]
    ),
    grid=[{"learning_rate": rate} for rate in trainee.rates(experiment)],
    train_split=train_split,
    sample=language_models.sample(train_split.labels.shape[1] + 1),
    devices=devices,
    partition=partition,
  )
  setup = setup._replace(student=trainee.make(setup))
  if partition is not None:
    _check_partition(setup)
  if experiment.computing.preflight:
    capacity.check_networks(
      "student",
      setup.student._replace(model=student_model.text),
      setup.training_teacher,
      setup.sample,
      devices,
      capacity.adviser(experiment, devices),
    )
  return Plan(setup, experiment, devices, partial(_fingerprints, setup))


def _read_values(experiment: Experiment, batch_parts: int) -> Values:
  """Reads and checks what needs neither texts nor networks.

  Args:
    batch_parts: into how many parts devices cut a batch.
  """
  language_models.check_named(
    "lm",
    "texts and a trained teacher, --text=FILE and --teacher_from=FOLDER",
    text=experiment.language.text,
    teacher_from=experiment.teacher.teacher_from,
  )
  values = read_values(experiment)
  for objective in (values.objective, *values.alternatives.values()):
    methods.make_objective(objective, steps=1, examples=2, classes=2)
  settings = experiment.student
  read_optimizer(settings.optimizer, settings.schedule)(1)
  check_batch_size(experiment, settings.batch_size, batch_parts)
  return values


def _tokenization(
  experiment: Experiment,
  values: Values,
  texts: rows.Texts,
  tokenizer: Any,
  teachers: Teachers,
  student: networks.StudentModel,
  policy: policies.Policy,
) -> Tokenization:
  """How student and teachers read the texts, whose tokens all must know.

  Args:
    tokenizer: the student's.
  """
  student_classes = language_models.count_classes(
    f"student {student.text}",
    student.pretrained,
    experiment.language.sequence_length,
  )
  width = min(student_classes, tokenizer.vocabulary_size)
  if not experiment.language.across and teachers.classes:
    width = min(width, teachers.classes)
  language_models.check_ids(texts.largest, width)
  language_models.say_padding("student", student_classes, width)
  if experiment.language.across:
    return across.two_tokenizers(
      experiment,
      texts,
      teachers.together,
      tokenizer=tokenizer,
      width=width,
      writes=policy.writes,
    )
  if teachers.route is not None:
    return routed.one_for_each_row(
      experiment, policy, texts, teachers, width=width
    )
  if teachers.together.network is None:
    return served.open_served(experiment, values, texts, width)
  return one_tokenizer(experiment, texts, teachers, width=width)


def _training_teacher(
  experiment: Experiment,
  values: Values,
  tokenization: Tokenization,
  train_split: Split,
  pretrained: Pretrained,
  tokenizer: Any,
) -> Teacher:
  """The teacher of the training's batches: itself, or a cache of it.

  Args:
    tokenizer: the student's.
  """
  if not experiment.teacher.teacher_cache:
    return tokenization.teacher
  sequences, student = train_split.images, None
  if not tokenization.same_ids:
    sequences = tokenization.views["teacher_view"](None, sequences, None)
    student = tokenizer
  return tokenization.of_cache(
    cached_texts.find(
      experiment,
      values,
      tokenization.teacher_task,
      sequences,
      pretrained,
      student=student,
    )
  )


def _check_partition(setup: Setup) -> None:
  """Refuses rules of `--shard_rules` that do not fit the run's networks."""
  states = [
    capacity.state_shapes(
      setup.student,
      arm,
      setup.training_teacher if arm.teacher else None,
      setup.sample,
    )
    for arm in setup.student.arms.values()
  ]
  rules = setup.experiment.computing.shard_rules
  teachers = [setup.teacher.variables]
  partitions.check_rules(setup.partition, rules, states, teachers)


def _fingerprints(setup: Setup) -> dict[str, Any]:
  """What a run that stopped must find again."""
  experiment = setup.experiment
  fingerprints = {
    "sha256 of the training texts": rows.fingerprint(
      setup.texts.parts["train"]
    ),
    "sha256 of the test texts": rows.fingerprint(setup.texts.parts["test"]),
    "sha256 of the teacher": storage.digest(setup.teacher.variables),
    **setup.tokenization.fingerprints,
  }
  if experiment.teacher.teacher_cache:
    fingerprints["sha256 of the teacher cache"] = cached_texts.sha256_of(
      experiment.teacher.teacher_cache
    )
  if experiment.language.student_from:
    fingerprints["sha256 of the student"] = storage.digest(
      setup.student_model.pretrained.variables
    )
  return fingerprints
