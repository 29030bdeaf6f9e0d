"""All settings of a run as frozen values; each option's help becomes its flag's.

Order of precedence: the defaults here, an experiment's file, the flags.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kdjax import spec
from kdjax.errors import UserError, unknown_name

# A number, a schedule such as linear(8, 1, 1000), or for `sweep` several
# numbers.
Scalar = float | spec.Spec | tuple[float, ...]


class Interval(NamedTuple):
  """The numbers that an option may take; `ends` says which ends belong to it."""

  low: float
  high: float = math.inf
  ends: str = "[)"

  def __contains__(self, value: object) -> bool:
    above = self.low <= value if self.ends[0] == "[" else self.low < value
    below = value <= self.high if self.ends[1] == "]" else value < self.high
    return above and below

  def __str__(self) -> str:
    if self.high == math.inf:
      return f"{'>=' if self.ends[0] == '[' else '>'} {self.low:g}"
    return f"in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


POSITIVE = Interval(0, ends="()")
COUNT = Interval(1)
SHARE = Interval(0, 1)


def option(
  default: Any,
  help: str,
  *,
  flag: str | None = None,
  within: Interval | None = None,
  choices: tuple[str, ...] | None = None,
) -> Any:
  """Declares one setting.

  Args:
    default: its default.
    help: one line for `--help`.
    flag: the flag's name, where it is not the field's.
    within: the numbers that it may take.
    choices: the texts that it may take.

  Returns:
    A dataclass field.
  """
  metadata = {"help": help, "flag": flag, "within": within, "choices": choices}
  return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Data:
  """Which images, and which of them the student may learn from."""

  dataset: str = option(
    "mnist5k",
    "data set: mnist5k, digits, any TFDS name, image_folder(path='DIR') or a folder",
  )
  data_dir: str | None = option(
    None, "where prepared data sets are kept; TFDS's own folder by default"
  )
  train_split: str = option("train", "TFDS split to train on")
  test_split: str = option("test", "TFDS split to test on")
  image_size: int | None = option(
    None, "resize images to this height and width, pixels", within=COUNT
  )
  resident_megabytes: int = option(
    2048,
    "sets up to this size live on the device, larger ones are streamed",
    within=Interval(0),
  )
  validation: float = option(
    0.0,
    "share of the training set held out from teacher and student alike, and"
    " scored instead of the test set: tune on it",
    within=SHARE,
  )
  labels: int | None = option(
    None,
    "how many labelled images student and twin have; the student learns from the"
    " teacher on the others, the twin goes without them",
    within=COUNT,
  )
  omit_classes: tuple[int, ...] = option(
    (), "classes that student and twin never see, such as 3 or 3,5"
  )


@dataclasses.dataclass(frozen=True)
class Teacher:
  """The network that teaches."""

  model: str = option(
    "mlp(1200, 1200, dropout=0.5)", "the teacher's model", flag="teacher"
  )
  teacher_from: str | None = option(
    None,
    "folder of an earlier run whose teacher is used instead of training one",
  )
  epochs: int = option(
    60,
    "passes over the training set for the teacher",
    flag="teacher_epochs",
    within=COUNT,
  )
  batch_size: int = option(
    128,
    "examples a step of the teacher, over all devices",
    flag="teacher_batch_size",
    within=COUNT,
  )
  learning_rate: float = option(
    1e-3,
    "the teacher's peak learning rate",
    flag="teacher_learning_rate",
    within=POSITIVE,
  )
  optimizer: str = option(
    "adam", "the teacher's optimiser", flag="teacher_optimizer"
  )
  schedule: str = option(
    "cosine", "the fall of the teacher's learning rate", flag="teacher_schedule"
  )
  augment: str = option(
    "shift(2)", "views that the teacher is trained on", flag="teacher_augment"
  )
  seed: int = option(
    1000, "the teacher's seed", flag="teacher_seed", within=Interval(0, 2**31)
  )


@dataclasses.dataclass(frozen=True)
class Student:
  """The network that learns, and its twin that learns from labels alone."""

  model: str = option("mlp(100)", "the student's model", flag="student")
  epochs: int = option(
    40, "passes over the student's training set", within=COUNT
  )
  batch_size: int = option(
    128, "examples a step, over all devices", within=COUNT
  )
  learning_rate: float | tuple[float, ...] = option(
    1e-2, "peak learning rate", within=POSITIVE
  )
  optimizer: str = option("adam", "optimiser, such as 'sgd(momentum=0.9)'")
  schedule: str = option(
    "cosine",
    "the fall of the learning rate: constant, cosine or linear, with an optional"
    " warm-up share, 'cosine(warmup=0.1)'",
  )
  augment: str = option(
    "none",
    "views that student, twin and asking teacher share: none, shift(2), flip,"
    " noise(0.1) or a sum of them",
  )
  seeds: int = option(
    10, "how many students (and twins), trained side by side", within=COUNT
  )


@dataclasses.dataclass(frozen=True)
class Distillation:
  """What of the teacher the student is to match."""

  distillation: str = option(
    "response",
    "a method, a family (response), a preset (hard, soft, soft_and_hard) or a"
    " weighted sum such as 'kd(temperature=8):0.9 + ce:0.1'",
  )
  temperature: Scalar = option(
    4.0, "temperature of methods that do not set their own", within=POSITIVE
  )
  hard_weight: Scalar | None = option(
    None,
    "the labels' share of the objective where no weights are written;"
    " 0.1 by default",
    within=Interval(0, 1, "[]"),
  )
  label_smoothing: float | tuple[float, ...] = option(
    0.1, "smoothing of the control that smooths labels", within=SHARE
  )


@dataclasses.dataclass(frozen=True)
class Run:
  """Where and how the run happens."""

  workdir: str | None = option(
    None, "folder for all that the run writes; runs/NAME-DATE-TIME by default"
  )
  accelerator: str = option(
    "auto", "device to run on", choices=("auto", "cpu", "gpu", "tpu")
  )
  host_devices: int = option(
    1, "split the CPU into this many devices", within=Interval(1, 256, "[]")
  )
  controls: bool = option(
    True,
    "also train the twins with smoothed labels and with the teacher's views",
  )


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that determines a run."""

  data: Data = Data()
  teacher: Teacher = Teacher()
  student: Student = Student()
  distillation: Distillation = Distillation()
  run: Run = Run()


