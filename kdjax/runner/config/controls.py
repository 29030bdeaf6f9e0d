"""The baselines that distillation has to beat."""

import dataclasses

from kdjax.runner.config.field import POSITIVE, SHARE, option


@dataclasses.dataclass(frozen=True)
class Smoothing:
  """How smooth the labels of a baseline are."""

  label_smoothing: float | tuple[float, ...] = option(
    0.1, "smoothing of the baseline with smoothed labels", within=SHARE
  )


@dataclasses.dataclass(frozen=True)
class BaselineRate:
  """The learning rate of the plain baseline."""

  baseline_learning_rate: float | tuple[float, ...] | None = option(
    None,
    "the baseline's peak rate; the student's by default",
    within=POSITIVE,
  )


@dataclasses.dataclass(frozen=True)
class Reference:
  """A student that learns by another objective."""

  decisive = True

  reference: str | None = option(
    None,
    "also train a student on this objective, such as 'kd(temperature=4)', with"
    " the plain teacher and nothing else",
  )
  reference_learning_rate: float | tuple[float, ...] | None = option(
    None,
    "peak rate of the reference; the student's by default",
    within=POSITIVE,
  )
  reference_augment: str | None = option(
    None,
    "views of the reference and its teacher; the student's by default",
    none_is_a_text=True,
  )


@dataclasses.dataclass(frozen=True)
class Controls(Smoothing, BaselineRate, Reference):
  """The baselines that tell distillation from what needs no teacher."""

  controls: bool = option(
    True,
    "also train baselines with smoothed labels and with the teacher's views",
  )
  smoothing_learning_rate: float | tuple[float, ...] | None = option(
    None,
    "peak rate of the baseline with smoothed labels; the student's by default",
    within=POSITIVE,
  )
  shuffled_teacher: bool = option(
    False,
    "also train a student whose teacher's answers are shuffled within classes",
  )
  uniform_teacher: bool = option(
    False, "also train a student whose teacher finds all classes alike"
  )
  noise_teacher: bool = option(
    False, "also train a student whose teacher answers at random"
  )
  matched_smoothing: bool = option(
    False,
    "also train a student whose teacher knows only the labels, smoothed to the"
    " real teacher's mean entropy",
  )
  augmented_learning_rate: float | tuple[float, ...] | None = option(
    None,
    "peak rate of the baseline with the teacher's views; the student's by"
    " default",
    within=POSITIVE,
  )
