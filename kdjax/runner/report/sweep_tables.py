"""The tables of a sweep: its grid, and its cells beside each other."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.runner.report import formats, reading
from kdjax.runner.report.choices import like_best
from kdjax.runner.report.tables import sweep_table, without_empty_columns
from kdjax.runner.report.text import Table

ROWS = 30


def tables_of(sweep: Mapping[str, Any]) -> list[Table]:
  """Returns the tables of a sweep: its grid and, where they were tested, its cells."""
  if like_best(sweep) is None:
    return [sweep_table(sweep)]
  return [sweep_table(sweep), cells_table(sweep)]


def cells_table(sweep: Mapping[str, Any]) -> Table:
  """Returns every cell beside the best one and beside the baseline."""
  cells = sorted(
    sweep["cells"]["student"], key=lambda cell: -np.mean(cell["accuracy"])
  )
  names = list(sweep["axes"])
  rows = tuple(
    (
      ", ".join(formats.setting(cell[name]) for name in names),
      formats.with_spread(100 * (1 - reading.numbers(cell["accuracy"]))),
      *_versus(cell["versus_best"]),
      *_versus(cell["versus_baseline"]),
    )
    for cell in cells[:ROWS]
  )
  left = len(cells) - len(rows)
  table = Table(
    "Cells of the sweep, the best first",
    (
      ", ".join(map(reading.axis_title, names)),
      "Test error, %", "− best", "p, Holm", "− baseline", "p, Holm",
    ),
    rows,
    (
      "Differences of test error in points; negative: the cell errs less. p:"
      " paired t-test over the seeds, two-sided, after Holm's correction for"
      " all cells." + (f" {left} cells more are in results.json." if left else ""),
    ),
  )  # fmt: skip
  return without_empty_columns(table)


def _versus(comparison: Mapping[str, Any] | None) -> tuple[str, str]:
  if comparison is None:
    return formats.MISSING, formats.MISSING
  return (
    formats.signed(comparison["mean"]),
    formats.p_value(comparison["holm_p_value"]),
  )
