"""The record of `launch.py compress`: one table, one picture, the page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kdjax.report import (
  formats,
  logs,
  page,
  pictures,
  style,
  teachers,
  verdicts,
)
from kdjax.report.pictures import Picture
from kdjax.report.reading import numbers
from kdjax.report.tables import without_empty_columns
from kdjax.report.text import Table, to_text

# What post-training int8 is allowed to lose, in points, and to keep, of bytes.
LOSS, SHARE = 0.3, 0.3
# Rows that no other picture has.
MARKS = {
  "int8": ("#e69f00", "v"),
  "post_training": ("#8b5a2b", "X"),
  "pruned": ("#56b4e9", "P"),
  "qad": ("#7a5fb0", "<"),
}
_TIMES = (
  "Milliseconds for 1 / 64 images, median of at most 50 rounds in which all"
  " networks of all runtimes take turns, the first seed, pixels to logits. int8"
  " in jax is for size: XLA has no fast kernels for it on a CPU. onnxruntime"
  " int8: the float32 network rounded by onnxruntime, calibrated on training"
  " images; –: its converter knows no network in few bits."
)
RUNTIMES = {
  "jax": "jax",
  "onnxruntime": "onnxruntime",
  "onnxruntime_int8": "onnxruntime int8",
}


def write(workdir: Path, results: Mapping[str, Any]) -> Path:
  """Writes the figures, the page and, last, results.json.

  Args:
    workdir: of the run.
    results: as they are to stand in results.json.

  Returns:
    The page.

  Raises:
    StorageError: if something cannot be written.
  """
  teachers.warn(results)
  drawn = draw(results)
  pictures.save_figures(workdir / "figures", drawn)
  rows = shown(results)
  parts = {
    "name": results["name"],
    "headline": headline(results),
    "notes": notes(results),
    "accuracies": [
      (name, rows[name]["test_accuracy"])
      for name in ("teacher", "student", "baseline")
    ],
    "tables": tables(results),
    "figures": drawn,
    "results": results,
  }
  written = page.write_html(workdir / "report.html", parts)
  logs.write_json(workdir / "results.json", results)
  return written


def summary(results: Mapping[str, Any]) -> str:
  """Returns what a run found, for the terminal.

  Args:
    results: as in results.json.

  Returns:
    Tables and sentences.
  """
  sentences = [headline(results), *notes(results)]
  return "\n".join([*map(to_text, tables(results)), *sentences])


def shown(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """Returns the rows that stand in the table, controls aside.

  Args:
    results: as in results.json.

  Returns:
    Figures by name.
  """
  rows = results["table"]["rows"]
  return {name: one for name, one in rows.items() if not one["control"]}


def title_of(results: Mapping[str, Any], name: str) -> str:
  """Says what a row is.

  Args:
    results: as in results.json.
    name: of the row.

  Returns:
    A few words.
  """
  found = results["table"]
  bits, share = found["quantization"], f"{100 * found['sparsity']:.0f} %"
  return {
    "teacher": "Teacher",
    "baseline": "Twin, labels alone",
    "student": "Student",
    "int8": "Student, int8 afterwards",
    "post_training": f"Student, {bits} afterwards",
    "pruned": f"Student, {share} pruned",
    "pruned_baseline": f"Twin, {share} pruned",
    "qad": f"Student, learned in {bits}",
    "qad_baseline": f"Twin, learned in {bits}",
  }[name]


def headline(results: Mapping[str, Any]) -> str:
  """Says what int8 and pruning leave of the student.

  Args:
    results: as in results.json.

  Returns:
    A sentence; where the teacher is useless, that comes first.
  """
  rows = shown(results)
  student, int8, pruned = rows["student"], rows["int8"], rows["pruned"]
  return teachers.before(
    results,
    f"The student's {_kilobytes(student)} become {_kilobytes(int8)} in int8"
    f" ({_share(int8, student)}) and {_kilobytes(pruned)} with"
    f" {100 * results['table']['sparsity']:.0f} % of the weights pruned"
    f" ({_share(pruned, student)}); test accuracy {_accuracy(student)} %,"
    f" {_accuracy(int8)} % and {_accuracy(pruned)} %; the teacher has"
    f" {_kilobytes(rows['teacher'])} and {_accuracy(rows['teacher'])} %.",
  )


def notes(results: Mapping[str, Any]) -> list[str]:
  """Returns the sentences that belong beside the headline.

  Args:
    results: as in results.json.

  Returns:
    Whether int8 keeps what it should, whether the teacher helps pruned and
    quantised students, and few seeds.
  """
  rows = shown(results)
  gap = 100 * float(
    np.mean(rows["student"]["test_accuracy"])
    - np.mean(rows["int8"]["test_accuracy"])
  )
  part = _mean(rows["int8"], "bytes") / _mean(rows["student"], "bytes")
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
      f"Only {seeds} seed(s): a difference can hardly be told from chance; use"
      " at least five."
    )
  return sentences


def tables(results: Mapping[str, Any]) -> list[Table]:
  """Makes the tables: all networks, and their differences.

  Args:
    results: as in results.json.

  Returns:
    The tables, in order.
  """
  return [networks_table(results), differences_table(results)]


def networks_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of what each network gives and takes.

  Args:
    results: as in results.json.

  Returns:
    A row a network; a dot marks those that none beats in bytes and accuracy.
  """
  found = results["table"]
  rows = tuple(
    (
      title_of(results, name) + " •" * (name in found["front"]),
      _accuracy(one),
      formats.count(_mean(one, "bytes")),
      formats.count(one["parameters"]),
      formats.count(_mean(one, "nonzero")),
      formats.scaled(one["flops"]),
      formats.count(None if one["peak_bytes"] is None
                    else one["peak_bytes"] / 1024),
      *(_latency(one, runtime) for runtime in RUNTIMES),
      _percent(one, "agreement"),
      _percent(one, "noise_accuracy"),
      _percent(one, "shift_accuracy"),
      formats.with_spread(one["calibration_error"], 3),
    )
    for name, one in shown(results).items()
  )  # fmt: skip
  headers = (
    "Network (• Pareto front)", "Test accuracy, %", "File, bytes", "Parameters",
    "Not zero", "FLOPs", "Peak memory, KiB",
    *(f"{title}, ms" for title in RUNTIMES.values()),
    "Agrees with teacher, %", "With noise, %", "Shifted, %", "ECE",
  )  # fmt: skip
  return without_empty_columns(
    Table("What each network gives and takes", headers, rows, _notes(found))
  )


