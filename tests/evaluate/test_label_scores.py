"""Scores of several yes/no questions, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import (
  average_precision_score,
  precision_recall_fscore_support,
)

from kdjax.evaluate import average_precision, measure_labels


def drawn(seed=0, ties=False):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(2, 40, 3))
  return (np.round(logits) if ties else logits), rng.integers(0, 2, (40, 3))


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_scikit_learns(ties):
  logits, targets = drawn(ties=ties)
  want = [
    [average_precision_score(targets[:, i], one[:, i]) for i in range(3)]
    for one in logits
  ]
  np.testing.assert_allclose(average_precision(logits, targets), want)
  found = measure_labels(logits, targets)
  np.testing.assert_allclose(found["mean_average_precision"], np.mean(want, 1))


def test_the_table_of_labels_is_scikit_learns():
  logits, targets = drawn()
  found = measure_labels(logits[:1], targets)["per_label"]
  precision, recall, f1, yes = precision_recall_fscore_support(
    targets, logits[0] > 0
  )
  for name, want in {
    "precision": precision, "recall": recall, "f1": f1, "yes": yes,
  }.items():  # fmt: skip
    np.testing.assert_allclose(found[name], want)


@pytest.mark.parametrize("unknown", [-1.0, np.nan])
def test_what_is_not_known_counts_nowhere(unknown):
  logits, targets = drawn()
  marked = targets.astype(float)
  marked[30:, 1] = unknown
  got = measure_labels(logits, marked)["per_label"]
  want = measure_labels(logits[:, :30], targets[:30])["per_label"]
  assert got["known"] == [40, 30, 40]
  for name, values in want.items():
    assert got[name][1] == values[1]


def test_a_label_without_a_yes_has_no_average_precision():
  found = measure_labels(np.zeros((1, 4, 2)), np.array([[0, 1]] * 4))
  assert found["per_label"]["average_precision"] == [None, 1.0]
  assert found["mean_average_precision"] == [1.0]
  assert found["per_label"]["f1"] == [None, 0.0]
