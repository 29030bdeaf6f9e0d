"""The tables of a run, made from its results."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.runner.report import formats, reading, verdicts
from kdjax.runner.report.text import Table

_COLUMNS = (
  (
    "Agreement, %",
    "Agreement: share of test images that a network puts into its teacher's"
    " class.",
  ),
  ("NLL, nats", "NLL: negative log-likelihood of the true class."),
)
_AGREEMENT_OF_LABELS = (
  "Agreement: share of all answers, yes or no, that are the teacher's too."
)
_PAIRED = (
  ("95 % interval", "±: standard deviation of the differences."),
  ("95 % interval", "Interval: of the mean difference, by Student's t."),
  (
    "p",
    "p: paired t-test over the {of}, two-sided; with p ≥ 0.05 neither better nor"
    " worse is shown.",
  ),
)


def networks_table(results: Mapping[str, Any]) -> Table:
  """Returns what each network achieves on the test set."""
  entries, score = reading.networks(results), reading.score_of(results)
  headers = (
    "Network",
    score.header,
    "Agreement, %",
    "Calibration error, %",
    "NLL, nats",
  )
  rows = tuple(
    (
      reading.title_of(name),
      formats.with_spread(score.of(entry), score.digits),
      formats.with_spread(100 * reading.numbers(entry.get("agreement"))),
      formats.with_spread(
        100 * reading.numbers(entry.get("calibration_error"))
      ),
      formats.with_spread(entry.get("negative_log_likelihood"), 3),
    )
    for name, entry in entries.items()
  )
  descriptions = [
    f"{reading.title_of(name)}: {reading.of_examples(results, text)}."
    for name, entry in entries.items()
    if (text := _description(name, entry))
  ]
  table = without_empty_columns(
    Table(_networks_caption(results), headers, rows)
  )
  explanations = [
    reading.of_answers(results, text)
    for column, text in _COLUMNS
    if column in table.headers
  ]
  if reading.answers_yes_or_no(results):
    explanations = [_AGREEMENT_OF_LABELS if text.startswith("Agreement") else text
                    for text in explanations]  # fmt: skip
  return table._replace(notes=(" ".join(explanations), " ".join(descriptions)))


def cost_table(results: Mapping[str, Any]) -> Table:
  """Returns what each distinct network costs, and the student's savings."""
  entries = reading.networks(results)
  names = ["teacher", "student"]
  models = {entries[name].get("model") for name in names if name in entries}
  names += [
    name
    for name in entries
    if name not in names and entries[name].get("model") not in models
  ]
  entries = {name: entries[name] for name in names if name in entries}
  batches = _batch_sizes(entries.values())
  rows = [_cost_row(name, entry, batches) for name, entry in entries.items()]
  if {"teacher", "student"} <= set(entries):
    rows.append(_savings(entries["student"], entries["teacher"], batches))
  headers = ("Network", "Parameters", "FLOPs")
  headers += (*(f"Batch of {batch}" for batch in batches), "Model")
  return without_empty_columns(
    Table(
      "Cost",
      headers,
      tuple(rows),
      ("FLOPs: forward pass of one example." + _timing([*entries.values()]),),
    )
  )


def comparisons_table(results: Mapping[str, Any]) -> Table:
  """Returns the paired comparisons and what they allow to say."""
  score = reading.score_of(results)
  sign = "Positive" if score.sign > 0 else "Negative"
  return paired_table(
    results.get("comparisons") or [],
    reading.title_of,
    note=f"{sign}: the student {score.improved}.",
    score=score,
  )


