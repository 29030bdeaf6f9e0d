"""How results and history are read: networks in order, numbers as arrays."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.core.task import Words
from kdjax.tasks import any_width, make_task

# What a p-value must be below for a difference to be shown.
SIGNIFICANT = 0.05
_TITLES = {
  "teacher": "Teacher",
  "student": "Student",
  "baseline": "Baseline",
  "label_smoothing": "Label smoothing",
  "augmented": "Augmented",
  "reference": "Plain distillation",
  "shuffled_teacher": "Shuffled teacher",
  "uniform_teacher": "Uniform teacher",
  "noise_teacher": "Random teacher",
  "matched_smoothing": "Matched smoothing",
  "untrained": "Before training",
}
_DESCRIPTIONS = {
  "teacher": "the network whose outputs are distilled",
  "student": "trained by distillation",
  "baseline": "the student's twin (same network, seeds and steps), trained on"
  " hard labels alone",
  "label_smoothing": "the baseline with smoothed labels",
  "augmented": "the baseline that itself sees the teacher's augmentation",
  "reference": "the baseline's network, trained by plain distillation from the"
  " plain teacher",
  "one_round": "the student on its first soft labels, for as many steps as all"
  " rounds together",
  "shuffled_teacher": "the student, but every image gets the teacher's answer to"
  " another one of its class",
  "uniform_teacher": "the student, but the teacher finds all classes alike",
  "noise_teacher": "the student, but the teacher's answers are random numbers",
  "matched_smoothing": "the student, but the teacher is smoothed labels of the"
  " real teacher's mean entropy",
}


def networks(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
  """Returns the networks of some results in the order in which they are shown."""
  entries = {name: results.get(name) for name in ("baseline", "student")}
  entries |= results.get("controls") or {}
  entries["teacher"] = results.get("teacher")
  return {name: entry for name, entry in entries.items() if entry is not None}


def is_of_pixels(results: Mapping[str, Any]) -> bool:
  """Says whether networks answer at every pixel of an image.

  Example:
    >>> is_of_pixels({"student": {"per_pixel_class": {}}})
    False
  """
  return any(one.get("per_pixel_class") for one in networks(results).values())


def title_of(network: str) -> str:
  """Returns a network's name for people.

  Example:
    >>> title_of("label_smoothing"), title_of("early_stopped")
    ('Label smoothing', 'Early stopped')
  """
  return _TITLES.get(network) or _plain(network).capitalize()


def description_of(network: str) -> str:
  """Returns what a network is, in half a sentence; "" for an unknown one."""
  return _DESCRIPTIONS.get(network, "")


def on_held_out(results: Mapping[str, Any]) -> bool:
  """Says whether the scores are on held-out images, not on the test set."""
  data = (results.get("experiment") or {}).get("data") or {}
  # These choose on held-out images and score on the others.
  chooses = results.get("methods") or results.get("rounds")
  return bool(data.get("validation")) and not chooses


def answers_yes_or_no(results: Mapping[str, Any]) -> bool:
  """Says whether an answer is yes or no to a label, and not a class."""
  return bool(results.get("label_names"))


def of_examples(results: Mapping[str, Any], sentence: str) -> str:
  """Calls examples and labels in a sentence what they are, where they are others.

  Example:
    >>> of_examples({"data": {"noun": "text"}}, "on 9 images")
    'on 9 texts'
    >>> of_examples({"task": "regression"}, "trained on hard labels")
    'trained on targets'
  """
  noun = (results.get("data") or {}).get("noun", "image")
  sentence = sentence.replace("hard labels", score_of(results).words.labels)
  return re.sub(r"\bimage(?=s?\b)", noun, sentence)


def of_answers(results: Mapping[str, Any], sentence: str) -> str:
  """Calls what networks answer about what it is: examples, or their pixels.

  Example:
    >>> of_answers({}, "share of test images")
    'share of test images'
  """
  if not is_of_pixels(results):
    return of_examples(results, sentence)
  return re.sub(r"\bimage(s?)\b", r"pixel\1", sentence)


def numbers(values: Any) -> np.ndarray:
  """Returns values as a flat float array, with nan where there is none.

  Args:
    values: a number, a list of numbers and Nones, an array, or None.

  Returns:
    (N,) float64.

  Example:
    >>> numbers([0.5, None])
    array([0.5, nan])
  """
  if values is None:
    return np.empty(0)
  return np.atleast_1d(np.asarray(values, dtype=float)).ravel()


class Score(NamedTuple):
  """What networks are compared by; by default the accuracy of classes.

  `better` is +1 where a higher score is better, -1 where a lower one is.
  """

  name: str = "accuracy"
  better: int = 1
  words: Words = Words()

  @property
  def key(self) -> str:
    """Where a network's scores stand, one a seed."""
    return f"test_{self.name}"

  @property
  def title(self) -> str:
    """What a page calls it: "test error"."""
    return f"test {self.words.title}"

  @property
  def header(self) -> str:
    """The title of a column or an axis: "Test error, %"."""
    return self.with_unit("Test")

  @property
  def points(self) -> str:
    """The unit of differences."""
    return "points" if self.words.unit == "%" else self.words.unit

  @property
  def digits(self) -> int:
    """How many stand behind the point."""
    return self.words.digits

  @property
  def sign(self) -> int:
    """+1 where more of what is shown is better, -1 where less is."""
    return 1 if self.better * self.words.factor > 0 else -1

  @property
  def improved(self) -> str:
    """What a better network does."""
    return "scores higher" if self.sign > 0 else "errs less"

  @property
  def best(self) -> str:
    """How a better network's number is, beside another's."""
    return "higher" if self.sign > 0 else "lower"

  def with_unit(self, where: str, how: str = "") -> str:
    """Titles numbers with their unit, if any: "Training error, %"."""
    title = f"{where} {self.words.title}{how}"
    return f"{title}, {self.words.unit}".removesuffix(", ")

  def written(self, value: float | None) -> str:
    """Writes a number that is shown: "3.00 %"; a dash where there is none."""
    if value is None:
      return "–"
    return f"{value:.{self.digits}f} {self.words.unit}".rstrip()

  def difference(self, scores: float) -> str:
    """Writes how far two scores are apart, as people see it: 0.03 -> "3.00"."""
    return f"{abs(self.words.factor * scores):.{self.digits}f}"

  def shown(self, scores: Any) -> np.ndarray:
    """Returns scores as people see them, as a flat array."""
    return self.words.shown(numbers(scores))

  def of(self, entry: Mapping[str, Any]) -> np.ndarray:
    """Returns a network's scores as people see them, one a seed."""
    return self.shown(entry.get(self.key))

  def mean(self, entry: Mapping[str, Any] | None) -> float | None:
    """Returns the mean of a network's scores as people see them."""
    mean = float(finite_mean(self.of(entry or {})))
    return mean if finite(mean) else None


