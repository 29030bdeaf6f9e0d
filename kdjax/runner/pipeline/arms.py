"""Who learns from what: the student, its baseline, the controls.

All arms have the student's architecture, seeds and number of steps. An arm's
members are the cells of its grid (one cell, but in a sweep) times the seeds.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax import data, methods
from kdjax.core.errors import UserError
from kdjax.core.method import Method
from kdjax.core.task import Task
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline.loaders import (
  SAME,
  make_loaders,
  training_images,
)
from kdjax.runner.pipeline.validate_teachers import is_plain
from kdjax.runner.pipeline.values import Values
from kdjax.train.arm import Arm
from kdjax.train.loader import Loader
from kdjax.train.schemes.scheme import OFFLINE

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
  "reference": {"learning_rate": ("controls", "reference_learning_rate")},
}
# Who learns from a teacher that is one.
TAUGHT = ("student", "reference")
# Teachers that know less; who learns from one has the student's objective.
STAND_INS = (
  "shuffled_teacher",
  "uniform_teacher",
  "noise_teacher",
  "matched_smoothing",
)


class Cohort(NamedTuple):
  """All that trains side by side.

  Attributes:
    arms: by name; "student" and "baseline" always.
    loaders: what the arms are shown, by name.
    grids: by arm, the cells of its grid; members are cell-major, then seeds.
  """

  arms: dict[str, Arm]
  loaders: dict[str, Loader]
  grids: dict[str, list[dict[str, float]]]


def assemble(
  experiment: Experiment,
  values: Values,
  labels: np.ndarray,
  examples: np.ndarray,
  *,
  classes: int,
  task: Task | None = None,
  transfer: np.ndarray | None = None,
  drop_remainder: bool | None = None,
  weights: np.ndarray | None = None,
  lengths: np.ndarray | None = None,
) -> Cohort:
  """Makes the arms and loaders that an experiment asks for.

  Args:
    labels: (N,) int32 over all stored images.
    task: what the labels mean; one of the classes by default.
    transfer: which of them are a transfer set; None for none.
    drop_remainder: whether to leave out ragged batches; by default where the
      student's method relates the examples of a batch.
    weights: (N,) float32 how much each image counts; None where all count alike.
    lengths: see `Loader.lengths`.
  """
  if drop_remainder is None:
    drop_remainder = _relates_examples(experiment, values)
  loaders = make_loaders(
    experiment,
    labels,
    examples,
    drop_remainder=drop_remainder,
    transfer=transfer,
    strata=task and task.split(labels),
    weights=weights,
    task=task,
    lengths=lengths,
  )
  if transfer is not None and (labels[transfer] < 0).all():
    _check_unlabelled(experiment, values)
  kinds = _kinds(experiment, loaders, task)
  grids = {kind: _grid(experiment, kind) for kind in kinds}
  seeds = np.arange(experiment.student.seeds)
  length = max(loaders[_loader_of(kind, loaders)].steps for kind in kinds)
  facts = {
    "steps": experiment.student.epochs * length,
    "examples": len(labels),
    "classes": classes,
    "task": task,
    "prior": _prior(experiment, labels, examples, task, classes, weights),
  }
  arms = {
    kind: _learning(
      Arm(
        loader=_loader_of(kind, loaders),
        method=_method_of(experiment, values, kind, facts),
        settings=settings_of(grids[kind], seeds),
        teacher=_teacher_of(kind, loaders, experiment, values),
      )
    )
    for kind in kinds
  }
  _check_stand_ins(values, arms)
  scheme = values.scheme
  if scheme is not OFFLINE:
    arms["student"] = arms["student"]._replace(scheme=scheme, teacher=None)
  if scheme.adapt_loader is not None:
    loaders["together"] = scheme.adapt_loader(loaders["transfer"])
    arms["student"] = arms["student"]._replace(loader="together")
  loader_names = {arm.loader for arm in arms.values()}
  return Cohort(
    arms,
    {name: loaders[name] for name in loaders if name in loader_names},
    grids,
  )


def settings_of(
  grid: Sequence[Mapping[str, float]], seeds: np.ndarray
) -> dict[str, np.ndarray]:
  """Writes out the settings of an arm's members, cell by cell.

  Args:
    seeds: (S,) int, of the members of each cell.

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
  """Says whether an arm's method needs more of the teacher than its answers."""
  return bool(_method_of_first(arm).teacher_taps)


def views_of(experiment: Experiment) -> dict[str, str]:
  """Says which views the teachers of the arms are asked about.

  Example:
    >>> views_of(Experiment())["teacher"]
    'none'
  """
  augment, distillation = experiment.student.augment, experiment.distillation
  return {
    "teacher": augment
    if distillation.teacher_view == SAME
    else distillation.teacher_view,
    "plain_teacher": experiment.controls.reference_augment or augment,
  }


