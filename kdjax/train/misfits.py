"""What does not fit in a training of a user's own, told in one line."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.answers import check_answers
from kdjax.core.arguments import check_kind
from kdjax.core.errors import UserError
from kdjax.core.factored import as_logits
from kdjax.core.task import Task, as_batch, has_weight
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
def one_line_errors(
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
  check_kind("optimizer", optimizer, "optimizer")
  check_kind("teacher", teacher, "teacher", optional=True)
  for path, x in jax.tree_util.tree_leaves_with_path(teacher):
    array = isinstance(x, jax.Array | np.ndarray)
    if array and jnp.issubdtype(x.dtype, jnp.floating) and jnp.isnan(x).any():
      name = jax.tree_util.keystr(path[1:], simple=True, separator="/")
      raise UserError(f"teacher: {name}, {x.shape}, has nan in it")


def check_teacher(task: Task, teacher: Teacher | None, batch: Any) -> None:
  """Refuses a teacher whose answers to a batch are nan; computes them.

  Raises:
    UserError: says to how many rows.
  """
  if teacher is None:
    return
  batch = as_batch(task, arrays_of(batch))
  answers = as_logits(observe(teacher, batch, task=task).answers)
  counts = has_weight(task.weights(batch).rows)
  wrong = int((jnp.isnan(answers).any(-1) & counts).sum())
  if wrong:
    raise UserError(
      f"teacher: {wrong} of its {int(counts.sum())} answers to the first batch"
      " are nan; look at its weights, and at the inputs that it wants"
    )


def check_networks(
  objective: Objective, variables: Any, teacher: Teacher | None, batch: Any
) -> None:
  """Refuses networks whose answers are not the task's, by shapes.

  Raises:
    UserError: names the network and both shapes.
  """
  task = objective.task
  for whose, answers in _answers(objective, variables, teacher, batch):
    is_student = whose == "student"
    check_answers(
      whose, answers, _count_rows(task, batch), task, own=is_student
    )


def _count_rows(task: Task, batch: Any) -> int:
  batch = as_batch(task, batch)
  return len(jax.eval_shape(lambda batch: task.weights(batch).rows, batch))


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

  def answers(teacher, batch):
    return observe(teacher, as_batch(task, batch), task=task).answers

  key = jax.random.key(0)
  shapes = [("student", jax.eval_shape(student, key, variables, batch))]
  if teacher is not None:
    shapes.append(("teacher", jax.eval_shape(answers, teacher, batch)))
  return shapes


def _misfit(objective, variables, teacher, batch) -> str:
  """Says what both networks answer, where that differs."""
  try:
    check_networks(objective, variables, teacher, batch)
    answers = _answers(objective, variables, teacher, batch)
  except UserError as error:
    return str(error)
  except (TypeError, ValueError):
    return ""
  shapes = [tuple(x.shape) for _, x in answers]
  if len(set(shapes)) < 2:
    return ""
  return (
    f"teacher: it answers {shapes[1]}, the student {shapes[0]}; give both the"
    " same classes, or match features alone"
  )
