"""From settings to a checked setup: whatever the user got wrong ends here.

Nothing is compiled and nothing is written before this is through.
"""

import dataclasses
from functools import partial

import numpy as np

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.data import Dataset, Split
from kdjax.methods import make_objective
from kdjax.models import ModelSpec, quantized, read_model
from kdjax.runner.config import Data, Experiment
from kdjax.runner.pipeline import (
  cached_teacher,
  capacity,
  defaults,
  headless,
  kinds,
  pretrained,
  starts,
  teacher_targets,
  validate_teachers,
)
from kdjax.runner.pipeline import dataset as sources
from kdjax.runner.pipeline.arms import (
  Cohort,
  assemble,
  looks_inside,
)
from kdjax.runner.pipeline.dataset import task_of
from kdjax.runner.pipeline.loaders import lengths_of, make_loader
from kdjax.runner.pipeline.partition import batch_parts, read_partition
from kdjax.runner.pipeline.pruning_settings import pruning_of
from kdjax.runner.pipeline.setup import (
  IntermediateTeacher,
  Setup,
  TrainSpec,
  empty_inputs,
)
from kdjax.runner.pipeline.tokens import encode_for
from kdjax.runner.pipeline.validate import (
  check_names,
  check_no_views,
  check_pieces,
  check_schedules,
  check_view,
  check_weights,
  members_apart,
)
from kdjax.runner.pipeline.values import (
  Values,
  is_cut,
  read_values,
  with_scheme,
  with_task,
)
from kdjax.train.arm import Arm
from kdjax.train.devices import placement as devices
from kdjax.train.dry_run import check_step
from kdjax.train.loop import side_by_side
from kdjax.train.optimizer import read_optimizer
from kdjax.train.precision import like, with_precision
from kdjax.train.schemes.scheme import OFFLINE, in_pieces


def prepare(experiment: Experiment, command: str = "distill") -> Setup:
  """Opens the data and builds every part of a command."""
  local = devices.choose(experiment.run.accelerator)
  experiment = with_scheme(experiment)
  partition = read_partition(
    experiment.computing.mesh, experiment.computing.shard_rules, local
  )
  check_names(experiment, local, batch_parts(partition, local))
  dataset = sources.open_stored(
    experiment.data, encode=partial(encode_for, experiment)
  )
  task = task_of(dataset)
  check_no_views(experiment, dataset)
  kinds.check_command(command, task)
  kinds.check_settings(experiment, task)
  teacher_targets.check(experiment, dataset)
  experiment = with_task(experiment, task)
  values = read_values(experiment)
  kinds.check_scheme(experiment.distillation.regime, values.scheme, task)
  kinds.check_mixing(
    task, augment=values.mixes, teacher_augment=values.teacher_mixes
  )
  train_split, transfer = _with_transfer(dataset, experiment.data)
  dataset = sources.crop_dataset(dataset, experiment.data.crop_size)
  capacity.check_batch(experiment, empty_inputs(dataset))
  examples, score_split = sources.hold_out(dataset, experiment.data.validation)
  experiment, values, saved_teacher, others, cached = _find_teachers(
    experiment, values, dataset
  )
  values = _knowing(values, dataset)
  lengths = lengths_of(experiment, dataset)
  start = starts.find(experiment, values, dataset)
  if start is not None:
    values = values._replace(student=start.model)
  gather = partial(
    assemble,
    values=values,
    labels=train_split.labels,
    examples=examples,
    classes=dataset.classes,
    task=task,
    transfer=transfer,
    weights=train_split.weight,
    lengths=lengths,
  )
  experiment, values = defaults.choose(
    experiment,
    gather(experiment),
    empty_inputs(dataset),
    task,
    dataset.classes,
    values,
    cached and cached.teacher(np.zeros(1, int)),
    begun={
      "teacher": saved_teacher is not None and saved_teacher.fine_tuned,
      "student": start is not None,
    },
    facts=_facts(dataset),
  )
  cohort = gather(experiment)
  check_pieces(experiment, cohort.arms)
  student = _student(experiment, values, dataset, cohort, local)
  student = student._replace(partition=partition)
  validate_teachers.check_specialists(
    experiment,
    classes=dataset.classes,
    inside=looks_inside(cohort.arms["student"]),
    resident=data.resident(dataset.train),
  )
  teacher, other_teachers, stages = None, (), ()
  if cached is None:
    teacher = _teacher(experiment, values, dataset, examples, local, lengths)
    if saved_teacher is not None and saved_teacher.fine_tuned:
      teacher = teacher._replace(variables={"teacher": saved_teacher.load()})
    teacher = teacher._replace(partition=partition)
    other_teachers = tuple(
      (_as_trained(teacher, one.model, dataset, local), one) for one in others
    )
    stages = _stages(
      experiment, values, cohort, teacher, other_teachers, dataset
    )
    headless.check(
      experiment,
      cohort.arms,
      student.network,
      teacher.network,
      empty_inputs(dataset),
      task,
    )
  setup = Setup(
    experiment=experiment,
    values=values,
    dataset=dataset,
    examples=examples,
    train_split=train_split,
    transfer=transfer,
    score_split=score_split,
    teacher=teacher,
    saved_teacher=saved_teacher,
    cached=cached,
    other_teachers=other_teachers,
    student=student,
    grids=cohort.grids,
    devices=local,
    stages=stages,
    start=start,
  )
  capacity.check_partition(setup)
  capacity.check_run(setup)
  return setup


