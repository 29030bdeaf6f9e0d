"""What a run may be asked for, and will say little: warnings, one line each."""

import numpy as np

from kdjax.core.errors import quantity
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_flag, options, value_of
from kdjax.runner.pipeline.dataset import classes_of
from kdjax.runner.pipeline.setup import Setup

# Fewer images than these are a handful: of all, and of a class.
HANDFUL, OF_A_CLASS = 10, 2
# Fewer scored images than these cannot tell errors a few points apart.
SCORED = 30
# What of a teacher's settings the baseline with the teacher's views heeds.
_HEEDED = {"teacher_augment", "teacher_from", "teacher_cache"}


def doubts(
  experiment: Experiment,
  *,
  examples: int,
  labels: np.ndarray,
  classes: int | None,
) -> list[str]:
  """Lists what makes a run's scores worth little.

  Args:
    labels: (N, ...) labels of the images that count.
    classes: how many there are; None for a task without.
  """
  settings, lines = experiment.data, []
  of = "" if classes is None else f" of {quantity(classes, 'class', 'classes')}"
  for count, noun in (
    (settings.images or examples, "training image"),
    (settings.labels, "labelled training image"),
  ):
    if count is not None and count < max(HANDFUL, OF_A_CLASS * (classes or 0)):
      lines.append(
        f"{quantity(count, noun)}{of}: what is learned from so few says little"
      )
  without = 0 if classes is None else classes - len(np.unique(labels))
  if len(labels) < SCORED or without:
    share = settings.validation
    why = f" (--validation={share:g})" if share else ""
    why += f", none of {quantity(without, 'class', 'classes')}" * (without > 0)
    resolution = f"each is {100 / max(len(labels), 1):.3g} points of error"
    resolution = "chance decides" if classes is None else resolution
    lines.append(
      f"{quantity(len(labels), 'image')} to be scored on{why}: {resolution}"
    )
  if experiment.student.seeds == 1:
    lines.append(
      "1 seed: there is no spread and no test of significance; --seeds=5 gives"
      " both"
    )
  return lines


def idle_teacher(experiment: Experiment) -> str:
  """Says which settings are about a teacher that nobody asks."""
  flags = [
    as_flag(one, value_of(experiment, one))
    for one in options()
    if one.group == "teacher"
    and one.flag not in _HEEDED
    and value_of(experiment, one) != one.field.default
  ]
  if not flags:
    return ""
  return (
    f"nobody learns from a teacher, so that none is trained: {', '.join(flags)}"
    f" {'does' if len(flags) == 1 else 'do'} nothing"
  )


def warnings_of(experiment: Experiment, setup: Setup) -> list[str]:
  """Lists what there is to be said of a run before it begins."""
  arms = setup.student.arms.values()
  has_learners = (
    setup.saved_teacher or setup.cached or any(arm.teacher for arm in arms)
  )
  lines = doubts(
    experiment,
    examples=len(setup.examples),
    labels=setup.score_split.labels,
    classes=classes_of(setup.dataset),
  )
  idle = "" if has_learners else idle_teacher(experiment)
  return [*lines, idle] if idle else lines
