"""Who is shown what: which examples, in which views, in which batches."""

from functools import partial

import numpy as np

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.data import Dataset
from kdjax.data.length_groups import (
  batches_by_length,
  group_lengths,
  steps_by_length,
)
from kdjax.runner.config import Experiment
from kdjax.train.loader import Loader

# Classes are shown as often as they are there.
INSTANCE = "instance"
# The teacher sees what the student sees.
SAME = "same"


def make_loader(
  examples: np.ndarray,
  labels: np.ndarray,
  view: str,
  batch_size: int,
  drop_remainder: bool = False,
  size: int | None = None,
  teacher_view: str = SAME,
  views: int | None = None,
  view_seed: int = 0,
  weights: np.ndarray | None = None,
  class_sampling: str = INSTANCE,
  task: Task | None = None,
  lengths: np.ndarray | None = None,
) -> Loader:
  """Makes a loader of some examples.

  Args:
    labels: (N, ...) over all stored images, -1 where hidden.
    size: side of what networks see, the middle of what the view shows; None is
      all of it.
    teacher_view: spec of what the teacher sees instead; "same" for the same.
    views: how many different views of each example there are; None for a new
      one in every step.
    weights: (N,) float32 over all stored images, how much each counts; None where
      all count alike.
    class_sampling: how often each class is shown, see `data.class_batches`.
    task: what the labels mean; one of the classes by default.
    lengths: see `Loader.lengths`.
  """
  view, mixing = data.split_mixing(view)
  numbered = None if views is None else view_seed
  view_function = _view_function(view, size, numbered)
  target_view = None
  if task is not None and task.border_target is not None:
    target_view = _target_view(view, size, numbered, task.border_target)
  other = None
  if teacher_view != SAME:
    other, mixes = data.split_mixing(teacher_view)
    if mixes:
      raise UserError(
        f"--teacher_view={teacher_view}: what it mixes would be nothing that the"
        " student sees; mixing is for --augment"
      )
    other = _view_function(other, size)

  loader = with_examples(
    Loader(
      None,
      0,
      None,
      view_function,
      mixing,
      other,
      weights=weights,
      target_view=target_view,
      redraw=task and task.redraw,
    ),
    examples,
    labels,
    batch_size,
    drop_remainder,
    class_sampling,
    lengths,
  )
  if views is None:
    return loader

  def view_numbers(seed: int, indices: np.ndarray, start: int):
    return data.view_numbers(
      indices,
      views=views,
      examples=len(labels),
      steps=loader.steps,
      seed=seed,
      start=start,
    )

  return loader._replace(view_numbers=view_numbers)


def with_examples(
  loader: Loader,
  examples: np.ndarray,
  labels: np.ndarray,
  batch_size: int,
  drop_remainder: bool = False,
  class_sampling: str = INSTANCE,
  lengths: np.ndarray | None = None,
) -> Loader:
  """Shows other examples in the views of a loader."""

  def batches(seed: int, start: int, stop: int):
    options = {
      "seed": seed,
      "start": start,
      "stop": stop,
      "drop_remainder": drop_remainder,
    }
    if lengths is not None:
      return batches_by_length(examples, lengths, batch_size, **options)
    if class_sampling == INSTANCE:
      return data.batches(examples, batch_size, **options)
    return data.class_batches(
      examples,
      labels[examples],
      batch_size,
      sampling=class_sampling,
      **options,
    )

  steps = data.steps_per_pass(len(examples), batch_size, drop_remainder)
  if lengths is not None:
    steps = steps_by_length(examples, lengths, batch_size, drop_remainder)
  return loader._replace(
    batches=batches,
    steps=steps,
    lengths=lengths,
    targets=labels if _is_kept(labels) else labels.astype(np.int32),
  )


def _is_kept(labels: np.ndarray) -> bool:
  """Whether labels stay in their type: numbers, and maps, which are large."""
  return labels.dtype.kind == "f" or labels.ndim == 3


def _view_function(
  view: str, size: int | None, view_seed: int | None = None
) -> data.ViewFunction:
  """Makes a view of stored images, of what networks see of them."""
  augment = data.make_view(view, size=size)
  if view_seed is not None:
    augment = data.view_by_number(augment, view_seed)

  def show(key, stored_images, positions):
    images = augment(key, data.to_float(stored_images), positions)
    return images if size is None else data.middle(images, size)

  return show


def _target_view(view: str, size: int | None, view_seed: int | None, border):
  """Makes what moves maps of labels as the images move."""
  move = data.make_target_view(view, border=border, size=size)
  if view_seed is not None:
    move = data.view_by_number(move, view_seed)

  def show(key, labels, positions):
    labels = move(key, labels, positions)
    return (
      labels if size is None else data.middle(labels[..., None], size)[..., 0]
    )

  return show


