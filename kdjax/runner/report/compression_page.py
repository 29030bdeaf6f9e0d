"""The record of `launch.py compress`: one table, one picture, the page."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kdjax.runner.report import (
  formats,
  page,
  record,
  style,
  teachers,
  text,
  verdicts,
)
from kdjax.runner.report.pictures import Picture
from kdjax.runner.report.reading import numbers
from kdjax.runner.report.size_tables import (
  RUNTIMES,
  accuracy,
  mean_of,
  shown,
  table_makers,
  title_of,
)

__all__ = [
  "RUNTIMES",
  "headline",
  "notes",
  "shown",
  "size_figure",
  "summary",
  "table_makers",
  "title_of",
  "write",
]

# What post-training int8 is allowed to lose, in points, and to keep, of bytes.
LOSS, SHARE = 0.3, 0.3
# Rows that no other picture has.
MARKS = {
  "int8": ("#e69f00", "v"),
  "post_training": ("#8b5a2b", "X"),
  "pruned": ("#56b4e9", "P"),
  "qad": ("#7a5fb0", "<"),
}


def write(workdir: Path, results: Mapping[str, Any]) -> Path:
  """Writes the figures and, last, the page."""
  content = {
    "name": results["name"],
    "sentences": lambda: [headline(results), *notes(results)],
    "tiles": lambda: page.accuracy_tiles(
      (name, shown(results)[name]["test_accuracy"])
      for name in ("teacher", "student", "baseline")
    ),
    "tables": table_makers(results),
  }
  return record.write(workdir, results, makers(results), content)


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal."""
  return text.summary(
    table_makers(results), lambda: [headline(results), *notes(results)]
  )


def headline(results: Mapping[str, Any]) -> str:
  """Says what int8 and pruning leave of the student."""
  rows = shown(results)
  student, int8, pruned = rows["student"], rows["int8"], rows["pruned"]
  return teachers.before(
    results,
    f"The student's {_kilobytes(student)} become {_kilobytes(int8)} in int8"
    f" ({_share(int8, student)}) and {_kilobytes(pruned)} with"
    f" {100 * results['table']['sparsity']:.0f} % of the weights pruned"
    f" ({_share(pruned, student)}); test accuracy {accuracy(student)} %,"
    f" {accuracy(int8)} % and {accuracy(pruned)} %; the teacher has"
    f" {_kilobytes(rows['teacher'])} and {accuracy(rows['teacher'])} %.",
  )


def notes(results: Mapping[str, Any]) -> list[str]:
  """Returns the sentences that belong beside the headline."""
  rows = shown(results)
  gap = 100 * float(
    np.mean(rows["student"]["test_accuracy"])
    - np.mean(rows["int8"]["test_accuracy"])
  )
  part = mean_of(rows["int8"], "bytes") / mean_of(rows["student"], "bytes")
  kept = gap <= LOSS and part <= SHARE
  sentences = [
    f"int8 after training {'keeps' if kept else 'DOES NOT keep'} to {LOSS} points"
    f" and {100 * SHARE:.0f} % of the bytes: {formats.signed(-gap)} points,"
    f" {100 * part:.1f} %.",
    _taught(results, "pruned", "pruned_baseline", "Pruned while it learns"),
    _taught(results, "qad", "qad_baseline", "In few bits while it learns"),
  ]
  seeds = len(rows["student"]["test_accuracy"])
  if seeds < 5:
    sentences.append(
      f"Only {seeds} seed{'s' * (seeds > 1)}: a difference can hardly be told from chance; use"
      " at least five."
    )
  return sentences


def makers(results: Mapping[str, Any]) -> dict[str, Callable[[], Picture]]:
  """Returns how the picture is drawn, by its name."""
  return {
    "accuracy_size": lambda: Picture(
      size_figure(results),
      "Accuracy against size",
      "Mean over seeds, bars one standard deviation. The line is the Pareto"
      " front: no other network is smaller and as accurate.",
    )
  }


@style.styled
def size_figure(results: Mapping[str, Any]) -> Figure:
  """Draws accuracy against the bytes of the file."""
  rows, front = shown(results), results["table"]["front"]
  drawing = style.figure(3.6)
  axes = drawing.subplots()
  ends = [
    (mean_of(rows[name], "bytes") / 1000, mean_of(rows[name], "test_accuracy"))
    for name in front
  ]
  axes.plot(
    [x for x, _ in ends], [100 * y for _, y in ends],
    color=style.GREY, lw=1, ls="--", zorder=1, label="Pareto front",
  )  # fmt: skip
  for name, one in rows.items():
    values = 100 * numbers(one["test_accuracy"])
    known = style.colour_of(name), style.marker_of(name)
    colour, marker = MARKS.get(name, known)
    axes.errorbar(
      mean_of(one, "bytes") / 1000, values.mean(),
      yerr=values.std(ddof=1) if len(values) > 1 else 0,
      color=colour, marker=marker, markersize=7, ls="", capsize=2, lw=1,
      label=title_of(results, name),
    )  # fmt: skip
  style.plain_log_scale(axes, "x")
  axes.set(xlabel="File, kB", ylabel="Test accuracy, %")
  axes.grid(axis="y")
  drawing.legend(loc="outside lower center", ncols=2)
  return drawing


def _taught(results, name: str, control: str, what: str) -> str:
  (one,) = (
    x for x in results["table"]["comparisons"]
    if (x["student"], x["control"]) == (name, control)
  )  # fmt: skip
  said = verdicts.verdict(one)
  word = "helps" if said == "gain" else "does harm"
  if said.startswith(verdicts.NOT_SHOWN):
    word = "is not shown to help"
  evidence_text = verdicts.evidence(one, turned=True).removeprefix(
    "difference "
  )
  return f"{what}, the teacher {word}: {evidence_text}, against labels alone."


def _kilobytes(one: Mapping[str, Any]) -> str:
  size = mean_of(one, "bytes") / 1000
  return f"{size:,.0f} kB" if size >= 100 else f"{size:.3g} kB"


def _share(one: Mapping[str, Any], of: Mapping[str, Any]) -> str:
  return f"{100 * mean_of(one, 'bytes') / mean_of(of, 'bytes'):.0f} %"
