"""Teachers as students see them: what they know, and how they show it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from kdjax.core.method import Outputs
from kdjax.core.task import Batch, Task, arguments
from kdjax.taps import tapped
from kdjax.train.state import TrainState, classifier, variables


@struct.dataclass
class Teacher:
  """A teacher is a value: arrays, and pure functions of them.

  Attributes:
    arrays: what it knows: weights, or answers by example.
    show: (arrays, batch, step, taps) -> Outputs, what it makes of a batch at a
      step of the student's training, () int32.
    head: arrays -> its linear classifier as `classifier` returns it, or None.
  """

  arrays: Any
  show: Callable[[Any, Batch, jax.Array, Sequence[str]], Outputs] = (
    struct.field(pytree_node=False)
  )
  head: Callable[[Any], dict | None] = struct.field(pytree_node=False)


def live_teacher(state: TrainState) -> Teacher:
  """Makes a teacher of a trained network, without dropout or updates."""
  return Teacher(state, _show_live, _head_of_live)


def stored_teacher(
  logits: jax.Array, feats: Mapping[str, jax.Array] | None = None
) -> Teacher:
  """Makes a teacher of its answers, for images that are always seen alike.

  Args:
    logits: (N, C) float, of the whole training set in its order; the same for
      all views of an image. Or (V * N, C), of all its views 0, then 1, ...

  Returns:
    The teacher; it has no classifier to show.
  """
  return Teacher(Outputs(logits, dict(feats or {})), _show_stored, _no_head)


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
  outputs = teacher.show(teacher.arrays, batch, step, tuple(taps))
  if task is not None:
    outputs = in_rows(outputs, batch, task)
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
    As `classifier`, a constant; None where there is none.
  """
  if teacher is None:
    return None
  return jax.lax.stop_gradient(teacher.head(teacher.arrays))


def _show_live(state, batch, step, taps) -> Outputs:
  args, named = arguments(batch.teacher_inputs)
  shown = tapped(state.apply_fn, taps)
  return Outputs(*shown(variables(state), *args, **named, train=False))


def _head_of_live(state):
  return classifier(state.params["network"])


def _show_stored(table, batch, step, taps) -> Outputs:
  return jax.tree.map(lambda x: jnp.asarray(x)[batch.place % len(x)], table)


def _no_head(arrays) -> None:
  return None
