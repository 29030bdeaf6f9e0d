"""What of the teacher is matched."""

import dataclasses

from kdjax.runner.config.field import POSITIVE, Interval, Scalar, option


@dataclasses.dataclass(frozen=True)
class Objective:
  """What the student minimises."""

  distillation: str = option(
    "response",
    "a method, a family (response, feature, relation, attention), a preset"
    " (hard, soft, soft_and_hard) or a weighted sum such as"
    " 'kd(temperature=8):0.9 + ce:0.1'",
  )


@dataclasses.dataclass(frozen=True)
class Softening:
  """How soft answers are, and what share the labels have."""

  temperature: Scalar | None = option(
    None,
    "temperature of methods that do not set their own; each method's published"
    " one by default, 4 for kd",
    within=POSITIVE,
  )
  hard_weight: Scalar | None = option(
    None,
    "the labels' share of the objective where no weights are written;"
    " 0.1 by default, or what the method's paper says",
    within=Interval(0, 1, "[]"),
  )


@dataclasses.dataclass(frozen=True)
class WeightedObjective(Softening, Objective):
  """The objective with its weights."""

  method_weight: Scalar = option(
    1.0, "factor of every weight but the labels'", within=Interval(0)
  )
  gradient_metrics: bool = option(
    False,
    "log the gradient norm of every term, and its cosine with the labels'",
  )


@dataclasses.dataclass(frozen=True)
class TeacherView:
  """What the asking teacher sees."""

  decisive = True

  teacher_view: str = option(
    "same",
    "what the asking teacher sees: same, the student's own view, or another one"
    " of the stored image, such as none",
  )


@dataclasses.dataclass(frozen=True)
class Distillation(TeacherView, WeightedObjective):
  """What of the teacher the student is to match."""

  decisive = True
  own_run = True

  regime: str = option(
    "alone",
    "who learns from whom: alone, from the teacher; or together, without one:"
    " mutual(peers=2), mean_teacher(decay=0.999), codistillation(peers=2,"
    " every=50)",
    flag="scheme",
    other_flag="regime",
  )
