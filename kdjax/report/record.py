"""Everything that a finished run leaves in its folder, and on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdjax.report import (
  logs,
  page,
  pictures,
  teachers,
  text,
  theory,
  verdicts,
)

FIGURES = {
  "temperature": (theory.temperature_figure, theory.temperature_data),
  "norms": (theory.norms_figure, theory.norms_data),
}


def write_run(
  workdir: Path,
  results: Mapping[str, Any],
  history: Sequence[Mapping[str, Any]],
  samples: Mapping[str, Any] | None = None,
) -> Path:
  """Writes the figures, the page and, last, results.json.

  A run that holds results.json is over: what dies before goes on.

  Args:
    workdir: of the run.
    results: as they are to stand in results.json.
    history: rows as in metrics.jsonl.
    samples: the keyword arguments of `examples.soft_targets_figure`, or None.

  Returns:
    The page.

  Raises:
    StorageError: if something cannot be written.
  """
  teachers.warn(results)
  drawn = pictures.draw(results, history, samples)
  pictures.save_figures(workdir / "figures", drawn)
  written = page.write_page(workdir / "report.html", results, history, drawn)
  logs.write_json(workdir / "results.json", results)
  return written


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal.

  Args:
    results: as in results.json.

  Returns:
    Tables and sentences.
  """
  sentences = [verdicts.headline(results), *verdicts.notes(results)]
  shown = map(text.to_text, page.tables_of(results))
  return "\n".join([*shown, *sentences])


def write_figure(workdir: Path, name: str) -> list[Path]:
  """Writes one of the theory's teaching figures and its numbers.

  Args:
    workdir: folder to write to.
    name: a key of `FIGURES`.

  Returns:
    The picture and the JSON file.

  Raises:
    StorageError: if they cannot be written.
  """
  figure, numbers = FIGURES[name]
  saved = pictures.save_figures(workdir, {name: figure()})
  return [*saved, logs.write_json(workdir / f"{name}.json", numbers())]
