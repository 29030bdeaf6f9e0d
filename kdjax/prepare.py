"""From settings to checked parts: whatever the user got wrong ends here.

Nothing is compiled and nothing is written before this is through.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax import (
  cached_teacher,
  capacity,
  data,
  headless,
  models,
  pairs,
  sources,
  teachers,
  teaching,
)
from kdjax.arms import Cohort, assemble, looks_inside, with_regime
from kdjax.checks import (
  check_names,
  check_pieces,
  check_schedules,
  check_swept,
  check_view,
  check_weights,
  members_apart,
)
from kdjax.compression import prune, quantize
from kdjax.config import Data, Experiment
from kdjax.data import Dataset, Split
from kdjax.data.teacher_cache import TeacherCache
from kdjax.errors import UserError
from kdjax.feeds import make_feed
from kdjax.methods import make_objective
from kdjax.train import devices
from kdjax.train.computed import computed, like
from kdjax.train.feed import Arm, Feed
from kdjax.train.learner import ALONE, in_pieces
from kdjax.train.loop import side_by_side
from kdjax.train.optimizer import make_optimizer
from kdjax.train.trial import try_step


class Trainee(NamedTuple):
  """A network to be trained, and how.

  Attributes:
    network: the linen module.
    model: its spec.
    optimizer: made for the whole length of the training.
    arms: who learns from what.
    feeds: what is shown.
    epochs: passes over the largest feed.
    images: how many an epoch shows to all members together, padding included.
    show: stored images -> what the network sees of them when it is measured.
    together: whether members train side by side or one after the other.
    most: members that a device trains, or asks, side by side; None for all.
    apart: whether each device has members of its own.
  """

  network: nn.Module
  model: str
  optimizer: optax.GradientTransformation
  arms: dict[str, Arm]
  feeds: dict[str, Feed]
  epochs: int
  images: int
  show: Callable[[jax.Array], jax.Array]
  together: bool
  most: int | None = None
  apart: bool = False

  @property
  def members(self) -> int:
    """Networks to be trained, those of all arms."""
    return sum(len(arm.settings["seed"]) for arm in self.arms.values())


class Prepared(NamedTuple):
  """All that a run is made of.

  Attributes:
    experiment: the settings, with the networks that were left open.
    dataset: the data set as stored; its image shape is what networks see.
    examples: which examples of its training set the run may train on.
    shown: all that networks may be trained on: the training set, and behind it
      the transfer set.
    transfer: which of these are the transfer set; None where there is none.
    scored: the images that count: the test set, or held-out training images.
    teacher: the teacher, to be trained or already; None where it is cached.
    found: the teacher that was trained before; None if it is to be trained.
    cached: what a teacher made of the training images, in its place; or None.
    colleagues: other teachers that were trained before.
    student: the student with its twin and controls.
    grids: by arm, the cells of its grid.
    devices: what to run on.
  """

  experiment: Experiment
  dataset: Dataset
  examples: np.ndarray
  shown: Split
  transfer: np.ndarray | None
  scored: Split
  teacher: Trainee | None
  found: teachers.Found | None
  cached: TeacherCache | None
  colleagues: tuple[tuple[Trainee, teachers.Found], ...]
  student: Trainee
  grids: dict[str, list[dict[str, float]]]
  devices: list[jax.Device]

  @property
  def streams_answers(self) -> bool:
    """Whether a cached teacher is read batch by batch, not kept on devices."""
    most = self.experiment.data.resident_megabytes << 20
    return self.cached is not None and self.cached.nbytes > most

  @property
  def sample(self) -> jax.Array:
    """One empty image, (1, H, W, C) float32, for shapes."""
    return _sample(self.dataset)


def prepare(experiment: Experiment) -> Prepared:
  """Opens the data and builds every part.

  Args:
    experiment: all settings.

  Returns:
    The parts.

  Raises:
    UserError: for whatever the user got wrong.
    StorageError: for a damaged teacher.
  """
  local = devices.choose(experiment.run.accelerator)
  experiment = with_regime(experiment)
  check_swept(experiment)
  check_names(experiment, local)
  dataset = sources.open_stored(experiment.data)
  shown, transfer = _with_transfer(dataset, experiment.data)
  dataset = sources.cropped(dataset, experiment.data.crop_size)
  capacity.check_batch(experiment, dataset.image_shape)
  examples, scored = sources.hold_out(dataset, experiment.data.validation)
  experiment, found, others, cached = _find_teachers(experiment, dataset)
  gather = partial(
    assemble,
    labels=shown.labels,
    examples=examples,
    classes=dataset.classes,
    transfer=transfer,
  )
  experiment = pairs.choose(
    experiment,
    gather(experiment),
    _sample(dataset),
    dataset.classes,
    cached and cached_teacher.as_teacher(cached, np.zeros(1, int)),
  )
  cohort = gather(experiment)
  check_pieces(experiment, cohort.arms)
  student = _student(experiment, dataset, cohort, local)
  teaching.check_specialists(
    experiment,
    classes=dataset.classes,
    inside=looks_inside(cohort.arms["student"]),
    resident=data.resident(dataset.train),
  )
  teacher, colleagues = None, ()
  if cached is None:
    teacher = _teacher(experiment, dataset, examples, local)
    colleagues = tuple(
      (_as_trained(teacher, one.model, dataset, local), one) for one in others
    )
    _check_stages(experiment, cohort, teacher, colleagues, dataset)
    headless.check(
      experiment,
      cohort.arms,
      student.network,
      teacher.network,
      _sample(dataset),
    )
  parts = Prepared(
    experiment=experiment,
    dataset=dataset,
    examples=examples,
    shown=shown,
    transfer=transfer,
    scored=scored,
    teacher=teacher,
    found=found,
    cached=cached,
    colleagues=colleagues,
    student=student,
    grids=cohort.grids,
    devices=local,
  )
  capacity.check_run(parts)
  return parts


def _with_transfer(
  dataset: Dataset, chosen: Data
) -> tuple[Split, np.ndarray | None]:
  """Returns all stored images, and which of them are the transfer set."""
  if chosen.transfer_dataset is None:
    if chosen.transfer_images is not None:
      raise UserError(
        f"--transfer_images={chosen.transfer_images}: there is no"
        " --transfer_dataset; --images takes a part of the training images"
      )
    return dataset.train, None
  shown = data.open_transfer(
    chosen.transfer_dataset,
    dataset,
    split=chosen.transfer_split,
    labelled=chosen.transfer_labels,
    data_dir=chosen.data_dir,
    resident_bytes=chosen.resident_megabytes << 20,
    background=chosen.background,
    opened=sources.announce,
  )
  return shown, np.arange(len(dataset.train.labels), len(shown.labels))


def _find_teachers(experiment: Experiment, dataset: Dataset):
  """Returns the settings with the teacher's model, the teachers and the cache."""
  chosen = experiment.teacher
  found, *others = [
    teachers.find(
      given,
      chosen.model,
      dataset,
      experiment.data.validation,
      chosen.teacher_classes,
      chosen.teacher_head,
    )
    for given in teaching.teacher_folders(experiment) or [None]
  ]
  if found is not None:
    chosen = dataclasses.replace(chosen, model=found.model)
    experiment = dataclasses.replace(experiment, teacher=chosen)
  cached = cached_teacher.find(experiment, dataset, found)
  if cached is not None:
    chosen = dataclasses.replace(
      chosen, model=cached.manifest["teacher"]["model"]
    )
    experiment = dataclasses.replace(experiment, teacher=chosen)
  return experiment, found, others, cached


