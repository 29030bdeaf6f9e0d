"""What a task asks of networks' answers, row by row."""

from typing import Any

import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.core.task import Task


def check_answers(
  whose: str, answers: Any, rows: int, task: Task, *, own: bool = True
) -> None:
  """Refuses a network's answers that are not those of a task.

  Args:
    whose: the network, for the message.
    answers: an array or its shape and type, as the task has put it in rows.
    rows: how many there should be.
    own: whether it must have as many numbers as the task says; a teacher whose
      answers nobody compares need not.

  Raises:
    UserError: names the network and both shapes.

  Example:
    >>> from kdjax.tasks import classification
    >>> check_answers("student", jnp.zeros((6, 3)), 6, classification(4))
    Traceback (most recent call last):
    kdjax.core.errors.UserError: student: it answers (6, 3), and the task \
classification reads 4 numbers a row: make the network with 4, or the task with 3
  """
  shape = getattr(answers, "shape", None)
  if shape is None:
    return
  if len(shape) != 2 or shape[0] != rows:
    raise UserError(
      f"{whose}: the task {task.name} reads one row of answers for each of"
      f" {rows}, ({rows}, C); the network's are {tuple(shape)};"
      " from_linen(..., call=) says what of its outputs is meant"
    )
  if not jnp.issubdtype(answers.dtype, jnp.floating):
    raise UserError(
      f"{whose}: its answers are {answers.dtype}; they must be floating numbers,"
      " logits and not classes: nothing is learned through others"
    )
  if own and task.width is not None and shape[1] != task.width:
    other = f"the task with {shape[1]}"
    if task.kind == "categories" and shape[1] == 1:
      # A softmax of one logit is 1 whatever the logit.
      other = "take the task multilabel(1), that of one logit of yes and no"
    raise UserError(
      f"{whose}: it answers {tuple(shape)}, and the task {task.name} reads"
      f" {task.width} numbers a row: make the network with {task.width}, or"
      f" {other}"
    )