def _with_transfer(
  dataset: Dataset, settings: Data
) -> tuple[Split, np.ndarray | None]:
  """Returns all stored images, and which of them are the transfer set."""
  if settings.transfer_dataset is None:
    return dataset.train, None
  train_split = data.open_transfer(
    settings.transfer_dataset,
    dataset,
    split=settings.transfer_split,
    labelled=settings.transfer_labels,
    data_dir=settings.data_dir,
    resident_bytes=settings.resident_megabytes << 20,
    background=settings.background,
    opened=sources.announce,
  )
  return train_split, np.arange(
    len(dataset.train.labels), len(train_split.labels)
  )


def _facts(dataset: Dataset) -> dict[str, int]:
  """What networks are told of the data that take it."""
  tokenizer = dataset.tokenizer
  return {} if tokenizer is None else {"vocabulary": tokenizer.vocabulary_size}


def _knowing(values: Values, dataset: Dataset) -> Values:
  """Writes into the networks how many tokens there are, where they ask for it."""
  facts = _facts(dataset)

  def one(model):
    if model is None or is_cut(model):
      return model
    stated = dict(model.spec.kwargs).get("vocabulary")
    count = facts.get("vocabulary", 0)
    if isinstance(stated, int) and stated < count:
      raise UserError(
        f"{model}: its vocabulary has {stated} tokens, the tokenizer {count}"
      )
    return model.knowing(**facts)

  return values._replace(
    teacher=one(values.teacher),
    student=one(values.student),
    chain=tuple(map(one, values.chain)),
  )


def _find_teachers(experiment: Experiment, values: Values, dataset: Dataset):
  """Returns the settings and values with the teacher's model, teachers, cache."""
  settings = experiment.teacher
  saved_teacher, *others = [
    pretrained.find(
      folder,
      settings.model,
      dataset,
      experiment.data.validation,
      settings.teacher_classes,
      settings.teacher_head,
    )
    for folder in values.teacher_folders or [None]
  ]
  if saved_teacher is not None:
    values = values._replace(teacher=saved_teacher.model)
  cached = cached_teacher.find(experiment, dataset, saved_teacher)
  if cached is not None:
    model = read_model(cached.manifest["teacher"]["model"])
    values = values._replace(teacher=model)
  if values.teacher is not None:
    settings = dataclasses.replace(settings, model=values.teacher.text)
    experiment = dataclasses.replace(experiment, teacher=settings)
  return experiment, values, saved_teacher, others, cached


