"""What is said of networks that answer with numbers, or with normal distributions."""

import statistics
from typing import Any

import numpy as np

# The intervals around a mean whose coverage is measured, percent.
LEVELS = (50, 80, 95)


def half_widths() -> list[float]:
  """How many standard deviations the intervals of LEVELS reach to each side.

  Example:
    >>> [round(x, 3) for x in half_widths()]
    [0.674, 1.282, 1.96]
  """
  normal = statistics.NormalDist()
  return [normal.inv_cdf(0.5 + level / 200) for level in LEVELS]


def measure_numbers(
  answers: np.ndarray,
  targets: np.ndarray,
  teacher_answers: np.ndarray | None = None,
  *,
  deviations: bool = False,
) -> dict[str, Any]:
  """Scores networks by what is no sum over examples, and output by output.

  R2 = 1 - sum_b (y_b - answer_b)^2 / sum_b (y_b - mean y)^2 of each output, over the
  targets that are known, in float64.

  Args:
    answers: (M, N, C) numbers in the targets' unit, one row of networks; or (M, N,
      2 C), C means and C standard deviations.
    targets: (N, C), nan for what is not known.
    teacher_answers: (N, C) or (N, 2 C), to measure the distance to; or None.
    deviations: whether standard deviations follow the means.

  Returns:
    "r2", a list of one float a network, the mean over the outputs; with a teacher
    "teacher_difference", the root of the mean squared difference of the means from
    its; where there are several outputs "per_output", by name a list of C values:
    "known", how many examples have a target, and of the networks' mean "rmse",
    "mae", "r2" and, with deviations, "negative_log_likelihood" and "coverage_95",
    None where nothing counts.

  Example:
    >>> scores = measure_numbers(np.array([[[1.0], [2.0]]]), np.array([[1.0], [3.0]]))
    >>> scores["r2"]
    [0.5]
  """
  answers, targets = (np.asarray(x, np.float64) for x in (answers, targets))
  count = targets.shape[-1]
  known = np.isfinite(targets)
  difference = np.where(known, answers[..., :count] - targets, 0.0)
  centred = np.where(known, targets - _mean(targets, known), 0.0)
  spread = np.sum(centred**2, axis=0)
  r2 = 1 - _ratio(np.sum(difference**2, axis=-2), spread)
  scores = {"r2": [float(x) for x in r2.mean(-1)]}
  if teacher_answers is not None:
    apart = answers[..., :count] - np.asarray(teacher_answers)[..., :count]
    scores["teacher_difference"] = [
      float(x) for x in np.sqrt(np.mean(apart**2, axis=(1, 2)))
    ]
  if count == 1:
    return scores
  by_name = {
    "rmse": np.sqrt(_mean(difference**2, known)),
    "mae": _mean(np.abs(difference), known),
    "r2": r2,
  }
  if deviations:
    wide = answers[..., count:]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
      surprise = 0.5 * (np.log(2 * np.pi) + (difference / wide) ** 2)
      by_name["negative_log_likelihood"] = _mean(surprise + np.log(wide), known)
    inside = np.abs(difference) <= half_widths()[-1] * wide
    by_name[f"coverage_{LEVELS[-1]}"] = _mean(inside, known)
  means = {name: _numbers(x.mean(axis=0)) for name, x in by_name.items()}
  return scores | {"per_output": {"known": known.sum(0).tolist()} | means}


def _mean(values: np.ndarray, known: np.ndarray) -> np.ndarray:
  """(..., C) means of (..., N, C) over what is known of (N, C)."""
  total = np.sum(np.where(known, values, 0.0), axis=-2)
  return _ratio(total, known.sum(0))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  part, whole = np.broadcast_arrays(np.asarray(part, float), whole)
  return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _numbers(values: np.ndarray) -> list[float | None]:
  return [float(x) if np.isfinite(x) else None for x in values]