class Option(NamedTuple):
  """One setting: where it stands and what may be given."""

  group: str
  field: dataclasses.Field
  type: Any

  @property
  def flag(self) -> str:
    return self.field.metadata["flag"] or self.field.name


def options() -> Iterator[Option]:
  """Yields every setting of an Experiment, in order."""
  for group in dataclasses.fields(Experiment):
    hints = typing.get_type_hints(group.type)
    for field in dataclasses.fields(group.type):
      yield Option(group.name, field, hints[field.name])


def with_flags(experiment: Experiment, given: Mapping[str, Any]) -> Experiment:
  """Returns the experiment with the settings that flags give.

  Args:
    experiment: what holds without the flags.
    given: texts (or, for switches, truth values) by flag name.

  Returns:
    The new experiment.

  Raises:
    UserError: if a text cannot be read as the setting's type, or its value is
      not allowed.

  Example:
    >>> with_flags(Experiment(), {"temperature": "8"}).distillation.temperature
    8.0
  """
  for one in options():
    if one.flag in given:
      value = _read(one, given[one.flag])
      group = getattr(experiment, one.group)
      group = dataclasses.replace(group, **{one.field.name: value})
      experiment = dataclasses.replace(experiment, **{one.group: group})
  return experiment


def check(experiment: Experiment, *, sweep: bool = False) -> None:
  """Checks every number and choice.

  Args:
    experiment: the settings.
    sweep: whether several numbers may stand where one is meant.

  Raises:
    UserError: names the flag, the value and what is allowed.

  Example:
    >>> check(Experiment())
  """
  for one in options():
    value = getattr(getattr(experiment, one.group), one.field.name)
    if _is_grid(one, experiment):
      if not sweep:
        raise UserError(
          f"--{one.flag}={_text(value)}: several values are for"
          " `launch.py sweep`; give one"
        )
      if not value:
        raise UserError(f"--{one.flag}: give at least one value")
    for number in value if isinstance(value, tuple) else (value,):
      _check_number(one, number)
    choices = one.field.metadata["choices"]
    if choices and value not in choices:
      raise unknown_name(f"--{one.flag}", value, choices)
  if sweep and not any(_is_grid(one, experiment) for one in options()):
    flags = [
      one.flag for one in options() if _takes(one.type, tuple[float, ...])
    ]
    raise UserError(
      f"a sweep needs several values for one of --{', --'.join(flags)}, such as"
      " --temperature=1,4"
    )


