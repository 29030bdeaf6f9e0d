"""Everything that a finished run leaves in its folder, and on the terminal."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdjax.runner.report import (
  logs,
  page,
  parts,
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
  """Writes the figures and, last, the page; a part that fails is left out.

  Args:
    samples: see `pictures.makers`.
  """
  makers = pictures.makers(results, history, samples)
  return write(workdir, results, makers, page.content(results, history))


def write(
  workdir: Path,
  results: Mapping[str, Any],
  makers: Mapping[str, Callable[[], pictures.Picture]],
  content: Mapping[str, Any],
) -> Path:
  """Writes the figures and, last, the page, as `write_run`."""
  left_out: list[str] = []
  with parts.part("the remark on the teacher", left_out):
    teachers.warn(results)
  files = pictures.drawn(makers, left_out)
  pictures.save_figures(workdir / "figures", files)
  html = page.render(results, content, files, left_out)
  return logs.write_text(workdir / "report.html", html)


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal."""
  makers = page.table_makers(results)
  makers.pop("classes", None)  # The page has a row for each.
  return text.summary(
    makers,
    lambda: [verdicts.headline(results), *verdicts.notes(results)],
  )


def write_figure(workdir: Path, name: str) -> list[Path]:
  """Writes one of the theory's teaching figures and its numbers."""
  figure, numbers = FIGURES[name]
  files = pictures.save_figures(workdir, {name: figure()})
  return [*files, logs.write_json(workdir / f"{name}.json", numbers())]