def make_loaders(
  experiment: Experiment,
  labels: np.ndarray,
  examples: np.ndarray,
  *,
  drop_remainder: bool,
  transfer: np.ndarray | None = None,
  strata: np.ndarray | None = None,
  weights: np.ndarray | None = None,
  task: Task | None = None,
  lengths: np.ndarray | None = None,
) -> dict[str, Loader]:
  """Makes what an experiment's students and baselines are shown.

  Args:
    labels: (N,) int32 over all stored images, -1 where hidden from everyone.
    transfer: which of them are a transfer set of the student's own; None where
      it learns on the training images.
    strata: (N,) int, of which subsets have as many of each as can be; the labels
      by default.
    weights: (N,) how much each counts; None where all count alike.
    task: what the labels mean; one of the classes by default.
    lengths: see `Loader.lengths`.
  """
  settings, student = experiment.data, experiment.student
  strata = labels if strata is None else strata
  student_examples, with_labels = training_images(settings, strata, examples)
  examples_shown = (
    student_examples
    if transfer is None
    else _transfer_images(settings, strata, transfer)
  )
  label_places = (
    with_labels if transfer is None else np.union1d(with_labels, transfer)
  )
  hidden = np.setdiff1d(np.arange(len(labels)), label_places)
  # Maps are large: they are copied only where something is hidden.
  labels_shown = labels.copy() if len(hidden) else labels
  labels_shown[hidden] = np.nan if labels.dtype.kind == "f" else -1
  if settings.class_sampling != INSTANCE:
    _check_sampling(settings, labels_shown, examples_shown)
  make = partial(
    make_loader,
    labels=labels_shown,
    batch_size=student.batch_size,
    size=settings.crop_size,
    weights=weights,
    class_sampling=settings.class_sampling,
    task=task,
    lengths=lengths,
  )
  view_settings = {"views": student.views, "view_seed": student.view_seed}
  loaders = {
    "transfer": make(
      examples_shown,
      view=student.augment,
      drop_remainder=drop_remainder,
      teacher_view=experiment.distillation.teacher_view,
      **view_settings,
    )
  }
  if settings.labels is not None or transfer is not None:
    loaders["labelled"] = make(
      with_labels, view=student.augment, **view_settings
    )
  if experiment.teacher.augment != student.augment:
    loaders["augmented"] = make(with_labels, view=experiment.teacher.augment)
  view = experiment.controls.reference_augment or student.augment
  apart = view != student.augment or transfer is not None
  if apart or experiment.distillation.teacher_view != SAME:
    loaders["reference"] = make(
      student_examples, view=view, drop_remainder=drop_remainder
    )
  return loaders


def _check_sampling(settings, labels_shown, examples_shown) -> None:
  """Refuses to show classes alike that are not known."""
  unknown = int((labels_shown[examples_shown] < 0).sum())
  if unknown:
    raise UserError(
      f"--class_sampling={settings.class_sampling}: of {unknown} of"
      f" {len(examples_shown)} images that the student learns from the class is not"
      " known; leave out --labels, and a transfer set without labels"
    )


def lengths_of(experiment: Experiment, dataset: Dataset) -> np.ndarray | None:
  """Says to how many tokens each text's batch is cut, where they are grouped."""
  settings = experiment.data
  if not settings.length_groups:
    return None
  if dataset.tokenizer is None:
    raise UserError(
      f"--length_groups: it is for texts, and the inputs of {dataset.name} are"
      f" {dataset.noun}s"
    )
  if settings.class_sampling != INSTANCE:
    raise UserError(
      f"--length_groups: it shows each text once an epoch, and"
      f" --class_sampling={settings.class_sampling} does not"
    )
  sizes = experiment.student.batch_size, experiment.teacher.batch_size
  return group_lengths(dataset.train.images, max(sizes))


def training_images(
  settings, strata, examples
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the training images that an arm may see, and the labelled ones."""
  arm_examples = examples[
    data.without_classes(strata[examples], settings.omit_classes)
  ]
  if settings.images is not None:
    arm_examples = arm_examples[
      data.stratified(strata[arm_examples], settings.images, seed=0)
    ]
  if settings.labels is None:
    return arm_examples, arm_examples
  return arm_examples, arm_examples[
    data.stratified(strata[arm_examples], settings.labels, seed=0)
  ]


def _transfer_images(settings, strata, transfer) -> np.ndarray:
  """Returns the images of the transfer set that the student sees."""
  places = transfer[~np.isin(strata[transfer], settings.omit_classes)]
  if settings.transfer_images is None:
    return places
  return places[
    data.stratified(strata[places], settings.transfer_images, seed=0)
  ]
