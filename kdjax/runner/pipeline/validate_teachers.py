"""What of the settings in `Teaching` goes together, found out before anything runs."""

from kdjax.core.errors import UserError, program, quantity
from kdjax.core.pooling import POOLS
from kdjax.models import ModelSpec
from kdjax.runner.config import Experiment, Teaching
from kdjax.runner.pipeline.values import Values
from kdjax.train.ensemble import check_weights


def teacher_count(experiment: Experiment, values: Values) -> int:
  """Says how many teachers are trained, or were before."""
  return max(experiment.teaching.teachers, len(values.teacher_folders))


def is_plain(experiment: Experiment, values: Values) -> bool:
  """Says whether the student learns from one teacher, and from it alone."""
  settings = experiment.teaching
  several = teacher_count(experiment, values) > 1
  return not (
    several or settings.specialists or settings.route or has_stages(settings)
  )


def has_stages(teaching: Teaching) -> bool:
  """Says whether others stand between the teacher and the student."""
  return bool(teaching.chain) or teaching.generations > 1


def stage_models(
  experiment: Experiment, values: Values
) -> dict[str, ModelSpec]:
  """Lists the networks between teacher and student, in their order.

  Example:
    >>> from kdjax.runner.config import Student
    >>> from kdjax.runner.pipeline.values import read_values
    >>> teaching = Teaching(chain="mlp(9), mlp(8, 7)", generations=2)
    >>> one = Experiment(teaching=teaching, student=Student(model="mlp(4)"))
    >>> for name, model in stage_models(one, read_values(one)).items():
    ...   print(name, model)
    assistant_0 mlp(9)
    assistant_1 mlp(8, 7)
    generation_1 mlp(4)
  """
  by_stage = {f"assistant_{i}": one for i, one in enumerate(values.chain)}
  for i in range(1, experiment.teaching.generations):
    by_stage[f"generation_{i}"] = values.student
  return by_stage


def check(experiment: Experiment, values: Values) -> None:
  """Checks what becomes of the teachers' answers, and their weights."""
  settings = experiment.teaching
  teachers = teacher_count(experiment, values)
  if settings.pool not in POOLS:
    raise UserError(
      f"--pool={settings.pool}: the column of a row of text names its teacher, for"
      f" `{program()} lm`; choose {', '.join(POOLS)}"
    )
  if settings.teacher_weights:
    try:
      check_weights(settings.teacher_weights, teachers)
    except ValueError as error:
      raise UserError(f"--teacher_weights: {error}") from error


def check_specialists(
  experiment: Experiment, *, classes: int, inside: bool, resident: bool
) -> None:
  """Checks that specialists can be asked for this student."""
  count = experiment.teaching.specialists
  if not count:
    return
  if not 2 <= count <= classes:
    raise UserError(
      f"--specialists={count}: {quantity(classes, 'class', 'classes')} can be shared"
      f" out among 2 to {classes} specialists"
    )
  if inside:
    raise UserError(
      f"--specialists={count}: specialists give answers, and"
      f" --distillation={experiment.distillation.distillation} looks inside"
    )
  if experiment.student.augment != "none" or not resident:
    raise UserError(
      f"--specialists={count}: their answers are for the stored images in"
      " memory; leave --augment out"
    )
