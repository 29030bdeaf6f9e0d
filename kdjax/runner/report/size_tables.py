"""The tables of `launch.py compress`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from kdjax.runner.report import formats
from kdjax.runner.report.reading import (
  ACCURACY,
  Score,
  numbers,
  right_of,
  score_of,
)
from kdjax.runner.report.tables import paired_table, without_empty_columns
from kdjax.runner.report.text import Table

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


def shown(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """Returns the rows that stand in the table, controls aside."""
  rows = results["table"]["rows"]
  return {name: one for name, one in rows.items() if not one["control"]}


def title_of(results: Mapping[str, Any], name: str) -> str:
  """Says what a row is."""
  table = results["table"]
  bits, share = table["quantization"], f"{100 * table['sparsity']:.0f} %"
  return {
    "teacher": "Teacher",
    "baseline": "Baseline",
    "student": "Student",
    "int8": "Student, int8 afterwards",
    "post_training": f"Student, {bits} afterwards",
    "pruned": f"Student, {share} pruned",
    "pruned_baseline": f"Baseline, {share} pruned",
    "qad": f"Student, learned in {bits}",
    "qad_baseline": f"Baseline, learned in {bits}",
  }[name]


def table_makers(
  results: Mapping[str, Any],
) -> dict[str, Callable[[], list[Table]]]:
  """Returns how the tables are made, in order, by what they tell."""
  return {
    "networks": lambda: [networks_table(results)],
    "differences": lambda: [differences_table(results)],
  }


def networks_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of what each network gives and takes."""
  table, score = results["table"], right_of(results)
  rows = tuple(
    (
      title_of(results, name) + " •" * (name in table["front"]),
      written(score, one[score.key]),
      formats.count(mean_of(one, "bytes")),
      formats.count(one["parameters"]),
      formats.count(mean_of(one, "nonzero")),
      formats.scaled(one["flops"]),
      formats.count(None if one["peak_bytes"] is None
                    else one["peak_bytes"] / 1024),
      *(_latency(one, runtime) for runtime in RUNTIMES),
      _percent(one, "agreement"),
      *(
        written(score, one[f"{how}_{score.name}"])
        if f"{how}_{score.name}" in one
        else ""
        for how in ("noise", "shift")
      ),
      formats.with_spread(one.get("calibration_error"), 3),
    )
    for name, one in shown(results).items()
  )  # fmt: skip
  headers = (
    "Network (• Pareto front)", score.header, "File, bytes", "Parameters",
    "Not zero", "FLOPs", "Peak memory, KiB",
    *(f"{title}, ms" for title in RUNTIMES.values()),
    "Agrees with teacher, %",
    *(f"{how}, {score.words.unit}".removesuffix(", ")
      for how in ("With noise", "Shifted")),
    "ECE",
  )  # fmt: skip
  return without_empty_columns(
    Table("What each network gives and takes", headers, rows, _notes(results))
  )


def differences_table(results: Mapping[str, Any]) -> Table:
  """Makes the table of paired differences."""
  score = score_of(results)
  better = "Positive: the first is more accurate."
  if score != ACCURACY:
    sign = "Positive" if score.sign > 0 else "Negative"
    better = f"{sign}: the first {score.improved}."
  return paired_table(
    results["table"]["comparisons"],
    partial(title_of, results),
    turned=score == ACCURACY,
    first="the first",
    score=score,
    note=f"{better} Baselines learn from the labels"
    " alone, with the same seeds, steps, masks' schedule and bits.",
  )


def _notes(results: Mapping[str, Any]) -> tuple[str, ...]:
  table, score = results["table"], right_of(results)
  int8_score = table["rows"]["student"].get(f"onnxruntime_int8_{score.name}")
  has_calibration = "calibration_error" in table["rows"]["student"]
  notes = (
    "Mean ± standard deviation over seeds. File: safetensors, whole numbers and"
    " their scales as they are, of an array with enough zeros the others and one"
    " bit a place. FLOPs: one image, as the compiler counts. Peak memory:"
    " arguments, results and what is between, 64 images, as the compiler plans.",
    f"With noise: normal, deviation {table['noise']:g} of the range of pixels."
    f" Shifted: by {100 * table['shift']:g} % of the side, in one of eight"
    " directions."
    + " ECE: expected calibration error, 15 bins."
    * has_calibration,
  )
  if "latency_ms" in table["rows"]["student"]:
    notes = (notes[0], _TIMES, *notes[1:])
  if int8_score is not None:
    notes += (
      "The student's first seed in onnxruntime's int8:"
      f" {score.written(float(score.shown(int8_score)[0]))}.",
    )
  return notes


def _latency(one: Mapping[str, Any], runtime: str) -> str:
  times = (one.get("latency_ms") or {}).get(runtime)
  if not times:
    return formats.MISSING
  return " / ".join(f"{times[batch]:.3g}" for batch in sorted(times, key=int))


def _percent(one: Mapping[str, Any], key: str) -> str:
  return formats.with_spread(100 * numbers(one.get(key, [])))


def written(score: Score, values: Any) -> str:
  """Writes scores of all seeds as people see them, without their unit."""
  return formats.with_spread(score.shown(values), score.digits)


def mean_of(one: Mapping[str, Any], key: str) -> float:
  """Returns the mean over seeds of what a row has one of a seed."""
  return float(np.mean(one[key]))
