"""Several teachers, of whom each token has one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp

from kdjax.core.errors import UserError
from kdjax.core.factored import as_logits, is_matrix_product, pooled
from kdjax.core.method import Outputs
from kdjax.core.pooling import chosen
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher
from kdjax.train.ensemble import ensemble


def routed(
  teachers: Sequence[Teacher], choices: Any, *, task: Task | None = None
) -> Teacher:
  """Makes a teacher that answers each token as one of several does.

  All of them read each batch, one after the other, and at each token one is heard:
  T forward passes a step, and the loss of one teacher.

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
  together = ensemble(teachers, task=task)
  if together is teachers[0]:
    raise UserError("teachers: a choice is among two of them or more")
  show = partial(_show, together.show)
  choices = jnp.asarray(choices, jnp.int32)
  return Teacher((together.arrays, choices), show, _no_head, together.stored)


def with_choices(teacher: Teacher, choices: Any) -> Teacher:
  """Makes a routed teacher of other examples.

  Args:
    teacher: of `routed`.
    choices: as `routed` takes them.
  """
  arrays = (teacher.arrays[0], jnp.asarray(choices, jnp.int32))
  return teacher.replace(arrays=arrays)


def _show(show, arrays, batch, step, taps) -> Outputs:
  if taps:
    raise UserError(
      "teachers of whom each token has one show no features, and the method reads"
      f" {', '.join(taps)}"
    )
  teachers, choices = arrays
  answers = [x.answers for x in show(teachers, batch, step, taps).members]
  rows = answers[0].hidden if hasattr(answers[0], "hidden") else answers[0]
  choice = choices[batch.index]
  choice = choice.reshape(*choice.shape, *[1] * (rows.ndim - 1 - choice.ndim))
  choice = jnp.broadcast_to(choice, rows.shape[:-1])
  if all(is_matrix_product(x) for x in answers):
    return Outputs(pooled(answers, pool=None, choice=choice), {})
  logits = jnp.stack([as_logits(x) for x in answers])
  return Outputs(chosen(logits, choice), {})


def _no_head(arrays) -> None:
  return None
