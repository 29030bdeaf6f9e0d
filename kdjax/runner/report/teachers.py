"""Whether a teacher knows enough to be worth learning from, and a student anything.

A student copies a useless teacher as well as a good one, so that a report which
leaves it out reads like one of a bad method; and of students that guess, some guess
better than others.
"""

from collections.abc import Mapping
from typing import Any

from scipy import stats

from kdjax.core import errors
from kdjax.runner.report import formats, reading


def remark(results: Mapping[str, Any]) -> str:
  """Returns what a report on a useless teacher, or student, begins with."""
  rows = (results.get("table") or {}).get("rows") or results
  teacher, baseline = rows.get("teacher") or {}, rows.get("baseline") or {}
  scores = teacher.get("ensemble") or teacher
  score = reading.score_of(results)
  error = score.mean(scores)
  if error is None:
    return ""
  several = score.of(scores).size > 1
  who = "The average teacher" if several else "The teacher"
  finding = _near_chance(teacher, error)
  finding = finding or _worse(error, score.mean(baseline), score)
  if not finding:
    who = "The student"
    finding = _near_chance(teacher, score.mean(rows.get("student") or {}))
  return reading.of_examples(results, f"{who} {finding}") if finding else ""


def before(results: Mapping[str, Any], sentence: str) -> str:
  """Puts what `remark` says, if anything, before a report's first sentence.

  Example:
    >>> before({"teacher": None}, "It helps.")
    'It helps.'
  """
  return f"{remark(results)} {sentence}".lstrip()


def warn(results: Mapping[str, Any]) -> None:
  """Says on stderr what `remark` says, if anything."""
  finding = remark(results)
  if finding:
    errors.warn(finding)


def _near_chance(teacher: Mapping[str, Any], error: float | None) -> str:
  examples, chance = teacher.get("test_examples"), teacher.get("chance")
  if error is None or not examples or not reading.finite(chance):
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


def _worse(value: float, baseline: float | None, score: reading.Score) -> str:
  # Accuracies are shares of whole images: what is less is float noise.
  if baseline is None or score.sign * (value - baseline) >= -1e-6:
    return ""
  worse = "scores lower" if score.sign > 0 else "errs more"
  return (
    f"{worse} than the baseline ({score.written(value)} against"
    f" {score.written(baseline)} {score.title}), so that what it adds to the labels is"
    " doubtful."
  )