def paired_table(
  comparisons: Sequence[Mapping[str, Any]],
  title_of: Callable[[str], str],
  *,
  turned: bool = False,
  of: str = "seeds",
  first: str = "student",
  note: str = "Negative: the student errs less.",
  score: reading.Score = reading.ACCURACY,
) -> Table:
  """Makes the table of paired comparisons.

  Args:
    title_of: name of a network -> its title.
  """
  rows = []
  for one in comparisons:
    control, mean = title_of(one["control"]), one.get("mean")
    spread = one.get("standard_deviation")
    turns = turned and reading.finite(mean)
    difference = formats.signed(-mean if turns else mean, score.digits)
    if reading.finite(spread) and one.get("pairs", 2) > 1:
      difference += f" ± {spread:.{score.digits}f}"
    rows.append(
      (
        f"{title_of(one['student'])} − {control[0].lower()}{control[1:]}",
        difference,
        verdicts.written_interval(one, turned=turned, digits=score.digits),
        formats.p_value(one.get("p_value")),
        f"{one.get('wins', 0)} of {one.get('pairs', 0)}",
        verdicts.verdict(one, first, score),
      )
    )
  title = "accuracy" if turned else score.words.title
  headers = (
    "Comparison",
    f"Test {title}, {score.points}".removesuffix(", "),
    "95 % interval",
    "p",
    f"{of.split()[0].capitalize()} better",
    "Verdict",
  )
  table = without_empty_columns(
    Table(f"Differences over paired {of}", headers, tuple(rows))
  )
  explanations = [text for column, text in _PAIRED if column in table.headers]
  return table._replace(notes=(" ".join([note, *explanations]).format(of=of),))


def sweep_table(
  sweep: Mapping[str, Any], score: reading.Score = reading.ACCURACY
) -> Table:
  """Returns the scores of a sweep.

  Of more than two settings the last two are shown, the others at their
  recommended values.

  Args:
    sweep: {"axes": {name: values}, score: grid with the seeds last,
      f"baseline_{score}": [a seed], "recommendation": {name: value},
      "text": str}; all but the first two may be missing.
  """
  sweep = reading.last_axes(sweep, 2, score.name)
  axes = list(sweep["axes"].items())
  first, down = axes[0]
  second, collectives = axes[1] if len(axes) > 1 else ("", [None])
  values = score.shown(sweep[score.name]).reshape(
    len(down), len(collectives), -1
  )
  star = reading.recommended_cell(sweep)
  rows = tuple(
    (
      formats.setting(value),
      *(
        ("* " if (i, j) == star else "")
        + formats.with_spread(cell, score.digits)
        for j, cell in enumerate(values[i])
      ),
    )
    for i, value in enumerate(down)
  )
  name = reading.axis_title(second)
  columns = [f"{name} {formats.setting(value)}" for value in collectives]
  headers = (
    reading.axis_title(first),
    *(columns if second else [score.header]),
  )
  remarks = [sweep.get("text") or ""]
  if sweep.get(f"baseline_{score.name}"):
    baseline = score.shown(sweep[f"baseline_{score.name}"])
    baseline_text = f"{formats.with_spread(baseline, score.digits)} {score.words.unit}".rstrip()
    remarks.append(f"Baseline: {baseline_text}.")
  if star:
    remarks.append("* recommended.")
  return Table(
    score.with_unit("Sweep: test"), headers, rows, tuple(filter(None, remarks))
  )


def omitted_class_table(omitted: Mapping[str, Any]) -> Table:
  """Returns what a student knows of a class that it has never seen."""
  name = formats.setting(omitted["class"])
  sources = (
    ("Baseline", "baseline_recall", "baseline_accuracy"),
    ("Student", "recall", "accuracy"),
    ("Student, bias shifted", "recall_corrected", "accuracy_corrected"),
  )
  rows = tuple(
    (
      title,
      formats.with_spread(100 * reading.numbers(omitted.get(recall)), 1),
      formats.with_spread(100 * reading.numbers(omitted.get(accuracy)), 1),
    )
    for title, recall, accuracy in sources
    if omitted.get(recall) is not None
  )
  return Table(
    f"Class {name}, never shown to the student",
    ("Network", f"Recall of class {name}, %", "Test accuracy, %"),
    rows,
  )


