"""Whether a difference between paired runs is one."""

from collections.abc import Sequence
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


def holm(p_values: Sequence[float | None]) -> list[float | None]:
  """Corrects the p-values of several comparisons made at once.

  By Holm's step-down procedure: with m of them in order, the i-th smallest is
  multiplied by m + 1 - i, at most 1 and never below the one before it. The
  chance of even one false gain among those below 0.05 is then below 0.05.

  Args:
    p_values: one a comparison; None where there is none, which counts for
      nothing.

  Returns:
    The corrected ones, in the order given.

  Source:
    Holm 1979, A simple sequentially rejective multiple test procedure.
  """
  places = [i for i, p in enumerate(p_values) if p is not None]
  corrected: list[float | None] = [None] * len(p_values)
  largest = 0.0
  for rank, place in enumerate(sorted(places, key=lambda i: p_values[i])):
    value = min(1.0, (len(places) - rank) * p_values[place])
    largest = corrected[place] = max(largest, value)
  return corrected
