"""Whether a difference between paired runs is one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from kdjax.core.task import Task


class Comparison(NamedTuple):
  """A paired comparison of scores, as people are told of them.

  By default of test errors, in percentage points.

  Attributes:
    mean: mean difference; of errors, negative = the student errs less.
    standard_deviation: of the differences; None for a single pair.
    p_value: two-sided paired t test; None where it is not defined (a single
      pair, or differences that are all the same).
    wins: pairs in which the student is better.
    pairs: how many pairs.
  """

  mean: float
  standard_deviation: float | None
  p_value: float | None
  wins: int
  pairs: int


def compare(
  student_scores, control_scores, *, better: int = 1, factor: float = -100.0
) -> Comparison:
  """Compares scores of runs that share seed, data and steps pair by pair.

  Args:
    student_scores: (S,) one a seed; by default accuracies in [0, 1].
    control_scores: (S,) of the same seeds.
    better: +1 where a higher score is better, -1 where a lower one is.
    factor: what a difference of scores is multiplied with; -100 makes
      accuracies errors in percentage points.
  """
  student, control = np.asarray(student_scores), np.asarray(control_scores)
  if student.shape != control.shape:
    raise ValueError(
      f"compare: pairs need equal lengths, got {student.shape} and {control.shape}"
    )
  # Accuracies are shares of whole examples: rounding takes off float noise.
  difference = np.round(factor * (student - control), 9)
  spread = float(np.std(difference, ddof=1)) if len(difference) > 1 else None
  p_value = None
  if spread:
    p_value = float(stats.ttest_1samp(difference, 0.0).pvalue)
  return Comparison(
    float(np.mean(difference)),
    spread,
    p_value,
    int(np.sum(better * factor * difference > 0)),
    len(difference),
  )


def compare_networks(
  networks: Mapping[str, Mapping[str, Any]],
  pairs: Iterable[tuple[str, str]],
  task: Task,
) -> list[dict[str, Any]]:
  """Compares networks by their task's score, seed by seed.

  Args:
    networks: by name, what results.json says of each, "test_<score>" among it.
    pairs: names, (student, control).

  Returns:
    A row each as in results.json: the names, and a `Comparison`.
  """
  key, words = f"test_{task.score}", task.words
  return [
    {"student": student, "control": control}
    | compare(
      networks[student][key],
      networks[control][key],
      better=task.better,
      factor=words.factor,
    )._asdict()
    for student, control in pairs
  ]


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
  corrections: list[float | None] = [None] * len(p_values)
  largest = 0.0
  for rank, place in enumerate(sorted(places, key=lambda i: p_values[i])):
    value = min(1.0, (len(places) - rank) * p_values[place])
    largest = corrections[place] = max(largest, value)
  return corrections
