"""Who is shown what: subsets of the training images."""

import dataclasses

import numpy as np
import pytest

from kdjax.arms import assemble
from kdjax.config import Data, Experiment, Student

LABELS = np.repeat(np.arange(4), 25)


def shown(feed):
  indices, weights = feed.batches(0, 0, feed.steps)
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
  cohort = assemble(experiment, LABELS, np.arange(100), classes=4)
  examples = shown(cohort.feeds["transfer"])
  assert len(examples) == seen
  counts = np.bincount(LABELS[examples], minlength=4)
  assert np.ptp(counts[counts > 0]) <= 1
  twin = shown(cohort.feeds[cohort.arms["baseline"].feed])
  assert len(twin) == labelled and set(twin) <= set(examples)
