"""What networks get right class by class and group by group."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from kdjax.core.class_weights import count_classes, read_prior
from kdjax.core.task import Task
from kdjax.evaluate.labels import mean_of_known


def class_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the share of each class's examples that are named as it: its recall.

  Args:
    logits: (..., N, C).
    labels: (N,) int; what is no class, such as -1, counts nowhere.

  Returns:
    (..., C) in [0, 1]; nan for a class without examples.

  Example:
    >>> logits = np.array([[2.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> print(class_accuracy(logits, np.array([0, 1, 1])))
    [1.  0.5 nan]
  """
  logits, labels = np.asarray(logits), np.asarray(labels)
  classes = logits.shape[-1]
  right = np.argmax(logits, axis=-1) == labels
  count = count_classes(labels, classes)
  total = [
    count_classes(labels, classes, one)
    for one in right.reshape(-1, len(labels))
  ]
  total = np.reshape(total, (*right.shape[:-1], classes))
  out = np.full(total.shape, np.nan)
  return np.divide(total, count, out=out, where=count > 0)


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the mean of the classes' accuracies: the macro accuracy.

  Args:
    logits: (..., N, C).
    labels: (N,) int; classes without examples are left out.

  Returns:
    (...) in [0, 1].

  Example:
    >>> logits = np.array([[2.0, 0], [1, 0], [1, 0], [0, 1]])
    >>> print(balanced_accuracy(logits, np.array([0, 0, 0, 1])))
    1.0

  Source:
    Brodersen et al. 2010, The balanced accuracy and its posterior distribution.
  """
  return mean_of_known(class_accuracy(logits, labels), axis=-1)


def worst_class_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the accuracy of the class of which the fewest are right.

  Args:
    logits: (..., N, C).
    labels: (N,) int; classes without examples are left out.

  Returns:
    (...) in [0, 1].

  Example:
    >>> logits = np.array([[2.0, 0], [1, 0], [1, 0], [0, 1]])
    >>> print(worst_class_accuracy(logits, np.array([0, 0, 1, 1])))
    0.5
  """
  return _worst(class_accuracy(logits, labels), better=1)


def subtract_log_prior(
  logits: np.ndarray, prior: Any, *, tau: float = 1.0
) -> np.ndarray:
  """Takes off logits how common the classes were: post-hoc logit adjustment.

  result = logits - tau log prior

  A network that learned from a long tail by plain cross-entropy then names classes
  as if all were equally common. One that learned by `logit_adjustment`, or on
  batches with classes alike, does so already.

  Args:
    logits: (..., C).
    prior: (C,) > 0, shares or counts of the training set.
    tau: strength.

  Returns:
    (..., C) float64.

  Example:
    >>> print(subtract_log_prior(np.log([[3.0, 1.0]]), [3, 1]).round(3))
    [[1.386 1.386]]

  Source:
    Menon et al. 2021, arXiv:2007.07314, equation 9.
  """
  prior = read_prior(prior, np.shape(logits)[-1], "subtract_log_prior")
  return np.asarray(logits, np.float64) - tau * np.log(prior)


def group_scores(
  task: Task, outputs: np.ndarray, targets: Any, groups: np.ndarray, count: int
) -> np.ndarray:
  """Scores networks on each group of examples apart.

  Args:
    task: whose score it is.
    outputs: (M, N, ...) of M networks.
    targets: (N, ...) arrays.
    groups: (N,) int in [0, G).
    count: G, how many groups there are.

  Returns:
    (M, G); nan for a group without examples.

  Example:
    >>> from kdjax.tasks import classification
    >>> logits, labels = np.eye(2)[None, [0, 0, 1]], np.array([0, 1, 1])
    >>> groups = np.array([0, 0, 1])
    >>> print(group_scores(classification(2), logits, labels, groups, 2))
    [[0.5 1. ]]
  """
  # Not above, where `evaluate` itself is made.
  from kdjax.evaluate.measure import score

  scores = np.full((len(outputs), count), np.nan)
  for group in range(count):
    places = np.flatnonzero(np.asarray(groups) == group)
    if len(places):
      some = jax.tree.map(lambda x, i=places: np.asarray(x)[i], targets)
      scores[:, group] = score(task, outputs[:, places], some)
  return scores


def measure_classes(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
  """Says of several networks how alike they serve the classes.

  Args:
    logits: (M, N, C), one row of networks.
    labels: (N,) int.

  Returns:
    "balanced_accuracy" and "worst_class_accuracy", lists of one float a network;
    "per_class": "examples", how many there are of each, and the networks' mean
    "accuracy", None where there are none.

  Example:
    >>> scores = measure_classes(np.eye(2)[None, [0, 0, 1]], np.array([0, 1, 1]))
    >>> scores["per_class"]["accuracy"], scores["balanced_accuracy"]
    ([1.0, 0.5], [0.75])
  """
  by_class = class_accuracy(logits, labels)
  counts = count_classes(labels, by_class.shape[-1]).astype(int)
  return {
    "balanced_accuracy": _floats(mean_of_known(by_class, axis=-1)),
    "worst_class_accuracy": _floats(_worst(by_class, better=1)),
    "per_class": {
      "examples": counts.tolist(),
      "accuracy": _numbers(mean_of_known(by_class, axis=0)),
    },
  }


def measure_groups(
  task: Task,
  outputs: np.ndarray,
  targets: Any,
  groups: np.ndarray,
  names: Sequence[str],
) -> dict[str, Any]:
  """Says of several networks how alike they serve groups of examples.

  Args:
    task: whose score it is.
    outputs: (M, N, ...) of M networks.
    targets: (N, ...) arrays.
    groups: (N,) int, places in the names.
    names: of the groups.

  Returns:
    "worst_group_<score>" and "mean_group_<score>", lists of one float a network;
    "per_group": "examples" of each group and the networks' mean score, by its
    name, None where there are none.

  Example:
    >>> from kdjax.tasks import classification
    >>> logits, labels = np.eye(2)[None, [0, 0, 1]], np.array([0, 1, 1])
    >>> groups = np.array([0, 0, 1])
    >>> measure_groups(classification(2), logits, labels, groups, ("a", "b"))[
    ...   "worst_group_accuracy"
    ... ]
    [0.5]
  """
  scores = group_scores(task, outputs, targets, groups, len(names))
  counts = np.bincount(np.asarray(groups), minlength=len(names))
  return {
    f"worst_group_{task.score}": _floats(_worst(scores, task.better)),
    f"mean_group_{task.score}": _floats(mean_of_known(scores, axis=-1)),
    "per_group": {
      "examples": counts.tolist(),
      task.score: _numbers(mean_of_known(scores, axis=0)),
    },
  }


def _worst(values: np.ndarray, better: int) -> np.ndarray:
  """The worst over the last axis of what is not nan; nan where all is."""
  known = ~np.isnan(values)
  worst = better * np.min(
    np.where(known, better * values, np.inf), axis=-1, initial=np.inf
  )
  return np.where(known.any(-1), worst, np.nan)


def _floats(values: np.ndarray) -> list[float]:
  return [float(x) for x in values]


def _numbers(values: np.ndarray) -> list[float | None]:
  return [float(x) if np.isfinite(x) else None for x in values]
