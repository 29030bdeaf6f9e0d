"""The table of how well embeddings search, of networks and of compared methods."""

from collections.abc import Mapping
from typing import Any

from kdjax.runner.report import formats, reading
from kdjax.runner.report.text import Table

_COLUMNS = {
  "Recall@1": "recall_at_1",
  "Recall@10": "recall_at_10",
  "Own index, recall@1": "symmetric_recall_at_1",
  "Own index, recall@10": "symmetric_recall_at_10",
  "Spearman": "spearman",
  "Cosine to the teacher": "teacher_cosine",
}


def embedding_tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the table, of what searches; none where nothing does."""
  networks = reading.networks(results)
  entries = {reading.title_of(name): entry for name, entry in networks.items()}
  entries |= results.get("methods") or {}
  entries = {
    name: entry for name, entry in entries.items() if entry.get("spearman")
  }
  if not entries:
    return []
  rows = tuple(
    (name, *(_cell(entry.get(key)) for key in _COLUMNS.values()))
    for name, entry in entries.items()
  )
  return [
    Table(
      "Searches",
      ("Network", *_COLUMNS),
      rows,
      (
        "Recall@k: of how many examples the own vector of the reference is among the"
        " k nearest in its index. Own index: its nearest example by the reference,"
        " among the k nearest in the network's own. Spearman: rank correlation of"
        " all pairs' cosines. The reference are the targets' vectors, or the"
        " teacher's where there are none.",
      ),
    )
  ]


def _cell(values: Any) -> str:
  return formats.with_spread(reading.numbers(values), 3)
