"""What is said of networks that answer several yes/no questions."""

import warnings
from typing import Any

import numpy as np


def average_precision(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """Returns each label's average precision: the area under its precision's steps.

  AP = sum_n (R_n - R_(n-1)) P_n over the distinct scores, highest first, with P the
  precision and R the recall of calling yes what scores no less. It belongs to a
  whole set: that of a set is not the mean of its parts'.

  Args:
    logits: (..., N, L), or anything that orders the examples as they do.
    targets: (N, L) 1 for yes, 0 for no; below 0 or nan where it is not known, which
      counts nowhere.

  Returns:
    (..., L) in [0, 1]; nan for a label without a yes. Their mean is the mAP.

  Example:
    >>> targets = np.array([[1, 1], [0, -1], [1, 0]])
    >>> print(average_precision(np.array([[3.0, 0], [2, 0], [1, 0]]), targets))
    [0.83333333 0.5       ]
  """
  logits = np.asarray(logits)
  flat = logits.reshape(-1, *logits.shape[-2:])
  values = [
    [_of_label(one[:, i], targets[:, i]) for i in range(targets.shape[1])]
    for one in flat
  ]
  return np.reshape(values, (*logits.shape[:-2], targets.shape[1]))


def _of_label(scores: np.ndarray, targets: np.ndarray) -> float:
  known = targets >= 0
  scores, yes = scores[known], targets[known] > 0
  if not yes.any() or np.isnan(scores).any():
    return np.nan
  order = np.argsort(-scores, kind="stable")
  scores, yes = scores[order], yes[order]
  # Equal scores are called together: only the last of them is a step.
  last = np.append(scores[1:] != scores[:-1], True)
  right, called = np.cumsum(yes)[last], np.flatnonzero(last) + 1
  return float(np.sum(np.diff(right, prepend=0) * right / called) / yes.sum())


def measure_labels(
  logits: np.ndarray,
  targets: np.ndarray,
  teacher_logits: np.ndarray | None = None,
) -> dict[str, Any]:
  """Scores networks by what is no sum over examples, and label by label.

  Args:
    logits: (M, N, L), one row of networks; yes is called above 0.
    targets: (N, L) 1, 0, or below 0 or nan for what is not known.
    teacher_logits: (N, L), to measure the agreement with; or None.

  Returns:
    With a teacher "agreement", the share of all answers that are the teacher's;
    "mean_average_precision", a list of one float a network, over the labels that
    have a yes; "per_label", by name a list of L values: "yes" and "known", how many
    examples have it and are known to have it or not, and of the networks' mean
    "average_precision", "precision", "recall" and "f1", None where nothing counts.

  Example:
    >>> scores = measure_labels(np.array([[[1.0], [-1.0]]]), np.array([[1], [1]]))
    >>> scores["per_label"]["recall"], scores["mean_average_precision"]
    ([0.5], [1.0])
  """
  precisions = average_precision(logits, targets)
  known, yes = targets >= 0, targets > 0
  called = (logits > 0) & known
  right = np.sum(called & yes, axis=-2)
  by_name = {
    "average_precision": precisions,
    "precision": _share(right, np.sum(called, axis=-2)),
    "recall": _share(right, np.sum(yes, axis=-2)),
    "f1": _share(2 * right, np.sum(called, axis=-2) + np.sum(yes, axis=-2)),
  }
  alike = {}
  if teacher_logits is not None:
    same = (logits > 0) == (teacher_logits > 0)
    alike = {"agreement": [float(x) for x in np.mean(same, axis=(1, 2))]}
  return alike | {
    "mean_average_precision": [
      float(x) for x in mean_of_known(precisions, axis=-1)
    ],
    "per_label": {
      "yes": yes.sum(0).tolist(),
      "known": known.sum(0).tolist(),
      **{
        name: _numbers(mean_of_known(x, axis=0)) for name, x in by_name.items()
      },
    },
  }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  part, whole = np.broadcast_arrays(np.asarray(part, float), whole)
  return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def mean_of_known(values: np.ndarray, axis: int) -> np.ndarray:
  """The mean of what is not nan; nan where all is.

  Args:
    values: (...).
    axis: to average over.
  """
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # of a mean of nothing
    return np.nanmean(values, axis=axis)


def _numbers(values: np.ndarray) -> list[float | None]:
  return [float(x) if np.isfinite(x) else None for x in values]
