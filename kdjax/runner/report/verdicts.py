"""The sentences of a report, made from its numbers and not from hopes.

A gain is claimed only where the student's score is better on average and a
paired t-test over the seeds gives p < 0.05; "no gain" only where it is worse
and p < 0.05, and then a control that does better than the student is named. All
else is "not shown", with the interval that the difference may lie in: few seeds
are no proof that there is nothing.
"""

from collections.abc import Mapping
from typing import Any

from scipy import stats

from kdjax.runner.report import choices, formats, reading, teachers
from kdjax.runner.report.reading import ACCURACY, Score, score_of

NOT_SHOWN = "not shown"

_PHRASES = {
  "baseline": "the same network trained on hard labels alone",
  "label_smoothing": "the same network trained on smoothed labels",
  "augmented": "the same network trained on hard labels of augmented images",
  "reference": "the same network trained by plain distillation",
  "one_round": "the same student in a single round of as many steps",
  "shuffled_teacher": "the same student of a teacher whose answers are shuffled"
  " within classes",
  "uniform_teacher": "the same student of a teacher that finds all classes alike",
  "noise_teacher": "the same student of a teacher that answers at random",
  "matched_smoothing": "the same student of labels smoothed to the teacher's"
  " entropy",
  "untrained": "what the student began with",
}
# What follows for the reader, by control and verdict.
_ADVICE = {
  ("augmented", "no gain: student worse"): " Where the student's own data can"
  " be augmented, do that first.",
  ("label_smoothing", NOT_SHOWN): " Smoothed labels, which need no teacher, may"
  " do as well.",
}


def verdict(
  comparison: Mapping[str, Any],
  first: str = "student",
  score: Score = ACCURACY,
) -> str:
  """Returns what one comparison allows to say.

  Args:
    comparison: with "mean" (difference of the numbers that are shown; of errors,
      negative where the student is better) and "p_value".
  """
  mean, p = comparison.get("mean"), comparison.get("p_value")
  if not reading.finite(mean):
    return f"{NOT_SHOWN}: nothing measured"
  if comparison.get("pairs", 2) < 2:
    return f"{NOT_SHOWN}: one seed"
  if not reading.finite(p):
    return f"{NOT_SHOWN}: no p-value"
  if p >= reading.SIGNIFICANT:
    return NOT_SHOWN
  return "gain" if score.sign * mean > 0 else f"no gain: {first} worse"


def interval(comparison: Mapping[str, Any]) -> tuple[float, float] | None:
  """Returns where the mean difference may lie, by Student's t over the pairs.

  Returns:
    The ends of the 95 % interval, in the mean's unit; None for a single pair,
    or where nothing varies.

  Example:
    >>> low, high = interval({"mean": -1, "standard_deviation": 2, "pairs": 4})
    >>> round(low, 2), round(high, 2)
    (-4.18, 2.18)
  """
  mean, pairs = comparison.get("mean"), comparison.get("pairs", 0)
  spread = comparison.get("standard_deviation")
  if pairs < 2 or not (reading.finite(mean) and spread):
    return None
  quantile = float(stats.t.ppf(1 - reading.SIGNIFICANT / 2, pairs - 1))
  half = quantile * spread / pairs**0.5
  return mean - half, mean + half


def written_interval(
  comparison: Mapping[str, Any], *, turned: bool = False, digits: int = 2
) -> str:
  """Writes `interval`, a dash where there is none."""
  ends = interval(comparison)
  if ends is None:
    return formats.MISSING
  low, high = (-ends[1], -ends[0]) if turned else ends
  return f"{formats.signed(low, digits)} to {formats.signed(high, digits)}"


def helps(entry: Mapping[str, Any], score: Score) -> str:
  """Says what a method's comparison with the baseline allows to say."""
  comparison = entry["versus_baseline"]
  with_holm = {**comparison, "p_value": comparison["holm_p_value"]}
  return verdict(with_holm, score=score)


def find_comparison(
  results: Mapping[str, Any], control: str
) -> Mapping[str, Any] | None:
  """Returns the student's comparison with a control, None if there is none."""
  for comparison in results.get("comparisons") or []:
    if (comparison["student"], comparison["control"]) == ("student", control):
      return comparison
  return None