def as_dict(experiment: Experiment) -> dict[str, dict[str, Any]]:
  """Returns all settings as JSON values, by group and name.

  Args:
    experiment: the settings.

  Returns:
    Nested dict; schedules are written as text.

  Example:
    >>> as_dict(Experiment())["distillation"]["temperature"]
    4.0
  """
  return {
    group.name: {
      name: str(value) if isinstance(value, spec.Spec) else value
      for name, value in vars(getattr(experiment, group.name)).items()
    }
    for group in dataclasses.fields(experiment)
  }


def _read(one: Option, text: Any) -> Any:
  """Turns a flag's text into the setting's type."""
  if not isinstance(text, str) or _takes(one.type, str):
    return text
  if text.strip().lower() == "none" and _takes(one.type, type(None)):
    return None
  try:
    value = spec.parse_value(text)
  except UserError:
    value = text
  whole = _takes(one.type, int)
  if _takes(one.type, tuple[int, ...]) and type(value) is int:
    value = (value,)
  numbers = value if isinstance(value, tuple) else (value,)
  several = isinstance(value, tuple) and not _takes(one.type, tuple)
  if isinstance(value, spec.Spec) and _takes(one.type, spec.Spec):
    # A bare word is nobody's schedule: nan and inf among them.
    if value.args or value.kwargs:
      return value
    numbers = ("",)
  if several or not all(_is_number(number, whole) for number in numbers):
    kind = "a whole number" if whole else "a number"
    kind += " or a schedule" if _takes(one.type, spec.Spec) else ""
    raise UserError(f"--{one.flag}={text}: expected {kind}{_allowed(one)}")
  if whole:
    return value
  return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


def _is_grid(one: Option, experiment: Experiment) -> bool:
  value = getattr(getattr(experiment, one.group), one.field.name)
  return isinstance(value, tuple) and _takes(one.type, float)


def _check_number(one: Option, value: Any) -> None:
  within = one.field.metadata["within"]
  if within is None or value is None or isinstance(value, spec.Spec):
    return
  if not (math.isfinite(value) and value in within):
    raise UserError(f"--{one.flag}={value}: it must be {within}")


def _takes(annotation: Any, kind: Any) -> bool:
  """Whether a type, or one of a union, is of a kind."""
  union = isinstance(annotation, types.UnionType)
  union = union or typing.get_origin(annotation) is typing.Union
  parts = typing.get_args(annotation) if union else (annotation,)
  plain = {typing.get_origin(part) for part in parts}
  if kind is int:
    return int in parts or tuple[int, ...] in parts
  return kind in parts or kind in plain


def _is_number(value: Any, whole: bool) -> bool:
  kinds = int if whole else int | float
  return isinstance(value, kinds) and not isinstance(value, bool)


def _allowed(one: Option) -> str:
  within = one.field.metadata["within"]
  return f", {within}" if within else ""


def _text(value: tuple) -> str:
  return ",".join(f"{number:g}" for number in value)
