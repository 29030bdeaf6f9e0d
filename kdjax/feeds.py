"""Who is shown what: which examples, in which views, in which batches."""

from functools import partial

import numpy as np

from kdjax import data
from kdjax.config import Experiment
from kdjax.train.feed import Feed


def make_feed(
  examples: np.ndarray,
  labels: np.ndarray,
  view: str,
  batch_size: int,
  drop_remainder: bool = False,
  size: int | None = None,
  views: int | None = None,
  view_seed: int = 0,
) -> Feed:
  """Makes a feed of some examples.

  Args:
    examples: which examples of the training set.
    labels: (N,) int32 over the whole training set, -1 where hidden.
    view: spec of the augmentation.
    batch_size: examples a step, over all devices.
    drop_remainder: leave out ragged batches.
    size: side of what networks see, the middle of what the view shows; None is
      all of it.
    views: how many different views of each example there are; None for a new
      one in every step.
    view_seed: of these views.

  Returns:
    The feed.

  Raises:
    UserError: for an unknown view or an impossible batch size.
  """
  augment = data.make_view(view, size=size)
  if views is not None:
    augment = data.numbered(augment, view_seed)

  def seen(key, stored, positions):
    images = augment(key, data.to_float(stored), positions)
    return images if size is None else data.middle(images, size)

  def cut(seed: int, start: int, stop: int):
    return data.batches(
      examples,
      batch_size,
      seed=seed,
      start=start,
      stop=stop,
      drop_remainder=drop_remainder,
    )

  steps = data.steps_per_pass(len(examples), batch_size, drop_remainder)

  def turns(seed: int, indices: np.ndarray, start: int):
    return data.turns(
      indices,
      views=views,
      examples=len(labels),
      steps=steps,
      seed=seed,
      start=start,
    )

  numbers = None if views is None else turns
  return Feed(cut, steps, labels.astype(np.int32), seen, numbers)


def make_feeds(
  experiment: Experiment,
  labels: np.ndarray,
  examples: np.ndarray,
  *,
  drop_remainder: bool,
) -> dict[str, Feed]:
  """Makes what an experiment's students and twins are shown.

  Args:
    experiment: the settings.
    labels: (N,) int32 over the whole stored training set.
    examples: which of them the run may train on.
    drop_remainder: leave out the student's ragged batches.

  Returns:
    "transfer", what the student sees; "labelled", the part of it whose labels
    are known, where that is not all; "augmented", the labelled images in the
    teacher's views, where the student sees others.

  Raises:
    UserError: for unknown views or impossible subsets.
  """
  chosen, student = experiment.data, experiment.student
  kept = data.without_classes(labels, chosen.omit_classes)
  transfer = np.intersect1d(examples, kept)
  if chosen.images is not None:
    transfer = transfer[
      data.stratified(labels[transfer], chosen.images, seed=0)
    ]
  hidden = labels.copy()
  labelled = transfer
  if chosen.labels is not None:
    picked = data.stratified(labels[transfer], chosen.labels, seed=0)
    labelled = transfer[picked]
    hidden = np.where(np.isin(np.arange(len(labels)), labelled), labels, -1)
  make = partial(
    make_feed, batch_size=student.batch_size, size=chosen.crop_size
  )
  own = {"views": student.views, "view_seed": student.view_seed}
  feeds = {
    "transfer": make(
      transfer, hidden, student.augment, drop_remainder=drop_remainder, **own
    )
  }
  if chosen.labels is not None:
    feeds["labelled"] = make(labelled, hidden, student.augment, **own)
  if experiment.teacher.augment != student.augment:
    feeds["augmented"] = make(labelled, hidden, experiment.teacher.augment)
  return feeds