def _teacher(
  experiment, values, dataset, examples, local, lengths=None
) -> TrainSpec:
  teacher = experiment.teacher
  loader = make_loader(
    examples,
    dataset.train.labels,
    teacher.augment,
    teacher.batch_size,
    size=experiment.data.crop_size,
    weights=dataset.train.weight,
    task=task_of(dataset),
    lengths=lengths,
  )
  check_view(teacher.augment, loader.view, dataset)
  count = experiment.teaching.teachers
  settings = {
    "seed": teacher.seed + np.arange(count),
    "learning_rate": np.full(count, teacher.learning_rate),
  }
  arm = Arm(
    "labels",
    lambda settings: make_objective("hard", task=task_of(dataset)),
    settings,
    scheme=in_pieces(OFFLINE, experiment.computing.accumulate_steps),
  )
  network = _network(experiment, values.teacher, dataset)
  optimizer_for = read_optimizer(teacher.optimizer, teacher.schedule)
  return TrainSpec(
    network,
    values.teacher,
    optimizer_for(loader.steps * teacher.epochs),
    {"teacher": arm},
    {"labels": loader},
    teacher.epochs,
    loader.steps * teacher.batch_size * count,
    data.plain_view(experiment.data.crop_size),
    side_by_side(network, empty_inputs(dataset), local[0].platform),
    task_of(dataset),
    most=experiment.computing.members_at_once,
    optimizer_for=optimizer_for,
  )


def _student(experiment, values, dataset, cohort: Cohort, local) -> TrainSpec:
  settings = experiment.student
  length = max(loader.steps for loader in cohort.loaders.values())
  members = sum(len(arm.settings["seed"]) for arm in cohort.arms.values())
  check_schedules(experiment, settings.epochs * length)
  check_weights(experiment, values, settings.epochs * length)
  views = (
    (settings.augment, cohort.arms["student"].loader),
    (experiment.controls.reference_augment, "reference"),
  )
  for view, loader in views:
    if loader in cohort.loaders:
      one = cohort.loaders[loader]
      numbered = one.view_numbers is not None
      check_view(view, one.view, dataset, numbered=numbered)
  teacher_view = cohort.loaders[cohort.arms["student"].loader].teacher_view
  if teacher_view is not None:
    check_view(experiment.distillation.teacher_view, teacher_view, dataset)
  small = experiment.compression
  quantized.check(
    values.student.make(classes=dataset.classes),
    small.quantization,
    empty_inputs(dataset),
  )
  network = _network(experiment, values.student, dataset, small.quantization)
  optimizer_for = read_optimizer(settings.optimizer, settings.schedule)
  steps = settings.epochs * length
  return TrainSpec(
    network,
    values.student,
    optimizer_for(steps, pruning_of(small, steps)),
    {
      name: arm._replace(
        scheme=in_pieces(arm.scheme, experiment.computing.accumulate_steps)
      )
      for name, arm in cohort.arms.items()
    },
    cohort.loaders,
    settings.epochs,
    length * members * settings.batch_size,
    data.plain_view(experiment.data.crop_size),
    side_by_side(network, empty_inputs(dataset), local[0].platform),
    task_of(dataset),
    most=experiment.computing.members_at_once,
    apart=members_apart(experiment, cohort.arms, local),
    optimizer_for=optimizer_for,
  )


def _network(
  experiment, model: ModelSpec, dataset, quantization=quantized.NONE
):
  settings = experiment.computing
  network = model.make(classes=dataset.classes)
  return with_precision(
    quantized.learns_in(network, quantization),
    dtype=settings.compute_dtype,
    remat=settings.remat,
  )


def _as_trained(
  teacher: TrainSpec, model: ModelSpec, dataset, local
) -> TrainSpec:
  """Another network that was trained before, measured as the teacher is."""
  network = like(teacher.network, model.make(classes=dataset.classes))
  return teacher._replace(
    network=network,
    model=model,
    together=side_by_side(network, empty_inputs(dataset), local[0].platform),
  )


def _stages(
  experiment, values, cohort, teacher, other_teachers, dataset
) -> tuple[IntermediateTeacher, ...]:
  """Makes the stages; everybody can learn from whoever comes before."""
  arm = cohort.arms["student"]
  method = arm.method({key: value[0] for key, value in arm.settings.items()})
  sample, task = empty_inputs(dataset), task_of(dataset)
  stages = tuple(
    IntermediateTeacher(name, model, model.make(classes=dataset.classes))
    for name, model in validate_teachers.stage_models(
      experiment, values
    ).items()
  )
  student = values.student.make(classes=dataset.classes)
  students = [*(one.network for one in stages), student]
  for other, _ in other_teachers:
    check_step(students[0], other.network, method, sample, task)
  if stages:
    before = [teacher.network, *students[:-1]]
    for teacher_network, student in zip(before, students, strict=True):
      check_step(student, teacher_network, method, sample, task)
  return stages
