"""How many teachers, and in which order."""

import dataclasses

from kdjax.runner.config.field import COUNT, POSITIVE, Interval, option


@dataclasses.dataclass(frozen=True)
class Pooling:
  """One answer of several teachers."""

  decisive = True

  pool: str = option(
    "probabilities",
    "what several teachers' answers become: the mean of their probabilities or"
    " of their logits, the probabilities with more weight for who is sure, or (lm)"
    " that of the one which a column of --text names for each row",
    choices=("probabilities", "logits", "confidence", "column(NAME)"),
  )
  teacher_weights: tuple[float, ...] = option(
    (),
    "each teacher's weight, such as 0.5,0.3,0.2; all alike by default",
    within=Interval(0),
  )


@dataclasses.dataclass(frozen=True)
class Ensemble(Pooling):
  """Several teachers, and one answer of theirs."""

  decisive = True

  teachers: int = option(
    1,
    "train so many teachers side by side, on seeds that follow --teacher_seed,"
    " and learn from all of them",
    within=COUNT,
  )


@dataclasses.dataclass(frozen=True)
class Specialists(Ensemble):
  """Teachers of some classes, beside the teacher of all."""

  decisive = True

  specialists: int = option(
    0,
    "also train so many specialists of the teacher, each for classes that it"
    " confuses, and learn from all of them",
    within=Interval(0),
  )
  specialist_epochs: int = option(
    10, "passes of each specialist over its images", within=COUNT
  )
  specialist_learning_rate: float | None = option(
    None,
    "the specialists' peak rate; a third of the teacher's by default",
    within=POSITIVE,
  )


@dataclasses.dataclass(frozen=True)
class Chain(Specialists):
  """Networks between teacher and student."""

  decisive = True
  own_run = True

  chain: str | None = option(
    None,
    "networks between teacher and student, each the next one's teacher, such as"
    " 'mlp(400), mlp(200)'",
  )


@dataclasses.dataclass(frozen=True)
class Teaching(Chain):
  """Who teaches whom, where it is more than one teacher and its student."""

  decisive = True

  chain_learning_rate: float | None = option(
    None,
    "peak rate of the networks between teacher and student; the student's by"
    " default",
    within=POSITIVE,
  )
  generations: int = option(
    1,
    "generations of the student's own network: each learns from the one before,"
    " the last one is the student",
    within=COUNT,
  )
  route: int = option(
    0,
    "learn from so many equally distant moments of the teacher's training in"
    " turn, its end the last one; 0 learns from the end alone",
    within=Interval(0),
  )
