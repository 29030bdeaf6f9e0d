"""Teachers as students see them: what they know, and how they show it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from kdjax.core.factored import factored
from kdjax.core.method import Outputs
from kdjax.core.task import Batch, Task


@struct.dataclass
class Teacher:
  """A teacher is a value: arrays, and pure functions of them.

  Attributes:
    arrays: what it knows: weights, or answers by example.
    show: (arrays, batch, step, taps) -> Outputs, what it makes of a batch at a
      step of the student's training, () int32.
    head: arrays -> its linear classifier, {"kernel": (D, C), "bias": (C,)}, or
      None; of an ensemble a tuple of them.
  """

  arrays: Any
  show: Callable[[Any, Batch, jax.Array, Sequence[str]], Outputs] = (
    struct.field(pytree_node=False)
  )
  head: Callable[[Any], dict | None] = struct.field(pytree_node=False)


def stored_teacher(
  answers: jax.Array, features: Mapping[str, jax.Array] | None = None
) -> Teacher:
  """Makes a teacher of its answers, for inputs that are always seen alike.

  A batch finds its rows by its `index`.

  Args:
    answers: (N, ...) float, what a network answers to the whole training set in
      its order; the same for all views of an example. Or (V * N, ...), to all
      its views 0, then 1, ...
    features: (N, ...) arrays by tap, for methods that read them.

  Returns:
    The teacher; it has no classifier to show.

  Example:
    >>> from kdjax.core.task import batch_of
    >>> teacher = stored_teacher(jnp.eye(3))
    >>> batch = batch_of(jnp.zeros((1, 4)), index=jnp.array([2]))
    >>> print(observe(teacher, batch).answers)
    [[0. 0. 1.]]
  """
  return Teacher(Outputs(answers, dict(features or {})), _show_stored, _no_head)


def observe(
  teacher: Teacher | None,
  batch: Batch,
  taps: Sequence[str] = (),
  *,
  step: jax.Array | int = 0,
  task: Task | None = None,
) -> Outputs | None:
  """Shows what a teacher makes of a batch.

  Args:
    teacher: the teacher, or None.
    step: the training step from 0, () int32.
    task: what the answers mean; None for what networks put out.

  Returns:
    The teacher's outputs, a constant; None without a teacher.
  """
  if teacher is None:
    return None
  if task is None:
    outputs = teacher.show(teacher.arrays, batch, step, tuple(taps))
  else:

    def answered(arrays, batch):
      outputs = teacher.show(arrays, batch, step, tuple(taps))
      return outputs.answers, outputs._replace(answers=None)

    answers, outputs = factored(answered, task.factored_from)(
      teacher.arrays, batch
    )
    outputs = in_rows(outputs._replace(answers=answers), batch, task)
  return jax.lax.stop_gradient(outputs)


def in_rows(outputs: Outputs, batch: Batch, task: Task) -> Outputs:
  """Turns what networks put out into one answer a row.

  Args:
    outputs: what a network makes of a batch, or several do.
  """
  return outputs._replace(
    answers=task.rows(outputs.answers, batch).answers,
    members=tuple(in_rows(one, batch, task) for one in outputs.members),
  )


def teacher_head(teacher: Teacher | None) -> dict | None:
  """Returns a teacher's classifier.

  Args:
    teacher: the teacher, or None.

  Returns:
    {"kernel": (D, C), "bias": (C,)}, a constant, of an ensemble a tuple of
    them; None where there is none.
  """
  if teacher is None:
    return None
  return jax.lax.stop_gradient(teacher.head(teacher.arrays))


def _show_stored(table, batch, step, taps) -> Outputs:
  return jax.tree.map(lambda x: jnp.asarray(x)[batch.place % len(x)], table)


def _no_head(arrays) -> None:
  return None
