"""Data sets with a number to predict, and real tables: what is in them."""

import numpy as np
import pytest
from sklearn import datasets

from kdjax import data
from kdjax.data.dataset import Dataset, Split
from kdjax.data.images.rotated_digits import rotate


def test_diabetes_is_scikit_learns():
  opened, table = data.load("diabetes"), datasets.load_diabetes(scaled=False)
  labels = np.concatenate([opened.train.labels, opened.test.labels])
  assert labels.shape == (442, 1) and labels.dtype == np.float32
  np.testing.assert_array_equal(np.sort(labels[:, 0]), np.sort(table.target))
  assert opened.image_shape == (1, 10, 1)
  np.testing.assert_allclose(opened.train.images.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(opened.train.images.std(0), 1, atol=1e-5)


def test_breast_cancer_is_scikit_learns():
  opened = data.load("breast_cancer")
  assert opened.class_names == ("malignant", "benign")
  counts = sum(np.bincount(x.labels) for x in (opened.train, opened.test))
  np.testing.assert_array_equal(counts, [212, 357])
  assert opened.image_shape == (1, 30, 1)


def test_images_are_turned_counter_clockwise_by_their_labels():
  """A bar that points right points up after a quarter of a turn."""
  bar = np.zeros((1, 9, 9, 1), np.uint8)
  bar[0, 4, 5:] = 255
  split = Split(np.repeat(bar, 200, 0), np.zeros(200, np.int32))
  names = ("a", "b")
  turned = rotate(Dataset("bars", 2, names, (9, 9, 1), split, split), 90.0)
  assert turned.class_names == ("angle",) and turned.classes == 1
  for part in (turned.train, turned.test):
    assert part.labels.shape == (200, 1) and np.abs(part.labels).max() <= 90
    most = int(part.labels[:, 0].argmax())
    y, x = np.argwhere(part.images[most, ..., 0] > 128).mean(0)
    assert y < 3 and abs(x - 4) < 1
  assert not np.array_equal(turned.train.labels, turned.test.labels)


@pytest.mark.parametrize(
  ("labels", "mean", "scale"),
  [
    ([[1.0], [3.0]], (2.0,), (1.0,)),
    ([[1.0, 7.0], [3.0, np.nan]], (2.0, 7.0), (1.0, 1.0)),
    ([[np.nan], [np.nan]], (0.0,), (1.0,)),
  ],
)
def test_statistics_of_targets(labels, mean, scale):
  split = Split(np.zeros((2, 1, 1, 1), np.float32), np.float32(labels))
  names = ("a", "b")[: len(mean)]
  opened = Dataset("toy", len(mean), names, (1, 1, 1), split, split)
  assert data.target_statistics(opened) == {
    "target_mean": mean,
    "target_scale": scale,
  }
