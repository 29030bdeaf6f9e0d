"""The record of `launch.py compress`: one table, one picture, the page."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
from kdjax.runner.report.reading import ACCURACY, RIGHT, right_of, score_of
from kdjax.runner.report.size_tables import (
  RUNTIMES,
  mean_of,
  shown,
  table_makers,
  title_of,
  written,
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
# The same of a score that is no percentage: this part of it.
PART = 0.01
# Rows that no other picture has.
MARKS = {
  "int8": ("#e69f00", "v"),
  "post_training": ("#8b5a2b", "X"),
  "pruned": ("#56b4e9", "P"),
  "qad": ("#7a5fb0", "<"),
}


def write(workdir: Path, results: Mapping[str, Any]) -> Path:
  """Writes the figures and, last, the page."""
  score = right_of(results)
  content = {
    "name": results["name"],
    "sentences": lambda: [headline(results), *notes(results)],
    "tiles": lambda: page.score_tiles(
      (
        (name, shown(results)[name][score.key])
        for name in ("teacher", "student", "baseline")
      ),
      score=score,
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
  rows, score = shown(results), right_of(results)
  student, int8, pruned = rows["student"], rows["int8"], rows["pruned"]

  def score_text(one):
    return f"{written(score, one[score.key])} {score.words.unit}".rstrip()

  return teachers.before(
    results,
    f"The student's {_kilobytes(student)} become {_kilobytes(int8)} in int8"
    f" ({_share(int8, student)}) and {_kilobytes(pruned)} with"
    f" {100 * results['table']['sparsity']:.0f} % of the weights pruned"
    f" ({_share(pruned, student)}); {score.title} {score_text(student)},"
    f" {score_text(int8)} and {score_text(pruned)}; the teacher has"
    f" {_kilobytes(rows['teacher'])} and {score_text(rows['teacher'])}.",
  )


def notes(results: Mapping[str, Any]) -> list[str]:
  """Returns the sentences that belong beside the headline."""
  rows, score = shown(results), right_of(results)
  before = mean_of(rows["student"], score.key)
  change = score.words.factor * (mean_of(rows["int8"], score.key) - before)
  percent = score.words.unit == "%"
  tolerance = LOSS if percent else PART * abs(score.words.factor * before)
  part = mean_of(rows["int8"], "bytes") / mean_of(rows["student"], "bytes")
  keeps = -score.sign * change <= tolerance and part <= SHARE
  limit = LOSS if percent else f"{tolerance:.{score.digits}f}"
  difference = formats.signed(change, score.digits)
  sentences = [
    f"int8 after training {'keeps' if keeps else 'DOES NOT keep'} to"
    f" {' '.join(f'{limit} {score.points}'.split())} and {100 * SHARE:.0f} % of the"
    f" bytes: {' '.join(f'{difference} {score.points}'.split())}, {100 * part:.1f} %.",
    _taught(results, "pruned", "pruned_baseline", "Pruned while it learns"),
    _taught(results, "qad", "qad_baseline", "In few bits while it learns"),
  ]
  seeds = len(rows["student"][score.key])
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
      f"{right_of(results).words.title.capitalize()} against size",
      "Mean over seeds, bars one standard deviation. The line is the Pareto"
      " front: no other network is smaller and as"
      f" {'accurate' if right_of(results) == RIGHT else 'good'}.",
    )
  }


@style.styled
def size_figure(results: Mapping[str, Any]) -> Figure:
  """Draws the score against the bytes of the file."""
  rows, front = shown(results), results["table"]["front"]
  score = right_of(results)
  drawing = style.figure(3.6)
  axes = drawing.subplots()
  ends = [
    (mean_of(rows[name], "bytes") / 1000, mean_of(rows[name], score.key))
    for name in front
  ]
  axes.plot(
    [x for x, _ in ends], [score.words.shown(y) for _, y in ends],
    color=style.GREY, lw=1, ls="--", zorder=1, label="Pareto front",
  )  # fmt: skip
  for name, one in rows.items():
    values = score.of(one)
    default = style.colour_of(name), style.marker_of(name)
    colour, marker = MARKS.get(name, default)
    axes.errorbar(
      mean_of(one, "bytes") / 1000, values.mean(),
      yerr=values.std(ddof=1) if len(values) > 1 else 0,
      color=colour, marker=marker, markersize=7, ls="", capsize=2, lw=1,
      label=title_of(results, name),
    )  # fmt: skip
  style.plain_log_scale(axes, "x")
  axes.set(xlabel="File, kB", ylabel=score.header)
  axes.grid(axis="y")
  drawing.legend(loc="outside lower center", ncols=2)
  return drawing


def _taught(results, name: str, control: str, what: str) -> str:
  score = score_of(results)
  (one,) = (
    x for x in results["table"]["comparisons"]
    if (x["student"], x["control"]) == (name, control)
  )  # fmt: skip
  finding = verdicts.verdict(one, score=score)
  word = "helps" if finding == "gain" else "does harm"
  if finding.startswith(verdicts.NOT_SHOWN):
    word = "is not shown to help"
  evidence_text = verdicts.evidence(
    one, turned=score == ACCURACY, score=score
  ).removeprefix("difference ")
  return f"{what}, the teacher {word}: {evidence_text}, against labels alone."


def _kilobytes(one: Mapping[str, Any]) -> str:
  size = mean_of(one, "bytes") / 1000
  return f"{size:,.0f} kB" if size >= 100 else f"{size:.3g} kB"


def _share(one: Mapping[str, Any], of: Mapping[str, Any]) -> str:
  return f"{100 * mean_of(one, 'bytes') / mean_of(of, 'bytes'):.0f} %"
