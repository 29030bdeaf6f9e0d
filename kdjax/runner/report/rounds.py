"""What iterating gave: soft labels and students, round by round."""

from collections.abc import Mapping
from typing import Any

from kdjax.runner.report import formats, reading
from kdjax.runner.report.text import Table

_NOTES = (
  "Soft labels: how often their most likely class is wrong, over the examples"
  " that students learn from; the run does not look at these labels. Effective"
  " sources: what the weighted sources are worth, on average over examples and,"
  " in brackets, at the least.",
  "Chains: how many of the seeds, each with sources of its own, had not stopped"
  " before. All rows are over all chains; each chain's student is that of its"
  " own best round.",
)


def rounds_table(results: Mapping[str, Any]) -> Table:
  """Returns what each round gave."""
  rows = []
  for one in results["rounds"]:
    mean = formats.with_spread(one["effective_sample_size"])
    least = min(one["least_effective_sample_size"])
    rows.append(
      (
        str(one["round"]),
        str(one["sources"]),
        f"{mean} ({least:.2f})",
        formats.with_spread(_errors(one["target_accuracy"])),
        formats.with_spread(one["validation_loss"], 4),
        formats.with_spread(_errors(one["test_accuracy"])),
        f"{sum(one['counts'])} of {len(one['counts'])}",
      )
    )
  headers = (
    "Round",
    "Sources",
    "Effective sources",
    "Soft labels' error, %",
    "Validation loss, nats",
    "Test error, %",
    "Chains",
  )
  return Table("Rounds", headers, tuple(rows), (*_NOTES, _best(results)))


def _best(results: Mapping[str, Any]) -> str:
  best = (results.get("soft_td") or {}).get("best_round")
  if not best:
    return ""
  return f"Best rounds of the chains: {', '.join(map(str, best))}."


def _errors(accuracy: Any) -> Any:
  return 100 * (1 - reading.numbers(accuracy))
