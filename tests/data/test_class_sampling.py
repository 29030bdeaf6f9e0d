"""Batches with classes alike: a pure function of seed and step."""

import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError

LABELS = np.repeat([0, 1, 2, 3], [80, 12, 6, 2])
IDS = np.random.default_rng(0).permutation(1000)[:100]


def plan(sampling="balanced", **change):
  given = {"seed": 3, "start": 0, "stop": 13} | change
  return data.class_batches(IDS, LABELS, 8, sampling=sampling, **given)


def classes(indices):
  return LABELS[np.argsort(IDS)[np.searchsorted(np.sort(IDS), indices)]]


@pytest.mark.parametrize(
  ("sampling", "want"),
  [
    ("balanced", [25, 25, 25, 25]),
    # sqrt(80, 12, 6, 2) over their sum, of 100 examples.
    ("square_root", [55, 21, 15, 9]),
    ("instance", [80, 12, 6, 2]),
  ],
)
def test_a_pass_has_each_classs_share(sampling, want):
  indices, weights = plan(sampling)
  shown = classes(indices[weights > 0])
  np.testing.assert_array_equal(np.bincount(shown), want)
  assert weights.sum() == 100 and weights[-1].sum() == 4


def test_every_batch_has_nearly_its_share():
  for seed in range(5):
    indices, weights = plan(seed=seed, stop=120)
    whole = weights.all(1)
    for batch in classes(indices[whole]):
      counts = np.bincount(batch, minlength=4)
      assert counts.min() >= 0 and counts.max() <= 5
    mean = [np.bincount(x, minlength=4) for x in classes(indices[whole])]
    # Drawn freely the deviation is sqrt(8 / 4 * 3 / 4) = 1.22.
    assert np.std(mean) < 0.8


def test_steps_are_the_same_whatever_the_chunks():
  whole = plan(stop=40)
  cuts = [0, 1, 7, 13, 14, 30, 40]
  parts = [
    plan(start=a, stop=b) for a, b in zip(cuts[:-1], cuts[1:], strict=True)
  ]
  for name in ("indices", "weights"):
    np.testing.assert_array_equal(
      getattr(whole, name), np.concatenate([getattr(x, name) for x in parts])
    )
  assert not np.array_equal(whole.indices, plan(stop=40, seed=4).indices)


@pytest.mark.parametrize("passes", [1, 3, 7])
def test_within_a_class_all_come_before_one_comes_again(passes):
  indices, weights = plan(stop=13 * passes)
  ids, counts = np.unique(indices[weights > 0], return_counts=True)
  by_class = classes(ids)
  for label in range(4):
    own = counts[by_class == label]
    seen = 25 * passes
    there = (label == LABELS).sum()
    assert len(own) == min(seen, there)
    assert own.max() - own.min() <= (1 if len(own) == there else 0)


def test_ragged_batches_can_be_left_out():
  indices, weights = plan(stop=24, drop_remainder=True)
  assert weights.all()
  assert len(np.unique(classes(indices[12:]))) == 4


@pytest.mark.parametrize(
  ("counts", "sampling", "want"),
  [
    ([7, 1, 1], "balanced", [3, 3, 3]),
    ([1, 8, 2], "balanced", [4, 4, 3]),
    ([4, 1], "square_root", [3, 2]),
    ([5], "balanced", [5]),
    ([1000, 1], "instance", [1000, 1]),
  ],
)
def test_shares_by_hand(counts, sampling, want):
  assert data.shares(counts, sampling).tolist() == want


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"sampling": "balance"}, "did you mean 'balanced'"),
    ({"seed": -1}, "seed must not be negative"),
    ({"start": 3, "stop": 2}, "0 <= start <= stop"),
  ],
)
def test_refused(change, says):
  with pytest.raises(UserError, match=says):
    plan(**change)


def test_unknown_classes_are_refused():
  with pytest.raises(UserError, match="of 1 of 2 examples the class"):
    data.class_batches(
      np.arange(2),
      np.array([0, -1]),
      1,
      sampling="balanced",
      seed=0,
      start=0,
      stop=1,
    )