def _sample(dataset: Dataset) -> jax.Array:
  return jnp.zeros((1, *dataset.image_shape), jnp.float32)


def _teacher(experiment, dataset, examples, local) -> Trainee:
  chosen = experiment.teacher
  feed = make_feed(
    examples,
    dataset.train.labels,
    chosen.augment,
    chosen.batch_size,
    size=experiment.data.crop_size,
  )
  check_view(chosen.augment, feed.view, dataset)
  count = experiment.teaching.teachers
  settings = {
    "seed": chosen.seed + np.arange(count),
    "learning_rate": np.full(count, chosen.learning_rate),
  }
  arm = Arm(
    "labels",
    lambda settings: make_objective("hard"),
    settings,
    learner=in_pieces(ALONE, experiment.computing.accumulate_steps),
  )
  network = _network(experiment, chosen.model, dataset)
  return Trainee(
    network,
    chosen.model,
    make_optimizer(
      chosen.optimizer, chosen.schedule, feed.steps * chosen.epochs
    ),
    {"teacher": arm},
    {"labels": feed},
    chosen.epochs,
    feed.steps * chosen.batch_size * count,
    data.plain_view(experiment.data.crop_size),
    side_by_side(network, _sample(dataset), local[0].platform),
    most=experiment.computing.members_at_once,
  )