def _prior(
  experiment: Experiment,
  labels: np.ndarray,
  examples: np.ndarray,
  task: Task | None,
  classes: int,
  weights: np.ndarray | None,
) -> tuple[float, ...] | None:
  """How common classes are among the labels, as the student is shown them."""
  if (task is not None and task.kind != "categories") or labels.ndim > 1:
    return None
  settings = experiment.data
  _, with_labels = training_images(settings, labels, examples)
  shown = labels[with_labels]
  counts = data.count_classes(shown, classes)
  there = counts > 0
  prior = np.zeros(classes)
  prior[there] = data.shown_shares(counts[there], settings.class_sampling)
  if weights is not None:
    weighed = data.count_classes(shown, classes, weights[with_labels])
    prior[there] *= weighed[there] / counts[there]
  # A class that nobody has seen is as rare as can be, but not impossible.
  return tuple(np.maximum(prior, prior[there].min() * 1e-3).tolist())


def _check_stand_ins(values: Values, arms: Mapping[str, Arm]) -> None:
  """Raises a UserError where a stand-in would have to show features."""
  for name in STAND_INS:
    if name in arms and looks_inside(arms[name]):
      raise UserError(
        f"--{name}: it has answers and no features, and"
        f" --distillation={values.objective.text} looks inside its"
        " teacher"
      )


def _check_unlabelled(experiment: Experiment, values: Values) -> None:
  """Raises a UserError where nothing would be learned without labels."""
  if values.objective.labels_alone:
    raise UserError(
      f"--transfer_dataset={experiment.data.transfer_dataset}: the student sees"
      f" no label of it, and --distillation={values.objective.text} learns from"
      " labels alone"
    )


def _learning(arm: Arm) -> Arm:
  """Drops the teacher of an arm whose method needs none."""
  learns = _method_of_first(arm).needs_teacher
  return arm if learns else arm._replace(teacher=None)


def _method_of_first(arm: Arm) -> Method:
  return arm.method({name: x[0] for name, x in arm.settings.items()})


def _relates_examples(experiment: Experiment, values: Values) -> bool:
  # Whether a method couples the batch does not depend on these.
  facts = {"steps": 1, "examples": 2, "classes": 2}
  first = _grid(experiment, "student")[0]
  method = _method_of(experiment, values, "student", facts)
  return method(first).couples_batch


def _kinds(
  experiment: Experiment, loaders: Mapping[str, Loader], task: Task | None
) -> list[str]:
  """Lists the arms that an experiment asks for, the student first."""
  settings = experiment.controls
  kinds = ["student", "baseline"]
  if settings.controls:
    # There is nothing to smooth but the labels of classes.
    if task is None or task.kind == "categories":
      kinds.append("label_smoothing")
    if "augmented" in loaders:
      kinds.append("augmented")
  if settings.reference is not None:
    kinds.append("reference")
  return kinds + [name for name in STAND_INS if getattr(settings, name)]


def _teacher_of(
  kind: str,
  loaders: Mapping[str, Loader],
  experiment: Experiment,
  values: Values,
) -> str | None:
  if kind in STAND_INS:
    return kind
  plain = kind not in loaders and is_plain(experiment, values)
  if kind == "reference" and not plain:
    return "plain_teacher"
  return "teacher" if kind in TAUGHT else None


def _loader_of(kind: str, loaders: Mapping[str, Loader]) -> str:
  if kind in ("augmented", "reference") and kind in loaders:
    return kind
  has_teacher = kind in (*TAUGHT, *STAND_INS)
  return "labelled" if not has_teacher and "labelled" in loaders else "transfer"


def _method_of(
  experiment: Experiment, values: Values, kind: str, facts: Mapping[str, Any]
):
  """Returns settings of a member -> its method; swept settings are traced."""
  distillation = experiment.distillation
  if kind == "label_smoothing":
    return lambda settings: methods.make_objective(
      "ce:1", label_smoothing=settings["label_smoothing"], task=facts["task"]
    )
  if kind == "reference":
    reference = values.reference
    return lambda settings: methods.make_objective(reference, **facts)
  if kind not in ("student", *STAND_INS):
    task = facts["task"]
    return lambda settings: methods.make_objective("hard", task=task)

  def student(settings) -> Method:
    return methods.make_objective(
      values.objective,
      hard_weight=settings.get("hard_weight", distillation.hard_weight),
      method_weight=settings.get("method_weight", distillation.method_weight),
      temperature=settings.get("temperature", distillation.temperature),
      **facts,
    )

  return student


def _grid(experiment: Experiment, kind: str) -> list[dict[str, float]]:
  """Lists the cells: every combination of the numbers given."""
  values = {}
  places = SETTINGS["student" if kind in STAND_INS else kind]
  for name, (group, field) in places.items():
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
