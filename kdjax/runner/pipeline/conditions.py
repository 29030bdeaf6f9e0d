"""What rules ask of settings, where it takes more than one of them to answer."""

from types import SimpleNamespace

from kdjax import methods
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline.arms import SETTINGS
from kdjax.runner.pipeline.validate_teachers import teacher_count
from kdjax.train.schemes.scheme import OFFLINE

# The groups of settings by their names, and `values`: what their texts mean.
Case = SimpleNamespace


def trained(one: Experiment) -> bool:
  """Whether a teacher is trained, from a start or from nothing."""
  new = one.teacher.teacher_from is None or one.teacher.teacher_head == "tuned"
  return new and one.teacher.teacher_cache is None


def trained_or_followed(one: Experiment) -> bool:
  """Whether a teacher or its specialists are trained."""
  return trained(one) or bool(one.teaching.specialists)


def several(one: Case) -> bool:
  """Whether there are several teachers."""
  return teacher_count(one, one.values) > 1


def augmented(one: Experiment) -> bool:
  """Whether a baseline sees the teacher's views."""
  return one.controls.controls and one.teacher.augment != one.student.augment


def asks_teachers(one: Case) -> bool:
  """Whether anybody learns from a teacher."""
  objectives = filter(None, (one.values.objective, one.values.reference))
  return any(map(methods.asks_a_teacher, objectives))


def takes_temperature(one: Case) -> bool:
  """Whether the objective takes a temperature from outside."""
  return methods.takes(one.values.objective, "temperature")


def online(one: Case) -> bool:
  """Whether networks learn from each other, not from a teacher."""
  return one.values.scheme is not OFFLINE


def numbered(one: Experiment) -> bool:
  """Whether views have numbers, so that answers can be stored."""
  return bool(one.student.views or one.teacher.teacher_cache)


def swept(one: Experiment) -> bool:
  """Whether several values stand for a setting of the student."""
  places = SETTINGS["student"].values()
  values = (getattr(getattr(one, group), name) for group, name in places)
  return any(isinstance(value, tuple) and len(value) > 1 for value in values)


def no_address(text: str | None) -> bool:
  """Whether a text is no HOST:PORT."""
  host, _, port = (text or "host:1").rpartition(":")
  return not (host and port.isdecimal() and 0 < int(port) < 65536)
