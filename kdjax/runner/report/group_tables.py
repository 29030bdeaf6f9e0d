"""The tables of what networks get right class by class and group by group."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.runner.report import formats, reading
from kdjax.runner.report.text import Table

# So many classes or groups have a row; of more those that the student knows least.
_ROWS = 30
# One that stands for all classes, and the classes one by one.
_WHOLE = {
  "Balanced accuracy, %": "balanced_accuracy",
  "Worst class, %": "worst_class_accuracy",
}


def class_tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the table of all classes taken alike, and that of each class."""
  entries = _entries(results, "per_class")
  if not entries:
    return []
  adjusted = {
    name: entry.get("logit_adjusted") or {} for name, entry in entries.items()
  }
  places = {header: (entries, key) for header, key in _WHOLE.items()}
  note = (
    "Balanced accuracy: mean of the classes' own accuracies. Worst class: the"
    " lowest of these."
  )
  if any(adjusted.values()):
    places |= {
      f"{header[:-3]} adjusted, %": (adjusted, key)
      for header, key in _WHOLE.items()
    }
    note += (
      " Adjusted: with the log of the classes' frequencies among the training"
      " examples taken off the logits, for networks that learned these"
      " frequencies."
    )
  whole = Table(
    "Classes alike",
    ("Network", *places),
    tuple(
      (
        reading.title_of(name),
        *(
          formats.with_spread(100 * reading.numbers(source[name].get(key)))
          for source, key in places.values()
        ),
      )
      for name in entries
    ),
    (note,),
  )
  one = _table_of(
    "Class",
    results["class_names"],
    {name: entry["per_class"] for name, entry in entries.items()},
    "accuracy",
    reading.RIGHT,
  )
  return [whole, one]


def group_tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the table of the worst group, and that of each group's score."""
  entries = _entries(results, "per_group")
  if not entries:
    return []
  score = reading.right_of(results)
  whole = Table(
    "Groups alike",
    (
      "Network",
      score.with_unit("Worst group"),
      score.with_unit("Mean of groups"),
    ),
    tuple(
      (
        reading.title_of(name),
        *(
          formats.with_spread(
            score.shown(entry.get(f"{what}_group_{score.name}")), score.digits
          )
          for what in ("worst", "mean")
        ),
      )
      for name, entry in entries.items()
    ),
  )
  one = _table_of(
    "Group",
    results["group_names"],
    {name: entry["per_group"] for name, entry in entries.items()},
    score.name,
    score,
  )
  return [whole, one]


def _table_of(
  title: str,
  names: Sequence[str],
  entries: Mapping[str, Mapping[str, Any]],
  key: str,
  score: reading.Score,
) -> Table:
  """A row a class or group: its examples, each network's score, the student's gap."""
  first, *_ = entries.values()
  columns = {
    name: score.shown(reading.numbers(entry[key]))
    for name, entry in entries.items()
  }
  headers = ["Examples", *map(reading.title_of, columns)]
  gap = None
  if {"student", "teacher"} <= columns.keys():
    headers.append("Student − teacher")
    gap = columns["student"] - columns["teacher"]
  order, notes = range(len(names)), ""
  if len(names) > _ROWS:
    ranks = columns.get("student", next(iter(columns.values())))
    ranks = np.where(np.isfinite(ranks), ranks * score.sign, np.inf)
    order = np.argsort(ranks, kind="stable")[:_ROWS]
    notes = f" The {_ROWS} of {len(names)} in which the student is worst."
  rows = tuple(
    (
      names[i],
      formats.count(first["examples"][i]),
      *(_number(values[i], score.digits) for values in columns.values()),
      *(() if gap is None else (formats.signed(gap[i], score.digits),)),
    )
    for i in order
  )
  return Table(
    f"{score.with_unit(f'{title}: test')}",
    (title, *headers),
    rows,
    (f"Means over the seeds.{notes}",),
  )


def _entries(results: Mapping[str, Any], key: str) -> dict[str, Any]:
  return {
    name: entry
    for name, entry in reading.networks(results).items()
    if entry.get(key)
  }


def _number(value: float, digits: int) -> str:
  return f"{value:.{digits}f}" if np.isfinite(value) else formats.MISSING
