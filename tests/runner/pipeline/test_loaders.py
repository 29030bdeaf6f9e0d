"""Transfer sets and views of one's own: who sees which images and labels."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.runner.config import (
  Controls,
  Data,
  Distillation,
  Experiment,
  Student,
  Teacher,
)
from kdjax.runner.pipeline.arms import assemble
from kdjax.runner.pipeline.values import read_values

# 40 training images, and 30 of a transfer set: half of them with labels.
LABELS = np.r_[np.repeat(np.arange(4), 10), np.repeat([0, 1, -1], 10)]
EXAMPLES, TRANSFER = np.arange(40), np.arange(40, 70)


def cohort(transfer=TRANSFER, controls=None, student=None, **given):
  experiment = Experiment(
    data=Data(**given),
    teacher=Teacher(augment="none"),
    student=student or Student(batch_size=8, learning_rate=0.1, seeds=1),
    controls=controls or Controls(reference="kd:1"),
  )
  return assemble(
    experiment,
    read_values(experiment),
    LABELS,
    EXAMPLES,
    classes=4,
    transfer=transfer,
  )


def shown(found, arm):
  loader = found.loaders[found.arms[arm].loader]
  indices, weights = loader.batches(0, 0, loader.steps)
  return np.unique(indices[weights > 0]), loader


@pytest.mark.parametrize("arm", ["baseline", "label_smoothing", "reference"])
def test_twins_and_reference_keep_the_training_images(arm):
  seen, loader = shown(cohort(), arm)
  np.testing.assert_array_equal(seen, EXAMPLES)
  np.testing.assert_array_equal(loader.targets[seen], LABELS[:40])


@pytest.mark.parametrize(
  ("given", "count"),
  [
    ({}, 30),
    ({"transfer_images": 12}, 12),
    ({"omit_classes": (1,)}, 20),
    ({"images": 8, "labels": 4}, 30),
  ],
)
def test_the_student_sees_the_transfer_set_alone(given, count):
  seen, loader = shown(cohort(**given), "student")
  assert len(seen) == count and set(seen) <= set(TRANSFER)
  np.testing.assert_array_equal(loader.targets[seen], LABELS[seen])


def test_few_labels_are_the_twins():
  found = cohort(labels=4)
  assert len(shown(found, "baseline")[0]) == 4
  seen, loader = shown(found, "reference")
  assert len(seen) == 40 and (loader.targets[seen] >= 0).sum() == 4


@pytest.mark.parametrize("objective", ["ce", "hard", "ce:2"])
def test_labels_alone_are_not_learned_from_images_without_labels(objective):
  experiment = Experiment(
    data=Data(transfer_dataset="noise_images(9)"),
    distillation=Distillation(distillation=objective),
  )
  hidden = np.where(np.arange(70) < 40, LABELS, -1)
  gather = functools.partial(
    assemble, examples=EXAMPLES, classes=4, transfer=TRANSFER
  )
  with pytest.raises(UserError, match=f"noise_images.*{objective} learns from"):
    gather(experiment, read_values(experiment), hidden)
  assert (
    gather(experiment, read_values(experiment), LABELS).arms["student"].teacher
    is None
  )


def test_without_a_transfer_set_all_share_one_feed():
  found = cohort(transfer=None)
  assert list(found.loaders) == ["transfer"]
  assert found.arms["reference"].teacher == "teacher"


@pytest.mark.parametrize(
  ("teacher_view", "reference_augment", "teacher", "mixes"),
  [
    ("none", None, "plain_teacher", True),
    ("same", "none", "plain_teacher", False),
    ("same", "mixup", "teacher", True),
  ],
)
def test_the_reference_has_consistent_views_of_its_own(
  teacher_view, reference_augment, teacher, mixes
):
  experiment = Experiment(
    student=Student(batch_size=8, learning_rate=0.1, augment="mixup"),
    distillation=Distillation(teacher_view=teacher_view),
    controls=Controls(reference="kd:1", reference_augment=reference_augment),
  )
  found = assemble(
    experiment, read_values(experiment), LABELS, EXAMPLES, classes=4
  )
  _, loader = shown(found, "reference")
  assert found.arms["reference"].teacher == teacher
  assert loader.teacher_view is None and (loader.mixing is not None) == mixes
  student = found.loaders["transfer"]
  assert (student.teacher_view is not None) == (teacher_view == "none")
  assert student.mixing is not None


def test_the_teachers_view_is_of_the_stored_image():
  experiment = dataclasses.replace(
    Experiment(),
    student=Student(batch_size=8, learning_rate=0.1, augment="shift(2)"),
    distillation=Distillation(teacher_view="none"),
  )
  loader = assemble(
    experiment, read_values(experiment), LABELS, EXAMPLES, classes=4
  ).loaders["transfer"]
  stored = jax.random.uniform(jax.random.key(0), (8, 5, 5, 1))
  seen = [
    np.asarray(view(jax.random.key(1), stored, jnp.arange(8)))
    for view in (loader.view, loader.teacher_view)
  ]
  np.testing.assert_array_equal(seen[1], stored)
  assert (seen[0] != seen[1]).any()
