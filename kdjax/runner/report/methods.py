"""The table of many methods: what each gains, and which do not help.

A method helps only where its score is better than the baseline's on average and
the p-value is below 0.05 after Holm's correction for having tried so many.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from kdjax.core.errors import quantity
from kdjax.runner.report import formats, reading, style, verdicts
from kdjax.runner.report.tables import without_empty_columns
from kdjax.runner.report.text import Table

HELPS, HARMS = "helps", "harms"
UNSURE, NO_HELP = "only uncorrected", verdicts.NOT_SHOWN
# The least paired seeds from which a small p-value means much.
FEW = 5


def entries(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """Returns all arms of a comparison, the best score first."""
  by_name = {"baseline": results["baseline"]}
  by_name |= results.get("controls") or {}
  by_name |= results["methods"]
  score = reading.score_of(results)
  value = {
    name: -score.sign * float(reading.finite_mean(score.of(entry)))
    for name, entry in by_name.items()
  }
  return dict(sorted(by_name.items(), key=lambda item: value[item[0]]))


def methods_table(results: Mapping[str, Any]) -> Table:
  """Returns what every method achieves, against the baseline and against kd."""
  score = reading.score_of(results)
  rows = tuple(
    (
      title(name),
      formats.with_spread(score.of(entry), score.digits),
      *_difference(entry.get("versus_baseline"), score.digits),
      *_difference(entry.get("versus_kd"), score.digits),
      _helps(entry, score),
      _settings(entry),
      formats.count(len(entry.get("cells") or [])),
      formats.count(entry.get("seconds")),
    )
    for name, entry in entries(results).items()
  )
  headers = (
    "Arm", score.header, "− baseline", "p", "p, Holm", "− kd", "p", "p, Holm",
    "Against baseline", "Chosen", "Tried", "Seconds",
  )  # fmt: skip
  return without_empty_columns(
    Table(_caption(results), headers, rows, tuple(_notes(results)))
  )


def left_out_table(results: Mapping[str, Any]) -> Table:
  """Returns which methods were not compared, and why."""
  rows = tuple(results["left_out"].items())
  return Table("Methods that are left out", ("Method", "Why"), rows)


@style.styled
def methods_figure(results: Mapping[str, Any]) -> Figure:
  """Draws the scores of all arms, the best one on top."""
  score = reading.score_of(results)
  rows = list(entries(results).items())[::-1]
  drawing = style.figure(0.9 + 0.19 * len(rows))
  axes = drawing.subplots()
  for row, (name, entry) in enumerate(rows):
    values = score.of(entry)
    colour = style.colour_of("student" if name in results["methods"] else name)
    axes.plot(values, [row] * len(values), ".", color=colour, alpha=0.5)
    mean = reading.finite_mean(values)
    axes.plot([mean], [row], "|", color=style.INK, markersize=9)
  lines = (("baseline", results["baseline"], "--"),)
  if "kd" in results["methods"]:
    lines += (("kd", results["methods"]["kd"], ":"),)
  for name, entry, line in lines:
    mean = reading.finite_mean(score.of(entry))
    axes.axvline(mean, color=style.INK, ls=line, lw=0.9, label=title(name))
  axes.set_yticks(range(len(rows)), [title(name) for name, _ in rows])
  axes.tick_params(axis="y", labelsize=8)
  axes.set_ylim(-0.7, len(rows) - 0.3)
  axes.set_xlabel(score.header)
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


def _difference(
  comparison: Mapping[str, Any] | None, digits: int
) -> tuple[str, str, str]:
  if comparison is None:
    return (formats.MISSING,) * 3
  return (
    formats.signed(comparison["mean"], digits),
    formats.p_value(comparison["p_value"]),
    formats.p_value(comparison["holm_p_value"]),
  )


def _helps(entry: Mapping[str, Any], score: reading.Score) -> str:
  """Says what the comparison with the baseline allows to say."""
  comparison = entry.get("versus_baseline")
  if comparison is None:
    return formats.MISSING
  finding = verdicts.helps(entry, score)
  if finding == "gain":
    return HELPS
  if not finding.startswith(verdicts.NOT_SHOWN):
    return HARMS
  unsure = verdicts.verdict(comparison, score=score) == "gain"
  return UNSURE if unsure else NO_HELP


def _settings(entry: Mapping[str, Any]) -> str:
  names = {"method_weight": "weight ×", "label_smoothing": "smoothing "}
  return ", ".join(
    f"{names.get(name, 'rate ' if name == 'learning_rate' else name + ' ')}"
    f"{value:.2g}"
    for name, value in (entry.get("settings") or {}).items()
  )


def _caption(results: Mapping[str, Any]) -> str:
  baseline = results["baseline"]
  seeds = len(reading.score_of(results).of(baseline))
  examples = baseline.get("test_examples")
  noun = "example" if examples == 1 else "examples"
  return (
    f"Methods on {formats.count(examples)} test {noun}, mean ± standard deviation"
    f" over {quantity(seeds, 'paired seed')}"
  )


def _notes(results: Mapping[str, Any]) -> list[str]:
  """What was tried, which methods help, and which do not."""
  table, score = results["methods"], reading.score_of(results)
  names_by_verdict = {
    verdict: ", ".join(
      name
      for name, entry in entries(results).items()
      if name in table and _helps(entry, score) == verdict
    )
    for verdict in (HELPS, UNSURE, NO_HELP, HARMS)
  }
  count = (
    len(names_by_verdict[HELPS].split(", ")) if names_by_verdict[HELPS] else 0
  )
  notes = [_search(results)]
  notes.append(
    f"Shown to help against the baseline (p < {reading.SIGNIFICANT:g} after"
    f" Holm's correction): {count} of {len(table)} methods"
    + (f", {names_by_verdict[HELPS]}." if count else ".")
  )
  for verdict, text in (
    (
      UNSURE,
      "Only without the correction, so that more seeds would have to tell",
    ),
    (NO_HELP, "A gain is not shown"),
    (HARMS, "Harm"),
  ):
    if names_by_verdict[verdict]:
      notes.append(f"{text}: {names_by_verdict[verdict]}.")
  notes.append(_against_kd(table, score))
  pairs = table["kd"]["versus_baseline"]["pairs"] if "kd" in table else FEW
  if pairs < FEW:
    notes.append(
      f"Only {pairs} paired seeds: few differences can be told from chance."
    )
  if results.get("left_out"):
    names = ", ".join(results["left_out"])
    notes.append(f"Left out, for reasons that stand below: {names}.")
  return [reading.of_examples(results, note) for note in notes if note]


def _search(results: Mapping[str, Any]) -> str:
  """How the settings were chosen."""
  score = reading.score_of(results)
  sign = "positive" if score.sign > 0 else "negative"
  counts = {
    len(entry.get("cells") or []) for entry in entries(results).values()
  }
  baseline = results["baseline"].get("cells") or [{}]
  seeds = len(baseline[0].get(score.name) or [])
  counts_text = " or ".join(map(str, sorted(counts)))
  return (
    f"Every arm tried {counts_text} setting{'s' * (counts != {1})} with {seeds}"
    f" seed{'s' * (seeds != 1)} on training images held out from teacher and"
    " student; the best one was trained again with fresh seeds and scored on the"
    f" test images. Differences{f' in {score.points}' if score.points else ''},"
    f" {sign} where the method {score.improved};"
    " p: paired t-test over the seeds, two-sided, alone and after Holm's"
    " correction for all arms of the column."
  )


def _against_kd(table: Mapping[str, Any], score: reading.Score) -> str:
  better, below = [], []
  for name, entry in table.items():
    comparison = entry.get("versus_kd")
    if comparison is None:
      continue
    mean = comparison["mean"]
    if reading.finite(mean) and score.sign * mean > 0:
      below.append(name)
      with_holm = {**comparison, "p_value": comparison["holm_p_value"]}
      if verdicts.verdict(with_holm, score=score) == "gain":
        better.append(name)
  if not any(entry.get("versus_kd") for entry in table.values()):
    return ""
  if better:
    return f"Better than kd: {', '.join(better)}."
  return (
    f"None is shown to be better than kd ({len(below)} have a {score.best}"
    f" {score.words.title} on average)."
  )