def _student(experiment, dataset, cohort: Cohort, local) -> Trainee:
  chosen = experiment.student
  length = max(feed.steps for feed in cohort.feeds.values())
  members = sum(len(arm.settings["seed"]) for arm in cohort.arms.values())
  check_schedules(experiment, chosen.epochs * length)
  check_weights(experiment, chosen.epochs * length)
  shown = (
    (chosen.augment, cohort.arms["student"].feed),
    (experiment.controls.reference_augment, "reference"),
  )
  for view, feed in shown:
    if feed in cohort.feeds:
      one = cohort.feeds[feed]
      numbered = one.turns is not None
      check_view(view, one.view, dataset, numbered=numbered)
  asked = cohort.feeds[cohort.arms["student"].feed].teacher_view
  if asked is not None:
    check_view(experiment.distillation.teacher_view, asked, dataset)
  small = experiment.compression
  quantize.check(
    models.make_model(chosen.model, classes=dataset.classes),
    small.quantization,
    _sample(dataset),
  )
  network = _network(experiment, chosen.model, dataset, small.quantization)
  return Trainee(
    network,
    chosen.model,
    make_optimizer(
      chosen.optimizer,
      chosen.schedule,
      chosen.epochs * length,
      prune.planned(small, chosen.epochs * length),
    ),
    {
      name: arm._replace(
        learner=in_pieces(arm.learner, experiment.computing.accumulate_steps)
      )
      for name, arm in cohort.arms.items()
    },
    cohort.feeds,
    chosen.epochs,
    length * members * chosen.batch_size,
    data.plain_view(experiment.data.crop_size),
    side_by_side(network, _sample(dataset), local[0].platform),
    most=experiment.computing.members_at_once,
    apart=members_apart(experiment, cohort.arms, local),
  )


def _network(experiment, model: str, dataset, quantization=quantize.NONE):
  chosen = experiment.computing
  network = models.make_model(model, classes=dataset.classes)
  return computed(
    quantize.learns_in(network, quantization),
    dtype=chosen.compute_dtype,
    remat=chosen.remat,
  )


def _as_trained(teacher: Trainee, model: str, dataset, local) -> Trainee:
  """Another network that was trained before, measured as the teacher is."""
  network = like(
    teacher.network, models.make_model(model, classes=dataset.classes)
  )
  return teacher._replace(
    network=network,
    model=model,
    together=side_by_side(network, _sample(dataset), local[0].platform),
  )


def _check_stages(experiment, cohort, teacher, colleagues, dataset) -> None:
  """Checks that everybody can learn from whoever comes before."""
  arm = cohort.arms["student"]
  method = arm.method({key: value[0] for key, value in arm.settings.items()})
  sample = _sample(dataset)
  stages = [*teaching.stage_models(experiment).values()]
  learners = [
    models.make_model(model, classes=dataset.classes)
    for model in (*stages, experiment.student.model)
  ]
  for colleague, _ in colleagues:
    try_step(learners[0], colleague.network, method, sample)
  if stages:
    before = [teacher.network, *learners[:-1]]
    for lecturer, learner in zip(before, learners, strict=True):
      try_step(learner, lecturer, method, sample)
