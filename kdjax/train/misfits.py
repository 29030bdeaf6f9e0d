"""What does not fit in a training of a user's own, told in one line."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import UserError
from kdjax.core.method import Outputs
from kdjax.core.task import as_batch
from kdjax.core.teacher import Teacher, observe
from kdjax.taps import TapError
from kdjax.train.devices.mapped import arrays_of
from kdjax.train.objective import Objective


@contextlib.contextmanager
def taps_of(whose: str) -> Iterator[None]:
  """Says in whose network a tap finds nothing."""
  try:
    yield
  except TapError as error:
    raise TapError(error.tap, error.reason, error.whose or whose) from None


@contextlib.contextmanager
def told(
  objective: Objective, variables: Any, teacher: Teacher | None, batch: Any
) -> Iterator[None]:
  """Makes one line of an error of a step that is traced.

  Args:
    variables: the student's; None for those that it would be given.
    batch: as users have it.
  """
  try:
    with taps_of("student"):
      yield
  except (TypeError, ValueError) as error:
    line = str(error).split("\n")[0]
    shapes = _misfit(objective, variables, teacher, arrays_of(batch))
    raise UserError(f"{shapes}: {line}" if shapes else line) from error


def check_values(optimizer: Any, teacher: Any) -> None:
  """Refuses what is no optimiser and no teacher, and a teacher that holds nan.

  Args:
    optimizer: of optax.
    teacher: a Teacher or None; shapes are not looked into.

  Raises:
    UserError: names the argument.
  """
  # Some of optax, such as MultiSteps, are of another class.
  if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
    raise UserError(
      "optimizer: one of optax is meant, such as optax.adam(1e-3), got"
      f" {type(optimizer).__name__}"
    )
  if teacher is not None and not isinstance(teacher, Teacher):
    raise UserError(
      "teacher: live_teacher, stored_teacher or ensemble make one, got"
      f" {type(teacher).__name__}"
    )
  for path, x in jax.tree_util.tree_leaves_with_path(teacher):
    array = isinstance(x, jax.Array | np.ndarray)
    if array and jnp.issubdtype(x.dtype, jnp.floating) and jnp.isnan(x).any():
      name = jax.tree_util.keystr(path[1:], simple=True, separator="/")
      raise UserError(f"teacher: {name}, {x.shape}, has nan in it")


def check_answers(
  objective: Objective, variables: Any, teacher: Teacher | None, batch: Any
) -> None:
  """Refuses a network whose answers are not one row for each of the task's.

  Raises:
    UserError: names the network and both shapes.
  """
  task = objective.task
  for whose, answers in _answers(objective, variables, teacher, batch):
    rows = jax.eval_shape(
      lambda batch: task.weights(batch).rows, as_batch(task, batch)
    )
    shape = getattr(answers, "shape", None)
    if shape is not None and (len(shape) != 2 or shape[0] != len(rows)):
      raise UserError(
        f"{whose}: the task {task.name} reads one row of answers for each of"
        f" {len(rows)}, ({len(rows)}, C); the network's are {tuple(shape)};"
        " from_linen(..., call=) says what of its outputs is meant"
      )


def check_places(teacher: Teacher | None, batch: Any) -> None:
  """Refuses stored answers beside batches that do not say where they are.

  Raises:
    UserError: names the entry that is missing.
  """
  stored = teacher is not None and isinstance(teacher.arrays, Outputs)
  if stored and isinstance(batch, Mapping) and "index" not in batch:
    raise UserError(
      "batch: stored answers are found by an entry 'index', (B,) int, the"
      f" examples' places in the training set; there is: {', '.join(batch)}"
    )


def _answers(objective, variables, teacher, batch) -> list[tuple[str, Any]]:
  """Shapes of what both networks answer, in rows; of those that run at all."""
  network, task = objective.network, objective.task

  def student(key, variables, batch):
    batch = as_batch(task, batch)
    if variables is None:
      variables = network.init(key, batch.inputs)
    variables = network.collections(variables)
    outputs, _, _ = network.apply(variables, batch.inputs)
    return task.rows(outputs, batch).answers

  def seen(teacher, batch):
    return observe(teacher, as_batch(task, batch), task=task).answers

  key = jax.random.key(0)
  found = [("student", jax.eval_shape(student, key, variables, batch))]
  if teacher is not None:
    found.append(("teacher", jax.eval_shape(seen, teacher, batch)))
  return found


def _misfit(objective, variables, teacher, batch) -> str:
  """Says what both networks answer, where that differs."""
  try:
    check_answers(objective, variables, teacher, batch)
    answers = _answers(objective, variables, teacher, batch)
  except UserError as error:
    return str(error)
  except (TypeError, ValueError):
    return ""
  shapes = [tuple(jnp.shape(x)) for _, x in answers]
  if len(set(shapes)) < 2:
    return ""
  return (
    f"teacher: it answers {shapes[1]}, the student {shapes[0]}; give both the"
    " same classes, or match features alone"
  )