def headline(results: Mapping[str, Any]) -> str:
  """Returns the sentence that says what distillation gained."""
  sentences = teachers.before(results, _chosen(results) + _claim(results))
  return reading.of_examples(results, sentences)


def _chosen(results: Mapping[str, Any]) -> str:
  """Of many methods, which one the student is of, and how many help."""
  methods = results.get("methods")
  if not methods:
    return ""
  count = sum(
    helps(entry, score_of(results)) == "gain" for entry in methods.values()
  )
  method = (results.get("student") or {}).get("method", "not named")
  verb = "is" if count == 1 else "are"
  return (
    f"{count} of {len(methods)} methods {verb} shown to help against the"
    f" baseline (p < {reading.SIGNIFICANT:g} after Holm's correction); the one chosen, on"
    f" held-out images, is {method}. "
  )


def _claim(results: Mapping[str, Any]) -> str:
  score = score_of(results)
  student = score.mean(results.get("student"))
  baseline = score.mean(results.get("baseline"))
  if baseline is None or student is None:
    return (
      f"The student's {score.title} is {score.written(student)}. No baseline was"
      " trained, so no gain can be claimed."
    )
  values = (
    f"{score.written(student)} for the student, {score.written(baseline)} for"
    f" the baseline, {_PHRASES['baseline']}"
  )
  comparison = find_comparison(results, "baseline")
  if comparison is None:
    return (
      f"A gain is not shown, for lack of a paired test: {score.title} {values}."
    )
  claim = verdict(comparison, score=score)
  if claim == "gain":
    by = f"{abs(comparison['mean']):.{score.digits}f} {score.points}".rstrip()
    change = f"adds {by} to" if score.sign > 0 else f"takes {by} off"
    return (
      f"Distillation {change} the {score.title}:"
      f" {values} ({_support(comparison)})."
    )
  if claim.startswith(NOT_SHOWN):
    claim, _, why = claim.partition(": ")
    claim = f"a gain is {claim}" + (f" ({why})" if why else "")
  proof = evidence(comparison, score=score)
  return f"{_capital(claim)}: {score.title} {values} ({proof})."


def evidence(
  comparison: Mapping[str, Any],
  *,
  turned: bool = False,
  of: str = "seed",
  score: Score = ACCURACY,
) -> str:
  """Returns what a comparison rests on, to be put in brackets.

  Example:
    >>> evidence({"mean": -1, "p_value": 7e-6, "wins": 10, "pairs": 10})
    'difference −1.00 points, better in 10 of 10 paired seeds, p = 7e-6'
  """
  mean = comparison.get("mean")
  turns = turned and reading.finite(mean)
  difference = formats.signed(-mean if turns else mean, score.digits)
  text = f"difference {difference} {score.points}".rstrip()
  if verdict(comparison) == NOT_SHOWN and interval(comparison):
    between = written_interval(comparison, turned=turned, digits=score.digits)
    text += f", 95 % interval {between}"
  return f"{text}, {_support(comparison, of)}"


def notes(results: Mapping[str, Any]) -> list[str]:
  """Returns the sentences that belong beside the headline."""
  sentences = [_cost(results), _distance(results), _peers(results)]
  if reading.on_held_out(results):
    sentences.insert(
      0,
      "All scores are on training images held out from teacher and students,"
      ' not on the test set; "test" stands for them here.',
    )
  for control in results.get("controls") or {}:
    sentences.append(_control(results, control))
  comparison = find_comparison(results, "baseline")
  if comparison and comparison.get("pairs", 0) < 5:
    sentences.append(
      f"Only {_seeds(comparison)}: a difference can hardly be told from chance;"
      " use at least five."
    )
  cells = (results.get("sweep") or {}).get("cells")
  if cells:
    tries = ", ".join(
      f"{name.replace('_', ' ')} {len(entries)}"
      for name, entries in cells.items()
    )
    sentences.append(
      "Each network is shown at its own best setting on these very images"
      f" (settings tried: {tries}): a sweep chooses, it does not measure."
    )
  sentences += choices.sentences(results)
  for network, steps in (results.get("lost_steps") or {}).items():
    sentences.append(
      f"{sum(steps)} training steps of the {network.replace('_', ' ')}, over"
      " all its members, were not finite and do not count."
    )
  return [reading.of_examples(results, one) for one in sentences if one]


