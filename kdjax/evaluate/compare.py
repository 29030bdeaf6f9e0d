"""Whether a difference between paired runs is one."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Comparison(NamedTuple):
  """A paired comparison of test errors, in percentage points.

  Attributes:
    mean: mean difference of errors; negative = the student errs less.
    standard_deviation: of the differences; None for a single pair.
    p_value: two-sided paired t test; None where it is not defined (a single
      pair, or differences that are all the same).
    wins: pairs in which the student errs less.
    pairs: how many pairs.
  """

  mean: float
  standard_deviation: float | None
  p_value: float | None
  wins: int
  pairs: int


def compare(student_accuracy, control_accuracy) -> Comparison:
  """Compares accuracies of runs that share seed, data and steps pair by pair.

  Args:
    student_accuracy: (S,) in [0, 1], one a seed.
    control_accuracy: (S,) in [0, 1], of the same seeds.

  Returns:
    The comparison.

  Raises:
    ValueError: if the lengths differ.

  Example:
    >>> result = compare([0.95, 0.96, 0.97], [0.94, 0.94, 0.94])
    >>> round(result.mean, 6), round(result.p_value, 4), result.wins
    (-2.0, 0.0742, 3)
  """
  student, control = np.asarray(student_accuracy), np.asarray(control_accuracy)
  if student.shape != control.shape:
    raise ValueError(
      f"compare: pairs need equal lengths, got {student.shape} and {control.shape}"
    )
  # Accuracies are shares of whole examples: rounding takes off float noise.
  difference = np.round(100.0 * (control - student), 9)
  spread = float(np.std(difference, ddof=1)) if len(difference) > 1 else None
  p_value = None
  if spread:
    p_value = float(stats.ttest_1samp(difference, 0.0).pvalue)
  return Comparison(
    float(np.mean(difference)),
    spread,
    p_value,
    int(np.sum(difference < 0)),
    len(difference),
  )
