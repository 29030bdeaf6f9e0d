"""Who teaches: one language model, or several that answer as one."""

from typing import Any, NamedTuple

import jax

from kdjax.core.errors import UserError
from kdjax.core.pooling import check_weights
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher
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


class Teachers(NamedTuple):
  """Those who teach.

  Attributes:
    folders: where each was loaded from.
    members: each of them.
    together: all as one; a single one is itself.
    classes: how many tokens all have logits for; 0 for one that is served.
  """

  folders: tuple[str, ...]
  members: tuple[Pretrained, ...]
  together: Pretrained
  classes: int


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
  )


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
