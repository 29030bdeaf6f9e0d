"""Several teachers as one: an ensemble, or a route from one to the next."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.arguments import check_kind, misfit
from kdjax.core.errors import UserError
from kdjax.core.factored import (
  as_logits,
  factored,
  first_classes,
  is_matrix_product,
  pooled,
)
from kdjax.core.method import Outputs
from kdjax.core.pooling import check_weights, pool_logits
from kdjax.core.task import Task
from kdjax.core.teacher import Teacher


def ensemble(
  teachers: Sequence[Teacher],
  *,
  pool: str = "probabilities",
  weights: Sequence[float] | None = None,
  together: bool = True,
  task: Task | None = None,
) -> Teacher:
  """Makes one teacher of several.

  Networks of one architecture are stacked and answer in one vmapped forward
  pass; the others one after the other. Answers are pool_answers as the task does it;
  every network's features and answers stand in the view's `members`, in the
  teachers' order.

  Args:
    teachers: from `live_teacher` or `stored_teacher`.
    pool: how answers become one, see `kdjax.core.pooling`.
    weights: (T,); all alike by default.
    together: False keeps networks apart that could be stacked: faster for
      convolutions on the CPU.
    task: what the answers are; logits of classes by default.

  Returns:
    The teacher; a single one comes back as it is.

  Raises:
    UserError: for no teacher, what is none, another number of weights, and a pool
      that the task's answers do not have.

  Example:
    >>> from kdjax.core.task import batch_of
    >>> from kdjax.core.teacher import observe, stored_teacher
    >>> both = ensemble([stored_teacher(jnp.eye(2)), stored_teacher(jnp.eye(2))])
    >>> observe(both, batch_of(jnp.zeros((2, 3)))).answers.shape
    (2, 2)
  """
  if not isinstance(teachers, list | tuple) or not teachers:
    raise misfit("teachers", "a list of one Teacher or more", teachers)
  for teacher in teachers:
    check_kind("teachers", teacher, "teacher")
    if teacher.raise_fault is not None and len(teachers) > 1:
      raise UserError("teachers: one that is served teaches alone")
  check_kind("task", task, "task", optional=True)
  pool_answers = partial(
    pool_logits if task is None else task.pool,
    pool=pool,
    weights=tuple(weights or ()),
  )
  try:
    check_weights(weights, len(teachers))
    jax.eval_shape(pool_answers, jnp.zeros((len(teachers), 1, 2)))
  except (TypeError, ValueError) as error:
    raise UserError(f"ensemble: {error}") from None
  if len(teachers) == 1:
    return teachers[0]
  least = None if task is None else task.factored_from
  # A stacked product is none with one matrix.
  groups = _groups(teachers, together and least is None)
  arrays = tuple(_stack([teachers[i] for i in group]) for group in groups)
  first = tuple(teachers[group[0]].replace(arrays=None) for group in groups)
  settings = (tuple(map(tuple, groups)), first)
  width = None if task is None else task.width
  show = partial(_show, settings, pool_answers, (least, width))
  return Teacher(arrays, show, partial(_heads, settings), _stored(teachers))


def teacher_route(teachers: Sequence[Teacher], *, steps: int) -> Teacher:
  """Makes a teacher that changes on the way: each has its share of the steps.

  At step s the student learns from teacher floor(s T / steps).

  Args:
    teachers: of one kind, such as one network's checkpoints, in their order.

  Source:
    Jin et al. 2019, arXiv:1904.09149: anchor points of the teacher's training
    as a curriculum; ours are equally far apart.
  """
  if len(_groups(teachers, True)) != 1:
    raise ValueError("a route leads over teachers of one architecture")
  count, first = len(teachers), teachers[0].replace(arrays=None)

  def show(arrays, batch, step, taps):
    place = jnp.clip(jnp.asarray(step) * count // steps, 0, count - 1)
    here = jax.tree.map(lambda x: jnp.asarray(x)[place], arrays)
    return first.show(here, batch, step, taps)

  def head(arrays):
    # A classifier that students take over is the finished network's.
    return first.head(jax.tree.map(lambda x: x[-1], arrays))

  return Teacher(_stack(teachers), show, head, _stored(teachers))


def _stored(teachers: Sequence[Teacher]) -> tuple[int, ...]:
  return tuple(rows for teacher in teachers for rows in teacher.stored)


def _show(settings, pool_answers, sizes, arrays, batch, step, taps) -> Outputs:
  groups, first = settings
  least, width = sizes
  members = [None] * sum(map(len, groups))

  def outputs_of(one, mine):
    outputs = one.show(mine, batch, step, taps)
    return outputs.answers, outputs._replace(answers=None)

  for places, one, stack in zip(groups, first, arrays, strict=True):
    answer = factored(partial(outputs_of, one), least)
    for place, (answers, outputs) in zip(
      places, _of_each(answer, stack), strict=True
    ):
      # What one network has beyond the classes is no part of a mean.
      members[place] = outputs._replace(answers=first_classes(answers, width))
  answers = [outputs.answers for outputs in members]
  if all(is_matrix_product(x) for x in answers):
    together = pooled(answers, **pool_answers.keywords)
  else:
    together = pool_answers(jnp.stack([as_logits(x) for x in answers]))
  return Outputs(together, {}, tuple(members))


def _heads(settings, arrays) -> tuple | None:
  groups, first = settings
  heads = [None] * sum(map(len, groups))
  for places, one, stack in zip(groups, first, arrays, strict=True):
    for i, place in enumerate(places):
      heads[place] = one.head(jax.tree.map(lambda x, i=i: x[i], stack))
  return tuple(heads)


def _of_each(function, stack) -> list:
  """vmap over the leading axis, but plain where there is only one."""
  size = len(jax.tree.leaves(stack)[0])
  if size == 1:
    return [function(jax.tree.map(lambda x: x[0], stack))]
  results = jax.vmap(function)(stack)
  return [jax.tree.map(lambda x, i=i: x[i], results) for i in range(size)]


def _groups(teachers, together) -> list[list[int]]:
  """Places of the teachers that are of one kind."""
  groups = []
  for i, teacher in enumerate(teachers):
    kind = _kind(teacher)
    for group in groups if together else ():
      if _kind(teachers[group[0]]) == kind:
        group.append(i)
        break
    else:
      groups.append([i])
  return groups


def _kind(teacher: Teacher) -> tuple:
  """What teachers that can be stacked have in common."""
  leaves = [
    (jax.tree_util.keystr(path), jnp.shape(leaf), jnp.result_type(leaf))
    for path, leaf in jax.tree_util.tree_leaves_with_path(teacher.arrays)
  ]
  return teacher.show, teacher.head, leaves


def _stack(teachers) -> Any:
  """The first teacher's arrays with an axis of all."""
  structure = jax.tree.structure(teachers[0].arrays)
  leaves = [jax.tree.leaves(teacher.arrays) for teacher in teachers]
  return jax.tree.unflatten(
    structure, [jnp.stack(one) for one in zip(*leaves, strict=True)]
  )
