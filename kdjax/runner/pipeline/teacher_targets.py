"""Examples of which no vector is known: their teacher's vectors are the targets."""

from collections.abc import Mapping

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data import Dataset, Split
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import teachers
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.teachers import TeacherPool
from kdjax.train.loader import Loader


def has_targets(dataset: Dataset) -> bool:
  """Says whether anything is known of a data set's examples."""
  labels = dataset.train.labels
  return labels.dtype != np.float32 or bool(np.isfinite(labels).any())


def check(experiment: Experiment, dataset: Dataset) -> None:
  """Refuses examples without targets where no trained teacher has any."""
  if has_targets(dataset):
    return
  where = f"--dataset={dataset.name}: it has no vectors"
  if experiment.teacher.teacher_cache is not None:
    raise UserError(
      f"{where}, and a cached teacher has none of the test examples: give the"
      " teacher itself, --teacher_from, or vectors"
    )
  if experiment.teacher.teacher_from is None:
    raise UserError(
      f"{where} to train a teacher on: --teacher_from=DIR names one that was trained"
      " before, whose vectors are then the targets"
    )


def with_targets(setup: Setup, pool: TeacherPool | None) -> Setup:
  """Takes the teacher's answers to the plain examples for the missing targets.

  Args:
    pool: the teachers.
  """
  if pool is None or has_targets(setup.dataset):
    return setup

  def answered(split: Split) -> Split:
    answers = teachers.pooled_answers(setup.experiment, pool, split.images)
    return split._replace(labels=answers.astype(np.float32))

  dataset = setup.dataset
  train, test = answered(dataset.train), answered(dataset.test)
  is_test = setup.score_split is dataset.test
  return setup._replace(
    dataset=dataset._replace(train=train, test=test),
    train_split=train,
    score_split=test if is_test else answered(setup.score_split),
    student=setup.student._replace(
      loaders=filled(setup.student.loaders, train.labels)
    ),
  )


def filled(
  loaders: Mapping[str, Loader], targets: np.ndarray
) -> dict[str, Loader]:
  """Gives loaders the targets that they lack.

  Args:
    targets: (N, D) of all stored examples.
  """
  return {name: one._replace(targets=targets) for name, one in loaders.items()}
