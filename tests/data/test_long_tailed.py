"""Training sets cut to a long tail, and what of them is held out."""

import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset, Split
from kdjax.data.long_tailed import long_tailed

LABELS = np.repeat(np.arange(5, dtype=np.int32), [100, 100, 100, 100, 40])
TRAIN = Split(np.arange(440, dtype=np.uint8).reshape(-1, 1, 1, 1), LABELS)
TEST = Split(np.zeros((5, 1, 1, 1), np.uint8), np.arange(5, dtype=np.int32))
WHOLE = Dataset("toy", 5, tuple("abcde"), (1, 1, 1), TRAIN, TEST)


@pytest.mark.parametrize(
  ("imbalance", "want"),
  [
    # 100 * 16^(-c/4) = 100, 50, 25, 12.5, 6.25.
    (16, [100, 50, 25, 12, 6]),
    (1, [100, 100, 100, 100, 40]),
    (1e9, [100, 1, 1, 1, 1]),
  ],
)
def test_classes_have_an_exponential_profile(imbalance, want):
  cut = long_tailed(WHOLE, imbalance)
  assert np.bincount(cut.train.labels).tolist() == want
  assert cut.test is TEST
  assert f"{want[0]} to {min(want)} of a class" in data.summary(cut)


def test_the_seed_says_which():
  one, same, other = (long_tailed(WHOLE, 16, seed) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one.train.images, same.train.images)
  assert not np.array_equal(one.train.images, other.train.images)


def test_by_name():
  cut = data.load("long_tailed('digits', imbalance=50)")
  counts = np.bincount(cut.train.labels)
  assert counts[0] > 40 * counts[-1] / 2 and (np.diff(counts) <= 0).all()
  assert len(cut.test.labels) == len(data.load("digits").test.labels)
  assert cut.name == "long_tailed('digits', imbalance=50)"


@pytest.mark.parametrize(
  ("imbalance", "says"), [(0.5, "number >= 1"), ("much", "number >= 1")]
)
def test_refused(imbalance, says):
  with pytest.raises(UserError, match=says):
    long_tailed(WHOLE, imbalance)


def test_labels_that_are_no_classes_have_no_tail():
  several = TRAIN._replace(labels=np.zeros((440, 2), np.int32))
  with pytest.raises(UserError, match="no single class"):
    long_tailed(WHOLE._replace(train=several), 10)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3])
def test_of_rare_classes_no_more_than_half_is_held_out(fraction):
  labels = np.repeat([0, 1, 2, 3], [200, 40, 8, 2])
  train, validation = data.split_validation(labels, fraction, seed=0)
  assert len(validation) == round(250 * fraction)
  held = np.bincount(labels[validation], minlength=4)
  assert (held[2:] == [4, 1]).all() and held[1] <= 20
  assert sorted([*train, *validation]) == list(range(250))
  both = data.split_validation(labels, fraction, seed=0)
  np.testing.assert_array_equal(both[1], validation)


def test_classes_alike_are_held_out_as_ever():
  labels = np.repeat(np.arange(4), 25)
  _, validation = data.split_validation(labels, 0.2, seed=0)
  np.testing.assert_array_equal(validation, data.stratified(labels, 20, seed=0))
