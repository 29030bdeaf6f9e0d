"""Several teachers, of whom each token has one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.core.factored import (
  as_logits,
  factored,
  first_classes,
  is_matrix_product,
  pooled,
  with_matrix,
  without_matrix,
)
from kdjax.core.method import Outputs
from kdjax.core.pooling import chosen
from kdjax.core.task import Batch, Task
from kdjax.core.teacher import Teacher
from kdjax.train.ensemble import ensemble

# Into so many parts a batch is cut, of which a teacher reads as many as it needs.
_GROUPS = 8


def routed(
  teachers: Sequence[Teacher], choices: Any, *, task: Task | None = None
) -> Teacher:
  """Makes a teacher that answers each token as one of several does.

  Each of them reads those rows of a batch in which it is heard, an eighth of the batch
  at a time: where no row has two teachers, that is one forward pass a step, and up
  to an eighth more for each of them.

  Args:
    teachers: at least two, such as those of `live_teacher`; their answers have
      equally many classes.
    choices: (N,) int, by example which teacher's it is; or (N, ...) by token, as of
      packed sequences. A batch finds its rows by its `index`.
    task: what the answers are; logits of classes by default.

  Returns:
    The teacher. It shows no features and no classifier.

  Raises:
    UserError: as `ensemble`; within a step, for a method that reads features.

  Example:
    >>> from kdjax.core.task import batch_of
    >>> from kdjax.core.teacher import observe, stored_teacher
    >>> both = [stored_teacher(jnp.eye(2)), stored_teacher(-jnp.eye(2))]
    >>> batch = batch_of(jnp.zeros((2, 3)))
    >>> print(observe(routed(both, jnp.array([0, 1])), batch).answers)
    [[ 1.  0.]
     [-0. -1.]]
  """
  # Whatever an ensemble refuses.
  if ensemble(teachers, task=task) is teachers[0]:
    raise UserError("teachers: a choice is among two of them or more")
  width, least = (
    (None, None) if task is None else (task.width, task.factored_from)
  )
  first = tuple(one.replace(arrays=None) for one in teachers)
  arrays = tuple(one.arrays for one in teachers)
  stored = tuple(rows for one in teachers for rows in one.stored)
  show = partial(_show, first, (least, width))
  choices = jnp.asarray(choices, jnp.int32)
  return Teacher((arrays, choices), show, _no_head, stored)


def with_choices(teacher: Teacher, choices: Any) -> Teacher:
  """Makes a routed teacher of other examples.

  Args:
    teacher: of `routed`.
    choices: as `routed` takes them.
  """
  arrays = (teacher.arrays[0], jnp.asarray(choices, jnp.int32))
  return teacher.replace(arrays=arrays)


def _show(first, sizes, arrays, batch, step, taps) -> Outputs:
  if taps:
    raise UserError(
      "teachers of whom each token has one show no features, and the method reads"
      f" {', '.join(taps)}"
    )
  teachers, choices = arrays
  choice = choices[batch.index]
  answers = [
    _of_its_rows(
      partial(_answers, one, sizes, own, step), batch, choice == number
    )
    for number, (one, own) in enumerate(zip(first, teachers, strict=True))
  ]
  rows = answers[0].hidden if hasattr(answers[0], "hidden") else answers[0]
  choice = choice.reshape(*choice.shape, *[1] * (rows.ndim - 1 - choice.ndim))
  choice = jnp.broadcast_to(choice, rows.shape[:-1])
  if all(is_matrix_product(x) for x in answers):
    return Outputs(pooled(answers, pool=None, choice=choice), {})
  logits = jnp.stack([as_logits(x) for x in answers])
  return Outputs(chosen(logits, choice), {})


def _answers(teacher, sizes, arrays, step, batch) -> Any:
  """What one teacher answers to some rows."""
  least, width = sizes

  def answered(arrays, batch):
    return teacher.show(arrays, batch, step, ()).answers, ()

  answers, _ = factored(answered, least)(arrays, batch)
  return first_classes(answers, width)


def _of_its_rows(
  ask: Callable[[Batch], Any], batch: Batch, is_heard: jax.Array
) -> Any:
  """Asks a teacher about the rows in which it is heard, a few at a time.

  Args:
    ask: a batch of rows -> (B, ..., C) answers, or Factored.
    is_heard: (B,) or (B, T) bool.

  Returns:
    The answers to all rows, those of the others zeros.
  """
  size = len(is_heard)
  is_heard = is_heard.reshape(size, -1).any(axis=1)
  at_once = max(size // _GROUPS, 1)
  # Its rows first; behind the last row stand copies of it.
  order = jnp.argsort(~is_heard)

  def group(number):
    places = number * at_once + jnp.arange(at_once)
    places = order[jnp.minimum(places, size - 1)]
    return places, ask(jax.tree.map(lambda x: jnp.asarray(x)[places], batch))

  def place(number, answers):
    places, some = group(number)
    rows, _ = without_matrix(Outputs(some, {}))
    return answers.at[places].set(rows.answers)

  # Nobody reads these but for the matrix: the compiler leaves the rest out.
  first, matrix = without_matrix(Outputs(group(0)[1], {}))
  empty = jnp.zeros((size, *first.answers.shape[1:]), first.answers.dtype)
  groups = (is_heard.sum() + at_once - 1) // at_once
  answers = jax.lax.fori_loop(0, groups, place, empty)
  return with_matrix(Outputs(answers, {}), matrix).answers


def _no_head(arrays) -> None:
  return None
