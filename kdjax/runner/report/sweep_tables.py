"""The tables of a sweep: its grid, and its cells beside each other."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.runner.report import formats, reading
from kdjax.runner.report.choices import like_best
from kdjax.runner.report.tables import sweep_table, without_empty_columns
from kdjax.runner.report.text import Table

ROWS = 30


def tables_of(
  sweep: Mapping[str, Any], score: reading.Score = reading.ACCURACY
) -> list[Table]:
  """Returns the tables of a sweep: its grid and, where they were tested, its cells."""
  if like_best(sweep) is None:
    return [sweep_table(sweep, score)]
  return [sweep_table(sweep, score), cells_table(sweep, score)]


def cells_table(
  sweep: Mapping[str, Any], score: reading.Score = reading.ACCURACY
) -> Table:
  """Returns every cell beside the best one and beside the baseline."""
  cells = sorted(
    sweep["cells"]["student"],
    key=lambda cell: -score.better * np.mean(cell[score.name]),
  )
  names = list(sweep["axes"])
  rows = tuple(
    (
      ", ".join(formats.setting(cell[name]) for name in names),
      formats.with_spread(score.shown(cell[score.name]), score.digits),
      *_versus(cell["versus_best"], score.digits),
      *_versus(cell["versus_baseline"], score.digits),
    )
    for cell in cells[:ROWS]
  )
  of = f" in {score.points}" if score.points else ""
  sign = "positive" if score.sign > 0 else "negative"
  omissions = len(cells) - len(rows)
  table = Table(
    "Cells of the sweep, the best first",
    (
      ", ".join(map(reading.axis_title, names)),
      score.header, "− best", "p, Holm", "− baseline", "p, Holm",
    ),
    rows,
    (
      f"Differences of {score.title}{of}; {sign}: the cell {score.improved}. p:"
      " paired t-test over the seeds, two-sided, after Holm's correction for"
      " all cells." + (f" {omissions} cells more are in results.json." if omissions else ""),
    ),
  )  # fmt: skip
  return without_empty_columns(table)


def _versus(
  comparison: Mapping[str, Any] | None, digits: int
) -> tuple[str, str]:
  if comparison is None:
    return formats.MISSING, formats.MISSING
  return (
    formats.signed(comparison["mean"], digits),
    formats.p_value(comparison["holm_p_value"]),
  )
