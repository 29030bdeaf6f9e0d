"""The cells of a sweep: laid out along its axes, and compared in pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax import evaluate
from kdjax.core.task import Task

Grid = Sequence[Mapping[str, float]]


def ranking(
  scores: np.ndarray, better: int, ties: np.ndarray | float = 0.0
) -> np.ndarray:
  """Orders cells: the best mean first, of equal ones the first, nan last.

  Args:
    scores: (cells, members).
    ties: (cells,) the lower of these is better where means are equal.

  Example:
    >>> ranking(np.array([[1.0], [np.nan], [3.0], [1.0]]), better=1).tolist()
    [2, 0, 3, 1]
  """
  means = -better * np.mean(scores, axis=1)
  return np.lexsort((np.broadcast_to(ties, means.shape), means))


def sweep_scores(
  grids: Mapping[str, Grid],
  values: Mapping[str, np.ndarray],
  best: Mapping[str, int],
  *,
  task: Task,
) -> dict[str, Any]:
  """Lays the student's cells out along the axes; lists every arm's cells.

  Args:
    values: by arm, the score of each member, (cells, seeds).
  """
  grid, student_values, score = grids["student"], values["student"], task.score
  axes = {
    name: list(dict.fromkeys(cell[name] for cell in grid)) for name in grid[0]
  }
  axes = {name: places for name, places in axes.items() if len(places) > 1}
  baseline = values["baseline"][best["baseline"]]
  cells = {
    arm: [
      cell | {score: one.tolist()}
      for cell, one in zip(cells, values[arm], strict=True)
    ]
    for arm, cells in grids.items()
  }
  for name, control in (
    ("versus_best", student_values[best["student"]]),
    ("versus_baseline", baseline),
  ):
    comparisons = versus(student_values, control, task)
    for cell, one in zip(cells["student"], comparisons, strict=True):
      cell[name] = one
  # Nothing is to be said of the best beside itself.
  cells["student"][best["student"]]["versus_best"] = None
  return {
    "axes": axes,
    score: student_values.reshape(*map(len, axes.values()), -1).tolist(),
    f"baseline_{score}": baseline.tolist(),
    "recommendation": {name: grid[best["student"]][name] for name in axes},
    "cells": cells,
  }


def versus(
  values: Sequence[Any], control: Any, task: Task
) -> list[dict[str, Any]]:
  """Compares many with one control, seed by seed, by Holm's correction."""
  how = {"better": task.better, "factor": task.words.factor}
  comparisons = [
    evaluate.compare(one, control, **how)._asdict() for one in values
  ]
  holm_p_values = evaluate.holm([one["p_value"] for one in comparisons])
  return [
    one | {"holm_p_value": p_value}
    for one, p_value in zip(comparisons, holm_p_values, strict=True)
  ]
