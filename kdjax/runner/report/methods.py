"""The table of many methods: what each gains, and which do not help.

A method helps only where its test error is below the baseline's on average and
the p-value is below 0.05 after Holm's correction for having tried so many.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from kdjax.core.errors import counted
from kdjax.runner.report import formats, reading, style, verdicts
from kdjax.runner.report.tables import without_empty_columns
from kdjax.runner.report.text import Table

HELPS, HARMS = "helps", "harms"
UNSURE, NO_HELP = "only uncorrected", verdicts.NOT_SHOWN
# The least paired seeds from which a small p-value means much.
FEW = 5


def entries(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """Returns all arms of a comparison, the lowest test error first."""
  found = {"baseline": results["baseline"]}
  found |= results.get("controls") or {}
  found |= results["methods"]
  error = {
    name: float(reading.finite_mean(reading.errors_in_percent(entry)))
    for name, entry in found.items()
  }
  return dict(sorted(found.items(), key=lambda item: error[item[0]]))


def methods_table(results: Mapping[str, Any]) -> Table:
  """Returns what every method achieves, against the baseline and against kd."""
  rows = tuple(
    (
      title(name),
      formats.with_spread(reading.errors_in_percent(entry)),
      *_difference(entry.get("versus_baseline")),
      *_difference(entry.get("versus_kd")),
      _helps(entry),
      _settings(entry),
      formats.count(len(entry.get("cells") or [])),
      formats.count(entry.get("seconds")),
    )
    for name, entry in entries(results).items()
  )
  headers = (
    "Arm", "Test error, %", "− baseline", "p", "p, Holm", "− kd", "p", "p, Holm",
    "Against baseline", "Chosen", "Tried", "Seconds",
  )  # fmt: skip
  return without_empty_columns(
    Table(_caption(results), headers, rows, tuple(_notes(results)))
  )


@style.styled
def methods_figure(results: Mapping[str, Any]) -> Figure:
  """Draws the test errors of all arms, the best one on top."""
  found = list(entries(results).items())[::-1]
  drawing = style.figure(0.9 + 0.19 * len(found))
  axes = drawing.subplots()
  for row, (name, entry) in enumerate(found):
    errors = reading.errors_in_percent(entry)
    colour = style.colour_of("student" if name in results["methods"] else name)
    axes.plot(errors, [row] * len(errors), ".", color=colour, alpha=0.5)
    mean = reading.finite_mean(errors)
    axes.plot([mean], [row], "|", color=style.INK, markersize=9)
  lines = (("baseline", results["baseline"], "--"),)
  if "kd" in results["methods"]:
    lines += (("kd", results["methods"]["kd"], ":"),)
  for name, entry, line in lines:
    mean = reading.finite_mean(reading.errors_in_percent(entry))
    axes.axvline(mean, color=style.INK, ls=line, lw=0.9, label=title(name))
  axes.set_yticks(range(len(found)), [title(name) for name, _ in found])
  axes.tick_params(axis="y", labelsize=8)
  axes.set_ylim(-0.7, len(found) - 0.3)
  axes.set_xlabel("Test error, %")
  drawing.legend(loc="outside upper center", ncols=2)
  return drawing


def title(name: str) -> str:
  """Returns an arm's name for people; methods keep the name that flags take.

  Example:
    >>> title("baseline"), title("label_smoothing"), title("dkd")
    ('Baseline', 'Label smoothing', 'dkd')
  """
  controls = ("baseline", "label_smoothing")
  return reading.title_of(name) if name in controls else name


def _difference(comparison: Mapping[str, Any] | None) -> tuple[str, str, str]:
  if comparison is None:
    return (formats.MISSING,) * 3
  return (
    formats.signed(comparison["mean"]),
    formats.p_value(comparison["p_value"]),
    formats.p_value(comparison["holm_p_value"]),
  )


def _helps(entry: Mapping[str, Any]) -> str:
  """Says what the comparison with the baseline allows to say."""
  comparison = entry.get("versus_baseline")
  if comparison is None:
    return formats.MISSING
  said = verdicts.helps(entry)
  if said == "gain":
    return HELPS
  if not said.startswith(verdicts.NOT_SHOWN):
    return HARMS
  return UNSURE if verdicts.verdict(comparison) == "gain" else NO_HELP


def _settings(entry: Mapping[str, Any]) -> str:
  names = {"method_weight": "weight ×", "label_smoothing": "smoothing "}
  return ", ".join(
    f"{names.get(name, 'rate ' if name == 'learning_rate' else name + ' ')}"
    f"{value:.2g}"
    for name, value in (entry.get("settings") or {}).items()
  )


def _caption(results: Mapping[str, Any]) -> str:
  baseline = results["baseline"]
  seeds = len(reading.numbers(baseline["test_accuracy"]))
  examples = baseline.get("test_examples")
  noun = "example" if examples == 1 else "examples"
  return (
    f"Methods on {formats.count(examples)} test {noun}, mean ± standard deviation"
    f" over {counted(seeds, 'paired seed')}"
  )


def _notes(results: Mapping[str, Any]) -> list[str]:
  """What was tried, which methods help, and which do not."""
  found = results["methods"]
  said = {
    verdict: ", ".join(
      name
      for name, entry in entries(results).items()
      if name in found and _helps(entry) == verdict
    )
    for verdict in (HELPS, UNSURE, NO_HELP, HARMS)
  }
  count = len(said[HELPS].split(", ")) if said[HELPS] else 0
  notes = [_search(results)]
  notes.append(
    f"Shown to help against the baseline (p < {reading.SIGNIFICANT:g} after"
    f" Holm's correction): {count} of {len(found)} methods"
    + (f", {said[HELPS]}." if count else ".")
  )
  for verdict, text in (
    (
      UNSURE,
      "Only without the correction, so that more seeds would have to tell",
    ),
    (NO_HELP, "A gain is not shown"),
    (HARMS, "Harm"),
  ):
    if said[verdict]:
      notes.append(f"{text}: {said[verdict]}.")
  notes.append(_against_kd(found))
  pairs = found["kd"]["versus_baseline"]["pairs"] if "kd" in found else FEW
  if pairs < FEW:
    notes.append(
      f"Only {pairs} paired seeds: few differences can be told from chance."
    )
  if results.get("left_out"):
    names = ", ".join(results["left_out"])
    notes.append(f"Left out, for they do not fit these networks: {names}.")
  return [note for note in notes if note]


def _search(results: Mapping[str, Any]) -> str:
  """How the settings were chosen."""
  counts = {
    len(entry.get("cells") or []) for entry in entries(results).values()
  }
  baseline = results["baseline"].get("cells") or [{}]
  seeds = len(baseline[0].get("accuracy") or [])
  tried = " or ".join(map(str, sorted(counts)))
  return (
    f"Every arm tried {tried} setting{'s' * (counts != {1})} with {seeds}"
    f" seed{'s' * (seeds != 1)} on training images held out from teacher and"
    " student; the best one was trained again with fresh seeds and scored on the"
    " test images. Differences in points, negative where the method errs less;"
    " p: paired t-test over the seeds, two-sided, alone and after Holm's"
    " correction for all arms of the column."
  )


def _against_kd(found: Mapping[str, Any]) -> str:
  better, below = [], []
  for name, entry in found.items():
    comparison = entry.get("versus_kd")
    if comparison is None:
      continue
    if reading.finite(comparison["mean"]) and comparison["mean"] < 0:
      below.append(name)
      corrected = {**comparison, "p_value": comparison["holm_p_value"]}
      if verdicts.verdict(corrected) == "gain":
        better.append(name)
  if not any(entry.get("versus_kd") for entry in found.values()):
    return ""
  if better:
    return f"Better than kd: {', '.join(better)}."
  return (
    f"None is shown to be better than kd ({len(below)} have a lower error on"
    " average)."
  )