def training_table(
  history: Sequence[Mapping[str, Any]], score: reading.Score = reading.ACCURACY
) -> Table:
  """Returns how long and how fast each network was trained."""
  rows = []
  for name, epochs in reading.rows_by_network(history).items():
    last = epochs[-1]
    speeds = reading.numbers([row.get("images_per_second") for row in epochs])
    speeds = speeds[np.isfinite(speeds)]
    rows.append(
      (
        reading.title_of(name),
        formats.count(last.get("epoch")),
        formats.count(last.get("step")),
        formats.with_spread(last.get("loss"), 4),
        formats.with_spread(
          score.shown(last.get(f"train_{score.name}")), score.digits
        ),
        formats.count(np.median(speeds)) if speeds.size else formats.MISSING,
      )
    )
  headers = (
    "Network",
    "Epochs",
    "Steps",
    "Last loss",
    score.with_unit("Training"),
    "Images a second",
  )
  table = Table("Training", headers, tuple(rows))
  return without_empty_columns(table)


def _description(name: str, entry: Mapping[str, Any]) -> str:
  method = entry.get("method")
  if name == "student" and method:
    return f"trained by {method}, the method that was chosen"
  return reading.description_of(name)


def _networks_caption(results: Mapping[str, Any]) -> str:
  student = results.get("student") or {}
  seeds = len(reading.score_of(results).of(student))
  examples = student.get("test_examples")
  caption = "Results"
  if examples:
    kind = "held-out training" if reading.on_held_out(results) else "test"
    noun = "example" if examples == 1 else "examples"
    caption += f" on {formats.count(examples)} {kind} {noun}"
  if seeds > 1:
    caption += f", mean ± standard deviation over {seeds} seeds"
  return caption


def _batch_sizes(entries: Iterable[Mapping[str, Any]]) -> list[str]:
  sizes = {size for entry in entries for size in entry.get("latency_ms") or {}}
  return sorted(sizes, key=lambda size: float(size))


def _timing(entries: Iterable[Mapping[str, Any]]) -> str:
  """How latencies were taken, where they were."""
  if not _batch_sizes(entries):
    return ""
  rounds = [
    n for one in entries for n in one.get("latency_rounds", {}).values()
  ]
  text = " Batch of N: latency of N examples at once"
  if rounds:
    least, greatest = min(rounds), max(rounds)
    between = f"{least}" if least == greatest else f"{least} to {greatest}"
    text += f", the median of {between} round{'s' * (greatest > 1)}"
  return f"{text}."


def _cost_row(name: str, entry: Mapping[str, Any], batches: list[str]) -> tuple:
  latency = entry.get("latency_ms") or {}
  return (
    reading.title_of(name),
    formats.count(entry.get("parameters")),
    formats.scaled(entry.get("flops")),
    *(_milliseconds(latency.get(batch)) for batch in batches),
    str(entry.get("model") or formats.MISSING),
  )


def _savings(
  student: Mapping[str, Any], teacher: Mapping[str, Any], batches: list[str]
) -> tuple:
  quick, slow = student.get("latency_ms") or {}, teacher.get("latency_ms") or {}
  return (
    "Saving",
    formats.ratio(
      student.get("parameters"), teacher.get("parameters"), "fewer"
    ),
    formats.ratio(student.get("flops"), teacher.get("flops"), "fewer"),
    *(
      formats.ratio(quick.get(batch), slow.get(batch), "faster")
      for batch in batches
    ),
    "",
  )


def _milliseconds(value: float | None) -> str:
  if not reading.finite(value):
    return formats.MISSING
  return f"{value:.2g} ms" if value < 9.95 else f"{value:,.0f} ms"


def without_empty_columns(table: Table) -> Table:
  """Leaves out columns that no row fills.

  Args:
    table: whose cells are looked at; the first column stays.

  Example:
    >>> without_empty_columns(Table("", ("A", "B"), (("x", "–"),))).headers
    ('A',)
  """
  columns = [
    column
    for column in range(len(table.headers))
    if column == 0
    or any(row[column] not in ("", formats.MISSING) for row in table.rows)
  ]
  return table._replace(
    headers=tuple(table.headers[column] for column in columns),
    rows=tuple(tuple(row[column] for column in columns) for row in table.rows),
  )
