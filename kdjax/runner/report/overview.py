"""What the experiments gave: one Markdown page from their results.json."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdjax.core.errors import StorageError
from kdjax.runner.report import (
  compression_page,
  formats,
  knowledge_tables,
  language_page,
  page,
  reading,
  synthesis_page,
  text,
  verdicts,
)

_HEAD = """# Experiments

Each experiment is one claim; its command stands below. This page is written by
`make experiments` from `results/`, where every seed, version and setting
stands. Scores are means ± standard deviations over seeds; differences are over
paired seeds, of errors in points, p of the two-sided t-test. Baseline: the student's twin
(same network, seeds and steps), trained on hard labels alone; augmented: the
baseline with the teacher's views.
"""


def overview(runs: Mapping[str, Mapping[str, Any]]) -> str:
  """Writes the page."""
  headers = (
    "Experiment",
    "Teacher",
    "Student",
    "Baseline",
    "Label smoothing",
    "Augmented",
    "Plain distillation",
    "Student − baseline",
    "Student − label smoothing",
    "Student − plain distillation",
  )
  rows: dict[str, list[tuple[str, ...]]] = {}
  for name, results in runs.items():
    score = reading.score_of(results).header
    rows.setdefault(score, []).append(_row(name, results))
  tables = [
    text.to_markdown(text.Table(score, headers, tuple(score_rows)))
    for score, score_rows in rows.items()
  ]
  sections = [_section(name, results) for name, results in runs.items()]
  return "\n".join([_HEAD, *tables, *sections]).strip() + "\n"


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
  """Reads the results of experiments."""
  runs = {}
  for file in sorted(folder.glob("*.json")):
    try:
      runs[file.stem] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
      raise StorageError(f"cannot read {file}: {error}") from error
  return runs


def _row(name: str, results: Mapping[str, Any]) -> tuple[str, ...]:
  entries, score = reading.networks(results), reading.score_of(results)
  if "table" in results:
    entries = results["table"]["rows"]
  errors = [
    formats.with_spread(score.of(entries[network]), score.digits)
    if network in entries
    else "–"
    for network in (
      "teacher", "student", "baseline", "label_smoothing", "augmented",
      "reference",
    )
  ]  # fmt: skip
  return (f"[{name}](#{name})", *errors, *_differences(results, score.digits))


def _differences(results: Mapping[str, Any], digits: int) -> list[str]:
  cells = []
  for control in ("baseline", "label_smoothing", "reference"):
    comparison = verdicts.find_comparison(results, control)
    if comparison is None:
      cells.append("–")
      continue
    difference = formats.signed(comparison["mean"], digits)
    p_value = formats.p_value(comparison["p_value"])
    equals = "" if p_value.startswith("<") else "= "
    cells.append(f"{difference} (p {equals}{p_value})")
  return cells


def _section(name: str, results: Mapping[str, Any]) -> str:
  if "quantify" in results:
    sentences = [knowledge_tables.headline(results)]
    makers = knowledge_tables.table_makers(results)
    return _page(name, results, sentences, makers)
  if "synthesis" in results:
    sentences = [
      synthesis_page.headline(results),
      *synthesis_page.notes(results),
    ]
    return _page(name, results, sentences, synthesis_page.table_makers(results))
  if "table" in results:
    sentences = [
      compression_page.headline(results),
      *compression_page.notes(results),
    ]
    return _page(
      name, results, sentences, compression_page.table_makers(results)
    )
  sentences = [verdicts.headline(results), *verdicts.notes(results)]
  if results.get("task") == "language_model":
    makers = language_page.table_makers(results)
    # Whole texts stand on the run's own page.
    makers.pop("completions", None)
    return _page(name, results, sentences, makers)
  makers = page.table_makers(results, costs=False)
  return _page(name, results, sentences, makers)


def _page(name, results, sentences, makers) -> str:
  environment = results["environment"]
  lines = [
    f"## {name}\n",
    f"    {results['command']}\n",
    f"{' '.join(sentences)}\n",
    *map(text.to_markdown, text.tables(makers)),
    f"{formats.duration(results['seconds']['total'])} on"
    f" {', '.join(environment['devices'])} with {environment['processors']}"
    f" processors, jax {environment['jax']}; commit `{environment['git']}`.\n",
  ]
  return "\n".join(lines)


if __name__ == "__main__":
  home = Path(sys.argv[1])
  (home / "README.md").write_text(overview(read_results(home / "results")))