def _control(results: Mapping[str, Any], control: str) -> str:
  title = reading.title_of(control).lower()
  name = f"the control {title!r}"
  if control in _PHRASES:
    name += f" ({_PHRASES[control]})"
  comparison, score = find_comparison(results, control), score_of(results)
  if comparison is None:
    student = score.mean(results.get("student"))
    value = score.mean(results["controls"][control])
    return _untested(name, student, value, score)
  claim = verdict(comparison, score=score)
  proof = evidence(comparison, score=score)
  advice = _ADVICE.get((control, claim), "")
  if claim == "gain":
    return f"The student beats {name}: {proof}."
  if claim == "no gain: student worse":
    return f"{_capital(name)} beats the student: {proof}.{advice}"
  return f"A gain over {name} is not shown: {proof}.{advice}"


def _untested(
  name: str, student: float | None, value: float | None, score: Score
) -> str:
  if student is None or value is None:
    return ""
  no = "" if score.sign * (value - student) > 0 else "no "
  return (
    f"{_capital(name)} has {no}{score.best} {score.title} than the student"
    f" ({score.written(value)} against {score.written(student)}), without a"
    " paired test."
  )


def _cost(results: Mapping[str, Any]) -> str:
  student, teacher = results.get("student"), results.get("teacher")
  if not student or not teacher:
    return ""
  text = formats.ratio(
    student.get("parameters"), teacher.get("parameters"), "fewer"
  )
  if text == formats.MISSING:
    return ""
  if text == "the same":
    return "The student has as many parameters as its teacher."
  return f"The student has {text} parameters than its teacher."


def _distance(results: Mapping[str, Any]) -> str:
  """How much of the way from the baseline to the teacher the student goes."""
  score = score_of(results)
  student = score.mean(results.get("student"))
  baseline = score.mean(results.get("baseline"))
  teacher = score.mean(results.get("teacher"))
  comparison = find_comparison(results, "baseline")
  if None in (student, baseline, teacher) or comparison is None:
    return ""
  gain = verdict(comparison, score=score) == "gain"
  if not gain or score.sign * (teacher - baseline) <= 0:
    return ""
  text = score.written(teacher)
  if score.sign * (student - teacher) >= 0:
    return f"The student does no worse than its teacher ({text})."
  share = (baseline - student) / (baseline - teacher)
  return (
    f"The student goes {100 * share:.0f} % of the way from its baseline to its teacher"
    f" ({text} {score.title})."
  )


def _peers(results: Mapping[str, Any]) -> str:
  """What became of networks that learnt together, and of their mean answer."""
  peers = (results.get("student") or {}).get("peers")
  if not peers:
    return ""
  score = score_of(results)
  values = ", ".join(
    f"{role.replace('_', ' ')} {score.written(score.mean({score.key: one}))}"
    for role, one in peers[score.key].items()
  )
  ensemble = score.mean({score.key: peers[f"ensemble_{score.name}"]})
  return (
    f"Networks that learnt together, by {score.title}: {values}; the mean of"
    f" their answers {score.written(ensemble)}."
  )


def _support(comparison: Mapping[str, Any], of: str = "seed") -> str:
  text = f"better in {comparison.get('wins', 0)} of {_seeds(comparison, of)}"
  p = comparison.get("p_value")
  return f"{text}, p {_equals(p)}" if reading.finite(p) else text


def _seeds(comparison: Mapping[str, Any], of: str = "seed") -> str:
  pairs = comparison.get("pairs", 0)
  return f"{pairs} paired {of}{'s' * (pairs != 1)}"


def _capital(text: str) -> str:
  return text[:1].upper() + text[1:]


def _equals(p: float) -> str:
  text = formats.p_value(p)
  return text if text.startswith("<") else f"= {text}"