def differences_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of paired differences.

  Args:
    results: as in results.json.

  Returns:
    A row a comparison.
  """
  rows = tuple(
    (
      f"{title_of(results, one['student'])} − {_lower(results, one['control'])}",
      _difference(one),
      formats.p_value(one["p_value"]),
      f"{one['wins']} of {one['pairs']}",
      verdicts.verdict(one),
    )
    for one in results["table"]["comparisons"]
  )
  return Table(
    "Differences over paired seeds",
    ("Comparison", "Test accuracy, points", "p", "Seeds better", "Verdict"),
    rows,
    (
      "Positive: the first is more accurate. Twins learn from the labels alone,"
      " with the same seeds, steps, masks' schedule and bits. ±: standard"
      " deviation of the differences. p: paired t-test, two-sided.",
    ),
  )


def draw(results: Mapping[str, Any]) -> dict[str, Picture]:
  """Draws the picture.

  Args:
    results: as in results.json.

  Returns:
    It, by its name.
  """
  return {
    "accuracy_size": Picture(
      size_figure(results),
      "Accuracy against size",
      "Mean over seeds, bars one standard deviation. The line is the Pareto"
      " front: no other network is smaller and as accurate.",
    )
  }


@style.styled
def size_figure(results: Mapping[str, Any]) -> Figure:
  """Draws accuracy against the bytes of the file.

  Args:
    results: as in results.json.

  Returns:
    A figure: a mark a network, a line through the Pareto front.
  """
  rows, front = shown(results), results["table"]["front"]
  drawing = style.figure(3.6)
  axes = drawing.subplots()
  ends = [
    (_mean(rows[name], "bytes") / 1000, _mean(rows[name], "test_accuracy"))
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
      _mean(one, "bytes") / 1000, values.mean(),
      yerr=values.std(ddof=1) if len(values) > 1 else 0,
      color=colour, marker=marker, markersize=7, ls="", capsize=2, lw=1,
      label=title_of(results, name),
    )  # fmt: skip
  style.plain_log_scale(axes, "x")
  axes.set(xlabel="File, kB", ylabel="Test accuracy, %")
  axes.grid(axis="y")
  drawing.legend(loc="outside lower center", ncols=2)
  return drawing


def _notes(found: Mapping[str, Any]) -> tuple[str, ...]:
  rounded = found["rows"]["student"].get("onnxruntime_int8_accuracy")
  notes = (
    "Mean ± standard deviation over seeds. File: safetensors, whole numbers and"
    " their scales as they are, of an array with enough zeros the others and one"
    " bit a place. FLOPs: one image, as the compiler counts. Peak memory:"
    " arguments, results and what is between, 64 images, as the compiler plans.",
    f"With noise: normal, deviation {found['noise']:g} of the range of pixels."
    f" Shifted: by {100 * found['shift']:g} % of the side, in one of eight"
    " directions. ECE: expected calibration error, 15 bins.",
  )
  if "latency_ms" in found["rows"]["student"]:
    notes = (notes[0], _TIMES, *notes[1:])
  if rounded is not None:
    notes += (
      f"The student's first seed in onnxruntime's int8: {100 * rounded:.2f} %.",
    )
  return notes


def _taught(results, name: str, control: str, what: str) -> str:
  (one,) = (
    x for x in results["table"]["comparisons"]
    if (x["student"], x["control"]) == (name, control)
  )  # fmt: skip
  gain = -one["mean"]
  p = one["p_value"]
  evidence = f"{one['wins']} of {one['pairs']} paired seeds"
  if p is not None:
    text = formats.p_value(p)
    evidence += f", p {text if text.startswith('<') else f'= {text}'}"
  sure = p is not None and p < 0.05
  word = "was not shown to help"
  if sure:
    word = "helps" if gain > 0 else "does harm"
  return (
    f"{what}, the teacher {word}: {formats.signed(gain)} points against labels"
    f" alone ({evidence})."
  )


def _lower(results, name: str) -> str:
  title = title_of(results, name)
  return title[0].lower() + title[1:]


def _difference(comparison: Mapping[str, Any]) -> str:
  # Comparisons are of errors; the table is of accuracies.
  spread = comparison["standard_deviation"]
  written = formats.signed(-comparison["mean"])
  return written if spread is None else f"{written} ± {spread:.2f}"


def _latency(one: Mapping[str, Any], runtime: str) -> str:
  times = (one.get("latency_ms") or {}).get(runtime)
  if not times:
    return formats.MISSING
  return " / ".join(f"{times[batch]:.3g}" for batch in sorted(times, key=int))


def _percent(one: Mapping[str, Any], key: str) -> str:
  return formats.with_spread(100 * numbers(one.get(key, [])))


def _accuracy(one: Mapping[str, Any]) -> str:
  return _percent(one, "test_accuracy")


def _mean(one: Mapping[str, Any], key: str) -> float:
  return float(np.mean(one[key]))


def _kilobytes(one: Mapping[str, Any]) -> str:
  size = _mean(one, "bytes") / 1000
  return f"{size:,.0f} kB" if size >= 100 else f"{size:.3g} kB"


def _share(one: Mapping[str, Any], of: Mapping[str, Any]) -> str:
  return f"{100 * _mean(one, 'bytes') / _mean(of, 'bytes'):.0f} %"
