"""The cells of a sweep: laid out along its axes, and compared in pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax import evaluate

Grid = Sequence[Mapping[str, float]]


def sweep_scores(
  grids: Mapping[str, Grid],
  accuracy: Mapping[str, np.ndarray],
  best: Mapping[str, int],
) -> dict[str, Any]:
  """Lays the student's cells out along the axes; lists every arm's cells.

  Args:
    accuracy: by arm, (cells, seeds).
  """
  grid, own = grids["student"], accuracy["student"]
  axes = {
    name: list(dict.fromkeys(cell[name] for cell in grid)) for name in grid[0]
  }
  axes = {name: values for name, values in axes.items() if len(values) > 1}
  baseline = accuracy["baseline"][best["baseline"]]
  cells = {
    arm: [
      cell | {"accuracy": values.tolist()}
      for cell, values in zip(cells, accuracy[arm], strict=True)
    ]
    for arm, cells in grids.items()
  }
  for name, control in (
    ("versus_best", own[best["student"]]),
    ("versus_baseline", baseline),
  ):
    for cell, one in zip(cells["student"], _versus(own, control), strict=True):
      cell[name] = one
  # Nothing is to be said of the best beside itself.
  cells["student"][best["student"]]["versus_best"] = None
  return {
    "axes": axes,
    "accuracy": own.reshape(*map(len, axes.values()), -1).tolist(),
    "baseline_accuracy": baseline.tolist(),
    "recommendation": {name: grid[best["student"]][name] for name in axes},
    "cells": cells,
  }


def _versus(accuracy: np.ndarray, control: np.ndarray) -> list[dict[str, Any]]:
  found = [evaluate.compare(one, control)._asdict() for one in accuracy]
  corrected = evaluate.holm([one["p_value"] for one in found])
  return [
    one | {"holm_p_value": p_value}
    for one, p_value in zip(found, corrected, strict=True)
  ]
