"""Scores class by class and group by group, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

from kdjax import evaluate, tasks

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 200, 5))
LABELS = RNG.choice(5, 200, p=(0.5, 0.3, 0.1, 0.06, 0.04))
GROUPS = RNG.integers(0, 4, 200)


def test_classes_are_scikit_learns():
  got = evaluate.class_accuracy(LOGITS, LABELS)
  assert got.shape == (3, 5)
  for logits, by_class in zip(LOGITS, got, strict=True):
    called = logits.argmax(-1)
    want = recall_score(LABELS, called, average=None, labels=range(5))
    np.testing.assert_allclose(by_class, want)
    assert evaluate.balanced_accuracy(logits, LABELS) == pytest.approx(
      balanced_accuracy_score(LABELS, called)
    )
    assert evaluate.worst_class_accuracy(logits, LABELS) == want.min()


def test_classes_without_examples_and_unknown_labels_count_nowhere():
  labels = np.where(LABELS == 2, -1, LABELS)
  known = labels >= 0
  got = evaluate.class_accuracy(LOGITS, labels)
  assert np.isnan(got[:, 2]).all()
  others = [0, 1, 3, 4]
  np.testing.assert_array_equal(
    got[:, others],
    evaluate.class_accuracy(LOGITS[:, known], labels[known])[:, others],
  )
  np.testing.assert_allclose(
    evaluate.balanced_accuracy(LOGITS, labels), got[:, others].mean(-1)
  )
  nothing = evaluate.worst_class_accuracy(LOGITS, np.full(200, -1))
  assert np.isnan(nothing).all()


def test_accuracy_is_the_classes_mean_by_their_sizes():
  sizes = np.bincount(LABELS) / len(LABELS)
  np.testing.assert_allclose(
    evaluate.class_accuracy(LOGITS, LABELS) @ sizes,
    evaluate.accuracy(LOGITS, LABELS),
  )


def test_groups_are_scored_as_sets_of_their_own():
  task = tasks.classification(5)
  got = evaluate.group_scores(task, LOGITS, LABELS, GROUPS, 5)
  for group in range(4):
    some = group == GROUPS
    np.testing.assert_allclose(
      got[:, group], evaluate.accuracy(LOGITS[:, some], LABELS[some])
    )
  assert np.isnan(got[:, 4]).all()
  said = evaluate.measure_groups(task, LOGITS, LABELS, GROUPS, "abcde")
  assert said["worst_group_accuracy"] == pytest.approx(got[:, :4].min(1))
  assert said["mean_group_accuracy"] == pytest.approx(got[:, :4].mean(1))
  assert said["per_group"]["examples"] == [*np.bincount(GROUPS), 0]
  assert said["per_group"]["accuracy"][4] is None


def test_the_worst_group_of_an_error_is_the_largest():
  task = tasks.regression(2)
  answers, targets = RNG.normal(size=(2, 30, 2)), RNG.normal(size=(30, 2))
  groups = np.arange(30) % 3
  want = np.array(
    [
      [np.sqrt(np.mean((one - targets)[groups == g] ** 2)) for g in range(3)]
      for one in answers
    ]
  )
  said = evaluate.measure_groups(
    task, answers.astype(np.float32), targets.astype(np.float32), groups, "abc"
  )
  assert said["worst_group_rmse"] == pytest.approx(want.max(1), rel=1e-5)
  assert said["per_group"]["rmse"] == pytest.approx(want.mean(0), rel=1e-5)


def test_what_results_say_of_classes():
  said = evaluate.measure(LOGITS, LABELS)
  assert said["per_class"]["examples"] == np.bincount(LABELS).tolist()
  np.testing.assert_allclose(
    said["per_class"]["accuracy"],
    evaluate.class_accuracy(LOGITS, LABELS).mean(0),
  )
  assert len(said["balanced_accuracy"]) == 3
