"""Who learns from what in an experiment: the student, its twin, the controls.

All arms have the student's architecture, seeds and number of steps. An arm's
members are the cells of its grid (one cell, but in a sweep) times the seeds.
"""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from kdjax import data, methods
from kdjax.config import Experiment
from kdjax.method import Method
from kdjax.train.feed import Arm, Feed

# What an arm's settings are called among the experiment's. A control without a
# rate of its own takes the student's.
SETTINGS = {
  "student": {
    "learning_rate": ("student", "learning_rate"),
    "temperature": ("distillation", "temperature"),
    "hard_weight": ("distillation", "hard_weight"),
    "method_weight": ("distillation", "method_weight"),
  },
  "baseline": {"learning_rate": ("controls", "baseline_learning_rate")},
  "label_smoothing": {
    "learning_rate": ("controls", "smoothing_learning_rate"),
    "label_smoothing": ("controls", "label_smoothing"),
  },
  "augmented": {"learning_rate": ("controls", "augmented_learning_rate")},
}


class Cohort(NamedTuple):
  """All that trains side by side.

  Attributes:
    arms: by name; "student" and "baseline" always.
    feeds: what the arms are shown, by name.
    grids: by arm, the cells of its grid; members are cell-major, then seeds.
  """

  arms: dict[str, Arm]
  feeds: dict[str, Feed]
  grids: dict[str, list[dict[str, float]]]


def assemble(
  experiment: Experiment,
  labels: np.ndarray,
  examples: np.ndarray,
  *,
  classes: int,
  drop_remainder: bool | None = None,
) -> Cohort:
  """Makes the arms and feeds that an experiment asks for.

  Args:
    experiment: the settings.
    labels: (N,) int32 over the whole stored training set.
    examples: which of them the run may train on.
    classes: number of classes.
    drop_remainder: whether to leave out ragged batches; by default where the
      student's method relates the examples of a batch.

  Returns:
    The cohort.

  Raises:
    UserError: for unknown methods or views, impossible weights or subsets.
  """
  feeds = _feeds(experiment, labels, examples, drop_remainder)
  kinds = ["student", "baseline"]
  if experiment.controls.controls:
    kinds.append("label_smoothing")
    if "augmented" in feeds:
      kinds.append("augmented")
  grids = {kind: _grid(experiment, kind) for kind in kinds}
  seeds = np.arange(experiment.student.seeds)
  length = max(feeds[_feed_of(kind, feeds)].steps for kind in kinds)
  known = {
    "steps": experiment.student.epochs * length,
    "examples": len(labels),
    "classes": classes,
  }
  arms = {
    kind: Arm(
      feed=_feed_of(kind, feeds),
      method=_method_of(experiment, kind, known),
      settings=settings_of(grids[kind], seeds),
    )
    for kind in kinds
  }
  used = {arm.feed for arm in arms.values()}
  return Cohort(
    arms, {name: feed for name, feed in feeds.items() if name in used}, grids
  )


def make_feed(
  examples: np.ndarray,
  labels: np.ndarray,
  view: str,
  batch_size: int,
  drop_remainder: bool = False,
  size: int | None = None,
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

  Returns:
    The feed.

  Raises:
    UserError: for an unknown view or an impossible batch size.
  """
  augment = data.make_view(view, size=size)

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
  return Feed(cut, steps, labels.astype(np.int32), seen)


def settings_of(
  grid: Sequence[Mapping[str, float]], seeds: np.ndarray
) -> dict[str, np.ndarray]:
  """Writes out the settings of an arm's members, cell by cell.

  Args:
    grid: the cells, all with the same names.
    seeds: (S,) int, of the members of each cell.

  Returns:
    By name, (cells * S,): the cells' settings and "seed".

  Example:
    >>> members = settings_of([{"learning_rate": 0.1}], np.arange(2))
    >>> members["learning_rate"].tolist(), members["seed"].tolist()
    ([0.1, 0.1], [0, 1])
  """
  settings = {
    name: np.repeat([cell[name] for cell in grid], len(seeds))
    for name in grid[0]
  }
  return settings | {"seed": np.tile(seeds, len(grid))}


def looks_inside(arm: Arm) -> bool:
  """Says whether an arm's method needs more of the teacher than its answers.

  Args:
    arm: who learns from what.

  Returns:
    True where it taps the teacher's features.
  """
  one = {name: values[0] for name, values in arm.settings.items()}
  return bool(arm.method(one).teacher_taps)


def objective_text(experiment: Experiment) -> str:
  """Writes out the student's objective with every weight.

  Args:
    experiment: the settings.

  Returns:
    Text in the grammar of `--distillation`.
  """
  chosen = experiment.distillation
  terms = methods.terms_of(
    chosen.distillation,
    hard_weight=_unless_swept(chosen.hard_weight, None),
    method_weight=_unless_swept(chosen.method_weight, 1.0),
  )
  return " + ".join(map(str, terms))


def _unless_swept(value, otherwise):
  return otherwise if isinstance(value, tuple) else value


def _feeds(experiment, labels, examples, drop) -> dict[str, Feed]:
  """Transfer set, labelled set, and the labelled set in the teacher's views."""
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
  if drop is None:
    drop = _relates_examples(experiment)
  make = partial(
    make_feed, batch_size=student.batch_size, size=chosen.crop_size
  )
  feeds = {
    "transfer": make(transfer, hidden, student.augment, drop_remainder=drop)
  }
  if chosen.labels is not None:
    feeds["labelled"] = make(labelled, hidden, student.augment)
  if experiment.teacher.augment != student.augment:
    feeds["augmented"] = make(labelled, hidden, experiment.teacher.augment)
  return feeds


def _relates_examples(experiment: Experiment) -> bool:
  # Whether a method couples the batch does not depend on these.
  unknown = {"steps": 1, "examples": 2, "classes": 2}
  first = _grid(experiment, "student")[0]
  return _method_of(experiment, "student", unknown)(first).couples_batch


def _feed_of(kind: str, feeds: Mapping[str, Feed]) -> str:
  if kind == "augmented":
    return "augmented"
  return "labelled" if kind != "student" and "labelled" in feeds else "transfer"


def _method_of(experiment: Experiment, kind: str, known: Mapping[str, int]):
  """Returns settings of a member -> its method; swept settings are traced."""
  chosen = experiment.distillation
  if kind == "label_smoothing":
    return lambda settings: methods.make_objective(
      "ce:1", label_smoothing=settings["label_smoothing"]
    )
  if kind != "student":
    return lambda settings: methods.make_objective("hard")

  def student(settings) -> Method:
    return methods.make_objective(
      chosen.distillation,
      hard_weight=settings.get("hard_weight", chosen.hard_weight),
      method_weight=settings.get("method_weight", chosen.method_weight),
      temperature=settings.get("temperature", chosen.temperature),
      **known,
    )

  return student


def _grid(experiment: Experiment, kind: str) -> list[dict[str, float]]:
  """Lists the cells: every combination of the numbers given."""
  values = {}
  for name, (group, field) in SETTINGS[kind].items():
    value = getattr(getattr(experiment, group), field)
    if value is None and name == "learning_rate":
      value = experiment.student.learning_rate
    if isinstance(value, int | float):
      values[name] = (float(value),)
    elif isinstance(value, tuple):
      values[name] = value
  return [
    dict(zip(values, cell, strict=True))
    for cell in itertools.product(*values.values())
  ]