ACCURACY = Score()
# The same where a page tells what is right, not what is wrong.
RIGHT = Score(words=Words("accuracy", "%", 100.0, 0.0))
# What networks with different tokenizers are compared by.
BITS = Score("bits_per_byte", -1, Words("bits a byte", "", 1.0, 0.0, digits=4))


def score_of(results: Mapping[str, Any]) -> Score:
  """Returns what the networks of some results are compared by."""
  if "task" not in results:
    return ACCURACY
  if results.get("compared_by") == BITS.name:
    return BITS
  settings = (results.get("experiment") or {}).get("data") or {}
  text = settings.get("task") or results["task"]
  task = make_task(text, width=any_width(text))
  return Score(task.score, task.better, task.words)


def right_of(results: Mapping[str, Any]) -> Score:
  """As `score_of`, for pages that tell an accuracy as one."""
  score = score_of(results)
  return RIGHT if score == ACCURACY else score


def finite_mean(values: Any, axis: int | None = None) -> Any:
  """Returns the mean of the finite values.

  Example:
    >>> float(finite_mean([1.0, None, 3.0]))
    2.0
  """
  values = values if isinstance(values, np.ndarray) else numbers(values)
  finite = np.isfinite(values)
  count = finite.sum(axis=axis)
  total = np.where(finite, values, 0).sum(axis=axis)
  return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def finite(value: Any) -> bool:
  """Returns whether value is a number, neither missing nor nan nor infinite.

  Args:
    value: a number or None.
  """
  return value is not None and bool(np.isfinite(value))


def rows_by_network(
  history: Sequence[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
  """Returns the history's rows of each network, in the order of appearance."""
  groups: dict[str, list[Mapping[str, Any]]] = {}
  for row in history:
    if row.get("network"):
      groups.setdefault(row["network"], []).append(row)
  return groups


def axis_title(name: str) -> str:
  """Returns a sweep axis's name for people: "hard_weight" -> "Hard weight".

  Args:
    name: of the setting; parts before a dot are dropped.
  """
  return name.rsplit(".", 1)[-1].replace("_", " ").capitalize()


def last_axes(
  sweep: Mapping[str, Any], count: int, score: str = "accuracy"
) -> Mapping[str, Any]:
  """Cuts a sweep over many settings down to its last ones.

  Args:
    sweep: with "axes", the score and, where there are more axes,
      "recommendation"; "like_best", of the axes' form, may be there.
  """
  names = list(sweep["axes"])
  grids = {key: sweep.get(key) for key in (score, "like_best")}
  settings = []
  for name in names[:-count]:
    value = sweep["recommendation"][name]
    place = list(sweep["axes"][name]).index(value)
    grids = {key: grid and grid[place] for key, grid in grids.items()}
    settings.append(f"{_plain(name)} {value:g}")
  if not settings:
    return sweep
  text = f"Shown at the recommended {' and '.join(settings)}."
  return {
    **sweep,
    **grids,
    "axes": {name: sweep["axes"][name] for name in names[-count:]},
    "recommendation": {
      name: sweep["recommendation"][name] for name in names[-count:]
    },
    "text": f"{sweep.get('text') or ''} {text}".strip(),
  }


def recommended_cell(sweep: Mapping[str, Any]) -> tuple[int, ...] | None:
  """Returns the place of a sweep's recommendation in its grid; None without one."""
  recommendation = sweep.get("recommendation") or {}
  place = []
  for name, values in sweep["axes"].items():
    if recommendation.get(name) not in list(values):
      return None
    place.append(list(values).index(recommendation[name]))
  return tuple(place) if len(place) > 1 else (*place, 0)


def _plain(name: str) -> str:
  return name.replace("_", " ")
