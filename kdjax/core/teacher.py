"""Teachers as students see them: what they know, and how they show it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from kdjax.core.arguments import misfit
from kdjax.core.errors import UserError
from kdjax.core.factored import factored
from kdjax.core.method import Outputs
from kdjax.core.task import Batch, Task, has_weight


@struct.dataclass
class Teacher:
  """A teacher is a value: arrays, and pure functions of them.

  Attributes:
    arrays: what it knows: weights, or answers by example.
    show: (arrays, batch, step, taps) -> Outputs, what it makes of a batch at a
      step of the student's training, () int32.
    head: arrays -> its linear classifier, {"kernel": (D, C), "bias": (C,)}, or
      None; of an ensemble a tuple of them.
    stored: how many rows each table of stored answers has; () where there is
      none.
    in_rows: whether `show` answers in rows of its own already, which no task
      makes: those of other tokens than the student's.
    raise_fault: raises what has kept it from answering; None for what cannot fail.
      Within a program nothing can be raised: answers that there are not are nan.
  """

  arrays: Any
  show: Callable[[Any, Batch, jax.Array, Sequence[str]], Outputs] = (
    struct.field(pytree_node=False)
  )
  head: Callable[[Any], dict | None] = struct.field(pytree_node=False)
  stored: tuple[int, ...] = struct.field(pytree_node=False, default=())
  in_rows: bool = struct.field(pytree_node=False, default=False)
  raise_fault: Callable[[], None] | None = struct.field(
    pytree_node=False, default=None
  )


def stored_teacher(
  answers: jax.Array, features: Mapping[str, jax.Array] | None = None
) -> Teacher:
  """Makes a teacher of its answers, for inputs that are always seen alike.

  A batch finds its rows by its `index`. For an example that counts and has no
  row they are nan, and so is the loss.

  Args:
    answers: (N, ...) float, what a network answers to the whole training set in
      its order; the same for all views of an example. Or (V * N, ...), to all
      its views 0, then 1, ...
    features: (N, ...) arrays by tap, for methods that read them.

  Returns:
    The teacher; it has no classifier to show.

  Raises:
    UserError: for answers that are no floating numbers, and features that are
      not by tap or of another length.

  Example:
    >>> from kdjax.core.task import batch_of
    >>> teacher = stored_teacher(jnp.eye(3))
    >>> batch = batch_of(jnp.zeros((1, 4)), index=jnp.array([2]))
    >>> print(observe(teacher, batch).answers)
    [[0. 0. 1.]]
  """
  answers = _table("answers", answers)
  if not jnp.issubdtype(answers.dtype, jnp.floating):
    raise misfit("answers", "floating numbers, logits and not classes", answers)
  if not isinstance(features or {}, Mapping):
    raise misfit("features", "arrays by tap", features)
  features = {tap: _table(tap, x) for tap, x in (features or {}).items()}
  for tap, x in features.items():
    if len(x) != len(answers):
      raise UserError(
        f"features: {tap!r} has {len(x)} rows, the answers {len(answers)}"
      )
  table = Outputs(answers, features)
  return Teacher(table, show_stored, _no_head, (len(answers),))


def check_places(teacher: Teacher | None, batch: Any) -> None:
  """Refuses a batch whose rows stored answers do not have.

  Args:
    batch: as users have it. Places that lie on a device are not looked at: they
      would have to be waited for.

  Raises:
    UserError: names the entry.

  Example:
    >>> check_places(stored_teacher(jnp.eye(3)), {"index": np.array([0, 3])})
    Traceback (most recent call last):
    kdjax.core.errors.UserError: batch: entry 'index' has the place 3, and the teacher has stored answers to 3 examples, the places 0 to 2
  """
  if teacher is None or not teacher.stored or not isinstance(batch, Mapping):
    return
  if "index" not in batch:
    raise UserError(
      "batch: stored answers are found by an entry 'index', (B,) int, the"
      f" examples' places in the training set; there is: {', '.join(batch)}"
    )
  places, rows = batch["index"], min(teacher.stored)
  if "place" in batch or not isinstance(places, np.ndarray):
    return
  if isinstance(batch.get("weight"), np.ndarray):
    places = places[batch["weight"] > 0]
  for place in places[(places < 0) | (places >= rows)][:1]:
    raise UserError(
      f"batch: entry 'index' has the place {place}, and the teacher has stored"
      f" answers to {rows} examples, the places 0 to {rows - 1}"
    )


def check_answered(teacher: Teacher | None) -> None:
  """Raises what has kept a teacher from answering, once its answers are there.

  Raises:
    TeacherError: of a teacher that is asked over a network; once for each fault.

  Example:
    >>> check_answered(stored_teacher(jnp.eye(3)))
  """
  if teacher is not None and teacher.raise_fault is not None:
    teacher.raise_fault()


def check_examples(teacher: Teacher | None, examples: int | None) -> None:
  """Refuses stored answers to another number of examples.

  Args:
    examples: of the training set; None where that is not known.

  Raises:
    UserError: names both numbers.

  Example:
    >>> check_examples(stored_teacher(jnp.eye(3)), 3)
  """
  for rows in () if teacher is None or not examples else teacher.stored:
    if not rows or rows % examples:
      raise UserError(
        f"teacher: it has stored answers to {rows} examples, and there are"
        f" {examples}; it needs one to each, in their order, or to V views of"
        f" all, V * {examples}"
      )


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
  if task is None or teacher.in_rows:
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


def show_stored(
  table: Any, batch: Batch, step: jax.Array, taps: Sequence[str]
) -> Any:
  """Looks a batch's rows up; nan for an example that counts and has none.

  Args:
    table: a tree of arrays (N, ...), or (V * N, ...).

  Returns:
    The same tree, of arrays (B, ...).
  """

  def one(x):
    x = jnp.asarray(x)
    rows = x[batch.place % len(x)]
    if "place" in batch.extra or not jnp.issubdtype(x.dtype, jnp.inexact):
      return rows
    # Padding may say anything: nan there would reach the gradient.
    missing = (batch.index < 0) | (batch.index >= len(x))
    missing &= has_weight(batch.weight)
    shape = (-1, *[1] * (x.ndim - 1))
    return jnp.where(missing.reshape(shape), jnp.nan, rows)

  return jax.tree.map(one, table)


def _table(name: str, x: Any) -> Any:
  """An array with a leading axis, of what may be a list."""
  try:
    x = x if hasattr(x, "shape") else np.asarray(x, np.float32)
  except (TypeError, ValueError):
    raise misfit(name, "an array", x) from None
  if not x.shape:
    raise misfit(name, "an array with one row an example", x)
  return x


def _no_head(arrays) -> None:
  return None
