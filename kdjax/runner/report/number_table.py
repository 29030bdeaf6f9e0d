"""The tables of a task whose networks answer with numbers, or with distributions."""

from collections.abc import Mapping
from typing import Any

from kdjax.evaluate import LEVELS
from kdjax.runner.report import formats, reading
from kdjax.runner.report.tables import without_empty_columns
from kdjax.runner.report.text import Table

_TITLES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²"}
_NOTES = {
  "RMSE": "Errors: in the targets' unit, over the targets that are known.",
  "R²": "R²: 1 for no error, 0 for the error of the test targets' mean.",
  "Within 95 %, %": "Within 95 %: share of the targets inside the interval around"
  " the mean that should hold 95 % of them, and so on.",
  "From teacher": "From teacher: root mean squared difference from its numbers.",
}


def number_tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the table of errors and intervals, and that of each output's."""
  entries = {
    name: entry
    for name, entry in reading.networks(results).items()
    if "r2" in entry
  }
  if not entries:
    return []
  table = Table(
    "Numbers",
    (
      "Network",
      *_TITLES.values(),
      "From teacher",
      *(f"Within {level} %, %" for level in LEVELS),
    ),
    tuple(_row(name, entry) for name, entry in entries.items()),
  )
  table = without_empty_columns(table)
  notes = [text for column, text in _NOTES.items() if column in table.headers]
  tables = [table._replace(notes=(" ".join(notes),))]
  several = {name: x for name, x in entries.items() if x.get("per_output")}
  return tables + [_outputs(results, several)] if several else tables


def has_numbers(results: Mapping[str, Any]) -> bool:
  """Says whether any network answers with numbers."""
  return any("r2" in entry for entry in reading.networks(results).values())


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
  return (
    reading.title_of(name),
    *(
      formats.with_spread(entry.get(key, entry.get(f"test_{key}")), 3)
      for key in _TITLES
    ),
    formats.with_spread(entry.get("teacher_difference"), 3),
    *(
      formats.with_spread(
        100 * reading.numbers(entry.get(f"coverage_{level}")), 1
      )
      for level in LEVELS
    ),
  )


def _outputs(
  results: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]
) -> Table:
  first, *_ = (entry["per_output"] for entry in entries.values())
  headers, columns = ["Known"], [map(str, first["known"])]
  for name, entry in entries.items():
    for key in ("rmse", "r2"):
      headers.append(f"{reading.title_of(name)} {_TITLES[key]}")
      columns.append(map(_written, entry["per_output"][key]))
  names = results.get("label_names") or map(str, range(len(first["known"])))
  return Table(
    "Outputs",
    ("Output", *headers),
    tuple(zip(names, *columns, strict=False)),
    ("Known: of the test examples. Means over the seeds.",),
  )


def _written(value: float | None) -> str:
  return "" if value is None else f"{value:.3f}"
