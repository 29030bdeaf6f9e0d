"""Scores of maps: by hand, and as SciPy and scikit-learn count them."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics

from kdjax import evaluate
from kdjax.evaluate.pixels import boundary_width

RNG = np.random.default_rng(0)
TARGETS = RNG.integers(-1, 4, (6, 9, 11))
TARGETS[RNG.random(TARGETS.shape) < 0.1] = 255
# Blocks of one class, so that there is an inside.
TARGETS[:, 2:7, 3:9] = RNG.integers(0, 4, (6, 1, 1))
CALLED = np.where(RNG.random(TARGETS.shape) < 0.7, TARGETS % 4, 0)


def eroded(mask, width):
  """The inside of a mask, as its erosion by a square; the outside is none."""
  square = np.ones((3, 3), bool)
  return ndimage.binary_erosion(mask, square, iterations=width, border_value=0)


@pytest.mark.parametrize("width", [1, 2])
def test_boundary_iou_by_erosion_class_by_class(width):
  known = (TARGETS >= 0) & (TARGETS < 4)
  overlap = evaluate.boundary_overlap(CALLED, TARGETS, 4, width)
  for k in range(4):
    both = either = 0
    for called, target, there in zip(CALLED, TARGETS, known, strict=True):
      rims = []
      for ids in (called, target):
        mask = (ids == k) & there
        rims.append(mask & ~eroded(mask, width))
      both += (rims[0] & rims[1]).sum()
      either += (rims[0] | rims[1]).sum()
    assert (overlap.both[k], overlap.either[k]) == (both, either)


def test_iou_and_accuracy_are_scikit_learns():
  scores = evaluate.measure_pixels(CALLED[None], TARGETS, classes=4)
  known = (TARGETS >= 0) & (TARGETS < 4)
  true, called = TARGETS[known], CALLED[known]
  iou = metrics.jaccard_score(true, called, average=None, labels=range(4))
  np.testing.assert_allclose(scores["per_pixel_class"]["iou"], iou)
  assert scores["test_mean_iou"] == [pytest.approx(iou.mean())]
  assert scores["accuracy"] == [pytest.approx(np.mean(true == called))]
  assert scores["per_pixel_class"]["pixels"] == np.bincount(true).tolist()


def test_scores_by_hand():
  """0: 3 of 5; 1: 1 of 3; 2 is nowhere."""
  targets = np.array([[[0, 0, 0, 1], [0, 255, 1, -1]]])
  called = np.array([[[0, 0, 0, 0], [1, 2, 1, 2]]])
  scores = evaluate.measure_pixels(
    np.stack([called, called]), targets, called, classes=3
  )
  assert scores["test_mean_iou"] == [pytest.approx((3 / 5 + 1 / 3) / 2)] * 2
  assert scores["accuracy"] == [pytest.approx(4 / 6)] * 2
  assert scores["agreement"] == [1.0, 1.0]
  assert scores["per_pixel_class"]["iou"] == [
    pytest.approx(0.6), pytest.approx(1 / 3), None,
  ]  # fmt: skip
  # So small that every pixel is at a contour.
  assert scores["boundary_iou"] == scores["test_mean_iou"]


def test_what_is_right_is_1_and_nothing_known_is_nan():
  scores = evaluate.measure_pixels(
    np.where(TARGETS == 255, 3, TARGETS)[None], TARGETS, classes=4
  )
  assert scores["test_mean_iou"] == scores["boundary_iou"] == [1.0]
  unknown = np.full((1, 2, 2), -1)
  scores = evaluate.measure_pixels(unknown[None] + 1, unknown, classes=4)
  assert np.isnan(scores["test_mean_iou"]).all()
  assert np.isnan(scores["accuracy"]).all()


def test_a_set_is_more_than_its_parts():
  """Sums over images, not means of them."""
  whole = evaluate.class_overlap(CALLED, TARGETS, 4)
  parts = [
    evaluate.class_overlap(CALLED[i : i + 1], TARGETS[i : i + 1], 4)
    for i in range(6)
  ]
  np.testing.assert_array_equal(whole.both, sum(one.both for one in parts))
  np.testing.assert_array_equal(whole.either, sum(one.either for one in parts))
  assert boundary_width(100, 100) == 3


def test_divergence_of_pixels():
  student, teacher = RNG.normal(size=(2, 3, 4, 5))
  p, q = (
    np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (teacher, student)
  )
  want = (p * np.log(p / q)).sum(-1)
  np.testing.assert_allclose(evaluate.pixel_divergence(student, teacher), want)
