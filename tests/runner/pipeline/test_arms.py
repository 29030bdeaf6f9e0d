"""Who is shown what: subsets of the training images."""

import dataclasses

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.runner.config import (
  Controls,
  Data,
  Distillation,
  Experiment,
  Student,
)
from kdjax.runner.pipeline.arms import STAND_INS, assemble
from kdjax.runner.pipeline.values import read_values
from kdjax.tasks import classification

LABELS = np.repeat(np.arange(4), 25)


def shown(loader):
  indices, weights = loader.batches(0, 0, loader.steps)
  return np.unique(indices[weights > 0])


@pytest.mark.parametrize(
  ("chosen", "seen", "labelled"),
  [
    (Data(), 100, 100),
    (Data(images=20), 20, 20),
    (Data(images=20, labels=8), 20, 8),
    (Data(images=15, omit_classes=(3,)), 15, 15),
  ],
)
def test_images_are_a_stratified_subset(chosen, seen, labelled):
  experiment = dataclasses.replace(
    Experiment(), data=chosen, student=Student(batch_size=8, learning_rate=0.1)
  )
  cohort = assemble(
    experiment, read_values(experiment), LABELS, np.arange(100), classes=4
  )
  examples = shown(cohort.loaders["transfer"])
  assert len(examples) == seen
  counts = np.bincount(LABELS[examples], minlength=4)
  assert np.ptp(counts[counts > 0]) <= 1
  baseline = shown(cohort.loaders[cohort.arms["baseline"].loader])
  assert len(baseline) == labelled and set(baseline) <= set(examples)


def test_a_task_says_of_what_subsets_have_as_many():
  """Of numbers that are all different, a half of each sign."""
  numbers = np.r_[np.linspace(1, 2, 80), np.linspace(-2, -1, 20)]
  task = classification(4)._replace(split=lambda targets: targets > 0)
  experiment = dataclasses.replace(
    Experiment(),
    data=Data(images=30),
    student=Student(batch_size=8, learning_rate=0.1),
  )
  cohort = assemble(
    experiment,
    read_values(experiment),
    numbers.astype(np.float32),
    np.arange(100),
    classes=4,
    task=task,
  )
  examples = shown(cohort.loaders["transfer"])
  assert (examples < 80).sum() == 15
  targets = cohort.loaders["transfer"].targets[examples]
  np.testing.assert_allclose(targets, numbers[examples], rtol=1e-6)


CONTROLS = Controls(
  controls=False,
  reference="kd(temperature=4):1",
  reference_learning_rate=0.2,
  shuffled_teacher=True,
  matched_smoothing=True,
)


@pytest.mark.parametrize(
  ("arm", "teacher", "learning_rate"),
  [
    ("student", "teacher", 0.1),
    ("baseline", None, 0.1),
    ("reference", "teacher", 0.2),
    ("shuffled_teacher", "shuffled_teacher", 0.1),
    ("matched_smoothing", "matched_smoothing", 0.1),
  ],
)
def test_controls_learn_from_whom_they_should(arm, teacher, learning_rate):
  experiment = Experiment(
    student=Student(learning_rate=0.1, seeds=2),
    distillation=Distillation(distillation="kd(temperature=2)"),
    controls=CONTROLS,
  )
  arms = assemble(
    experiment, read_values(experiment), LABELS, np.arange(100), classes=4
  ).arms
  assert len(arms) == 5
  assert arms[arm].teacher == teacher
  np.testing.assert_allclose(
    arms[arm].settings["learning_rate"], 2 * [learning_rate]
  )


@pytest.mark.parametrize("name", STAND_INS)
def test_stand_ins_have_no_features(name):
  experiment = Experiment(
    student=Student(learning_rate=0.1),
    distillation=Distillation(distillation="fitnets"),
    controls=Controls(**{name: True}),
  )
  with pytest.raises(UserError, match=f"--{name}.*looks inside"):
    assemble(
      experiment, read_values(experiment), LABELS, np.arange(100), classes=4
    )
