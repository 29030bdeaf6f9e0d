"""What rules ask of settings, where it takes more than one of them to answer."""

from kdjax import data, methods
from kdjax.core import spec
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline.arms import SETTINGS, with_scheme
from kdjax.runner.pipeline.validate_teachers import teacher_folders
from kdjax.train.schemes.registry import make_scheme
from kdjax.train.schemes.scheme import OFFLINE


def trained(one: Experiment) -> bool:
  """Whether a teacher is trained, and none was before."""
  return one.teacher.teacher_from is None and one.teacher.teacher_cache is None


def trained_or_followed(one: Experiment) -> bool:
  """Whether a teacher or its specialists are trained."""
  return trained(one) or bool(one.teaching.specialists)


def several(one: Experiment) -> bool:
  """Whether there are several teachers."""
  return max(one.teaching.teachers, len(teacher_folders(one))) > 1


def augmented(one: Experiment) -> bool:
  """Whether a baseline sees the teacher's views."""
  return one.controls.controls and one.teacher.augment != one.student.augment


def objective(one: Experiment) -> str:
  """What the student minimises, as text."""
  return with_scheme(one).distillation.distillation


def asked(one: Experiment) -> bool:
  """Whether anybody learns from a teacher."""
  objectives = filter(None, (objective(one), one.controls.reference))
  return any(map(methods.asks_a_teacher, objectives))


def has_terms(one: Experiment) -> bool:
  """Whether the objective has a term besides the labels'."""
  return any(
    term.spec.name != "ce" for term in methods.terms_of(objective(one))
  )


def takes_temperature(one: Experiment) -> bool:
  """Whether the objective takes a temperature from outside."""
  return methods.takes(objective(one), "temperature")


def online(one: Experiment) -> bool:
  """Whether networks learn from each other, not from a teacher."""
  return make_scheme(one.distillation.regime) is not OFFLINE


def mixes(one: Experiment) -> bool:
  """Whether the student's views mix images."""
  return data.split_mixing(one.student.augment)[1] is not None


def numbered(one: Experiment) -> bool:
  """Whether views have numbers, so that answers can be stored."""
  return bool(one.student.views or one.teacher.teacher_cache)


def swept(one: Experiment) -> bool:
  """Whether several values stand for a setting of the student."""
  places = SETTINGS["student"].values()
  values = (getattr(getattr(one, group), name) for group, name in places)
  return any(isinstance(value, tuple) and len(value) > 1 for value in values)


def averaged(one: Experiment) -> bool:
  """Whether what is measured is an average of weights over time."""
  scheme = spec.parse(one.distillation.regime)
  measured = dict(scheme.kwargs).get("measured", "twin")
  return scheme.name == "mean_teacher" and str(measured) == "twin"


def no_address(text: str | None) -> bool:
  """Whether a text is no HOST:PORT."""
  host, _, port = (text or "host:1").rpartition(":")
  return not (host and port.isdecimal() and 0 < int(port) < 65536)
