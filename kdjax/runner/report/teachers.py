"""Whether a teacher knows enough to be worth learning from.

A student copies a useless teacher as well as a good one, so that a report which
leaves it out reads like one of a bad method.
"""

from collections.abc import Mapping
from typing import Any

from scipy import stats

from kdjax.core import errors
from kdjax.runner.report import formats, reading


def remark(results: Mapping[str, Any]) -> str:
  """Returns the sentence that a report on a useless teacher begins with."""
  rows = (results.get("table") or {}).get("rows") or results
  teacher, baseline = rows.get("teacher") or {}, rows.get("baseline") or {}
  counted = teacher.get("ensemble") or teacher
  error = _error(counted)
  if error is None:
    return ""
  several = reading.numbers(counted.get("test_accuracy")).size > 1
  who = "The average teacher" if several else "The teacher"
  said = _near_chance(teacher, error) or _worse(error, _error(baseline))
  return f"{who} {said}" if said else ""


def before(results: Mapping[str, Any], sentence: str) -> str:
  """Puts what `remark` says, if anything, before a report's first sentence.

  Example:
    >>> before({"teacher": None}, "It helps.")
    'It helps.'
  """
  return f"{remark(results)} {sentence}".lstrip()


def warn(results: Mapping[str, Any]) -> None:
  """Says on stderr what `remark` says, if anything."""
  said = remark(results)
  if said:
    errors.warn(said)


def _near_chance(teacher: Mapping[str, Any], error: float) -> str:
  examples, chance = teacher.get("test_examples"), teacher.get("chance")
  if not examples or not reading.finite(chance):
    return ""
  right = round(examples * (1 - error / 100))
  test = stats.binomtest(right, examples, chance, alternative="greater")
  if test.pvalue < reading.SIGNIFICANT:
    return ""
  return (
    f"cannot be told from chance: the error is {error:.2f} % on"
    f" {formats.count(examples)} images, that of always naming one class"
    f" {100 * (1 - chance):.2f} % (binomial test, p ="
    f" {formats.p_value(test.pvalue)})."
  )


def _worse(error: float, baseline: float | None) -> str:
  # Accuracies are shares of whole images: what is less is float noise.
  if baseline is None or error <= baseline + 1e-6:
    return ""
  return (
    f"errs more than the baseline ({error:.2f} % against"
    f" {baseline:.2f} % test error), so that what it adds to the labels is"
    " doubtful."
  )


def _error(entry: Mapping[str, Any]) -> float | None:
  mean = float(reading.finite_mean(reading.errors_in_percent(entry)))
  return mean if reading.finite(mean) else None
