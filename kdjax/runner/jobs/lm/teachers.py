"""Who teaches: one language model, or several that answer as one."""

from typing import Any, NamedTuple

import jax

from kdjax.core import spec
from kdjax.core.errors import UserError, unknown_name
from kdjax.core.pooling import POOLS, check_weights
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher
from kdjax.data.text.rows import Row
from kdjax.models.pooled import pooled, pooled_variables
from kdjax.models.pretrained.load import Pretrained
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import language_models
from kdjax.runner.pipeline.values import Values
from kdjax.train.devices.rules import Partition
from kdjax.train.ensemble import ensemble
from kdjax.train.served.endpoint import is_url
from kdjax.train.teacher import live_teacher

# What is known of a teacher behind an endpoint, before it is asked.
SERVED = Pretrained(None, {"params": {}}, {})


class Route(NamedTuple):
  """Which of several teachers a row has.

  Attributes:
    column: of the row, which names it.
    names: of the teachers, in their order: the last parts of where they are.
  """

  column: str
  names: tuple[str, ...]

  def number_of(self, row: Row) -> int:
    """Finds a row's teacher; a UserError for none, or one that there is not."""
    value = row.values.get(self.column)
    if value in self.names:
      return self.names.index(value)
    if self.column in row.values:
      error = unknown_name("teacher", str(value), self.names)
    else:
      error = unknown_name("column", self.column, row.values)
    raise UserError(f"--pool=column({self.column}): {row.place}: {error}")


class Teachers(NamedTuple):
  """Those who teach.

  Attributes:
    folders: where each was loaded from.
    members: each of them.
    together: all as one; a single one is itself. Without a network where each row
      has one of them, or for one that is served.
    classes: how many tokens all have logits for; 0 for one that is served.
    route: which of them a row has; None where all teach all.
  """

  folders: tuple[str, ...]
  members: tuple[Pretrained, ...]
  together: Pretrained
  classes: int
  route: Route | None = None

  @property
  def answering(self) -> tuple[Pretrained, ...]:
    """Those who answer a row by themselves: all as one, or each of them."""
    return (self.together,) if self.route is None else self.members

  def number_of(self, row: Row) -> int:
    """Which of those answers a row."""
    return 0 if self.route is None else self.route.number_of(row)


def open_teachers(
  experiment: Experiment, values: Values, partition: Partition | None
) -> Teachers:
  """Loads the teachers, which must have one tokenizer.

  Args:
    partition: how their arrays are cut over a mesh; None for one device.
  """
  folders = values.teacher_folders
  if is_served(experiment):
    return Teachers(folders, (SERVED,), SERVED, 0)
  settings = experiment.teaching
  route = _read_route(experiment, folders)
  try:
    check_weights(settings.teacher_weights, len(folders))
  except ValueError as error:
    raise UserError(f"--teacher_weights: {error}") from error
  members = tuple(
    language_models.open_language_model("teacher_from", folder, partition)
    for folder in folders
  )
  for folder, member in zip(folders, members, strict=True):
    language_models.check_same_tokenizer(
      f"--teacher_from={folder}", member, folders[0], members[0]
    )
  classes = min(
    language_models.count_classes(
      f"--teacher_from={folder}", member, experiment.language.sequence_length
    )
    for folder, member in zip(folders, members, strict=True)
  )
  first = members[0]
  if len(members) == 1:
    return Teachers(folders, members, first, classes)
  network = None
  if route is None:
    network = pooled(
      [member.network for member in members],
      classes,
      pool=settings.pool,
      weights=settings.teacher_weights,
    )
  variables = pooled_variables([member.variables for member in members])
  return Teachers(
    folders,
    members,
    Pretrained(network, variables, first.config, first.tokenizer),
    classes,
    route,
  )


def _read_route(
  experiment: Experiment, folders: tuple[str, ...]
) -> Route | None:
  """Reads the column that names a row's teacher; None where all teach all."""
  text = experiment.teaching.pool
  if text in POOLS:
    return None
  flag, one = f"--pool={text}", spec.parse(text)
  if len(one.args) != 1 or one.kwargs:
    raise UserError(f"{flag}: name one column, as in --pool='column(teacher)'")
  names = tuple(where.rstrip("/").rpartition("/")[2] for where in folders)
  twice = [name for name in names if names.count(name) > 1]
  if twice:
    raise UserError(
      f"{flag}: --teacher_from names two teachers {twice[0]!r}, by the last parts"
      " of their paths; rows cannot tell them apart"
    )
  for name, value, why in (
    (
      "teacher_weights",
      ",".join(f"{x:g}" for x in experiment.teaching.teacher_weights),
      "a row has one teacher",
    ),
    (
      "across",
      experiment.language.across,
      "such teachers read the student's tokens",
    ),
    (
      "mesh",
      experiment.computing.mesh,
      "such teachers are not cut over devices yet",
    ),
  ):
    if value:
      raise UserError(f"{flag} does not go with --{name}={value}: {why}")
  return Route(str(one.args[0]), names)


def is_served(experiment: Experiment) -> bool:
  """Says whether the teacher is behind an endpoint."""
  return is_url(experiment.teacher.teacher_from)


def teacher_of(
  experiment: Experiment, members: tuple[Pretrained, ...], task: Task
) -> Teacher:
  """What answers to the student's batches, of the same tokens."""
  dtype, settings = experiment.computing.teacher_dtype, experiment.teaching
  return ensemble(
    [
      live_teacher(member.network, member.variables, dtype=dtype)
      for member in members
    ],
    pool=settings.pool,
    weights=settings.teacher_weights or None,
    task=task,
  )


def as_one(teachers: Teachers, arrays: Any) -> Any:
  """What `teacher_of` knows, as variables of all teachers as one."""
  if len(teachers.members) == 1:
    return arrays
  return pooled_variables(
    [jax.tree.map(lambda x: x[0], stack) for stack in arrays]
  )
