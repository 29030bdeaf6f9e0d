import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data.subsets import (
  by_name,
  every_fifth,
  split_validation,
  stratified,
  without_classes,
)

LABELS = np.arange(100) % 4  # 25 of each of 4 classes


def test_every_fifth():
  labels = np.array([1, 0] * 6)
  assert every_fifth(labels).nonzero()[0].tolist() == [8, 9]
  assert not every_fifth(np.array([0, 1, 2, 3])).any()


@pytest.mark.parametrize(
  ("labels", "count", "expected"),
  [
    (LABELS, 8, [2, 2, 2, 2]),
    (LABELS, 10, [2, 2, 3, 3]),
    (LABELS, 1, [0, 0, 0, 1]),
    (LABELS, 100, [25] * 4),
    (np.array([0] * 9 + [1] * 2), 6, [2, 4]),  # a small class gives all
  ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_stratified_counts(labels, count, expected, seed):
  drawn = stratified(labels, count, seed=seed)
  assert len(set(drawn.tolist())) == count
  assert (np.sort(drawn) == drawn).all()
  counts = np.bincount(labels[drawn], minlength=labels.max() + 1)
  assert sorted(counts) == expected


def test_stratified_depends_on_the_seed_alone():
  first, again, other = (stratified(LABELS, 8, seed=s) for s in (0, 0, 1))
  assert (first == again).all()
  assert (first != other).any()


@pytest.mark.parametrize("count", [0, -1, 101])
def test_stratified_refuses(count):
  with pytest.raises(UserError, match=f"{count} examples out of 100"):
    stratified(LABELS, count, seed=0)


def test_without_classes():
  kept = without_classes(LABELS, [3, 1])
  assert set(LABELS[kept].tolist()) == {0, 2}
  assert len(kept) == 50


@pytest.mark.parametrize(
  ("classes", "message"),
  [([7], "class 7: .* 0, 1, 2, 3"), (range(4), "no example is left")],
)
def test_without_classes_refuses(classes, message):
  with pytest.raises(UserError, match=message):
    without_classes(LABELS, classes)


def test_split_validation():
  train, held = split_validation(LABELS, 0.2, seed=3)
  assert sorted([*train, *held]) == list(range(100))
  assert np.bincount(LABELS[held]).tolist() == [5] * 4


@pytest.mark.parametrize(
  "fraction", [0, 1, -0.1, 1.5, 0.001, 0.999, float("nan")]
)
def test_split_validation_refuses(fraction):
  with pytest.raises(UserError, match="fraction"):
    split_validation(LABELS, fraction, seed=0)


@pytest.mark.parametrize("draw", [stratified, split_validation])
def test_negative_seed(draw):
  with pytest.raises(UserError, match="seed must not be negative"):
    draw(LABELS, 0.5 if draw is split_validation else 5, seed=-1)


# The first hexadecimal digits of sha256; a fifth of them is below 3333:
# a ca97, b 3e23, c 2e7d, d 18ac, e 3f79, f 252f, j 189f, 8 2c62, 4 4b22, 3 4e07.
@pytest.mark.parametrize(
  ("names", "held"),
  [
    ("abcdefghij", "cdfj"),  # g cd0a, h aaa9, i de7d
    ("01234", "4"),  # nobody is in the fifth: the nearest
    ("cdfj8", "dfj8"),  # all are: the one that is furthest stays
    ("cdfj", ""),  # too few to be divided
    (["a", "e\u0301", "\u00e9", "2", "5"], ["e\u0301", "\u00e9"]),  # 4a99
  ],
)
def test_by_name(names, held):
  expected = [name in held for name in names]
  assert by_name(names, np.zeros(len(names), int)).tolist() == expected


def test_by_name_divides_every_class():
  generator = np.random.default_rng(0)
  labels = np.repeat(np.arange(50), generator.integers(5, 60, 50))
  names = [f"IMG_{number}" for number in range(len(labels))]
  held = by_name(names, labels)
  assert set(labels[held]) == set(labels[~held]) == set(range(50))
  assert 0.17 < held.mean() < 0.23
  order = generator.permutation(len(labels))
  again = by_name([names[index] for index in order], labels[order])
  np.testing.assert_array_equal(again, held[order])
