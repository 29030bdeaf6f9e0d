"""The table of the labels of a task that answers several yes/no questions."""

from collections.abc import Mapping
from typing import Any

from kdjax.runner.report import formats, reading
from kdjax.runner.report.text import Table


def label_tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the table of the scores of whole answers, and that of each label's."""
  entries = {
    name: entry
    for name, entry in reading.networks(results).items()
    if entry.get("per_label")
  }
  if not entries:
    return []
  whole = {
    "mAP, %": "mean_average_precision",
    "Macro F1, %": "macro_f1",
    "Subset accuracy, %": "subset_accuracy",
    "Accuracy, %": "accuracy",
  }
  first, *_ = (entry["per_label"] for entry in entries.values())
  headers, columns = ["Yes", "Known"], [first["yes"], first["known"]]
  for name, entry in entries.items():
    for header, key in (("F1", "f1"), ("AP", "average_precision")):
      headers.append(f"{reading.title_of(name)} {header}, %")
      columns.append(map(_percent, entry["per_label"][key]))
  return [
    Table(
      "Several labels",
      ("Network", *whole),
      tuple(
        (
          reading.title_of(name),
          *(
            formats.with_spread(100 * reading.numbers(entry.get(key)))
            for key in whole.values()
          ),
        )
        for name, entry in entries.items()
      ),
      (
        "mAP: mean of the labels' average precisions. Macro F1: mean of their F1."
        " Subset accuracy: examples whose known labels are all right. Yes is called"
        " above a probability of 1/2.",
      ),
    ),
    Table(
      "Labels",
      ("Label", *headers),
      tuple(
        (name, *map(str, cells))
        for name, *cells in zip(results["label_names"], *columns, strict=True)
      ),
      ("Yes, known: of the test examples. Means over the seeds.",),
    ),
  ]


def _percent(value: float | None) -> str:
  return "" if value is None else f"{100 * value:.1f}"
