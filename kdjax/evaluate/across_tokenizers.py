"""How far a student is from a teacher that reads the same texts by other tokens."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.alignment import aligned_sides
from kdjax.core.method import Inputs, Outputs
from kdjax.core.task import Task, as_batch, has_weight
from kdjax.core.teacher import Teacher, observe
from kdjax.data import open_batches
from kdjax.evaluate.rows import rows_of
from kdjax.losses import aligned


def compare_across_tokenizers(
  network: Any,
  members: Callable[[], Iterable[Any]],
  teacher: Teacher,
  sequences: Mapping[str, np.ndarray],
  teacher_sequences: Mapping[str, np.ndarray],
  *,
  task: Task,
  shared_ids: tuple[Any, Any],
  batch_size: int,
) -> list[dict[str, float]]:
  """Compares students with their teacher over groups of tokens of equal bytes.

  Args:
    network: the students'.
    members: () -> the variables of each; called for every batch, so that one at a
      time needs to be there, and the teacher answers once for all.
    teacher: from `kdjax.train.aligned_teacher`.
    sequences: arrays (N, T) by name, the student's.
    teacher_sequences: arrays (N, ...) by name, what the teacher reads beside them,
      from `kdjax.data.text.put_beside`.
    task: the students', `kdjax.tasks.language_model(...)`.
    shared_ids: the tokens that both have.
    batch_size: sequences at a time.

  Returns:
    For each student "teacher_kl": the sum of KL(teacher || student) over the groups,
    divided by the student's tokens that count, in nats; "agreement": the share of
    groups in which both find the same class likeliest.

  Source:
    See `kdjax.losses.aligned.divergence`.
  """
  ask, program = _asker(task), _program(network, task)
  totals = [np.zeros(4) for _ in members()]
  for item, teacher_item in zip(
    open_batches(sequences, batch_size=batch_size),
    open_batches(teacher_sequences, batch_size=batch_size),
    strict=True,
  ):
    item["teacher_inputs"] = {
      name: teacher_item[name] for name in teacher_sequences
    }
    batch = as_batch(task, item)
    answered = ask(teacher, batch)
    for variables, own in zip(members(), totals, strict=True):
      own += np.array(program(shared_ids, variables, answered, batch), float)
  return [
    {
      "teacher_kl": divergence / max(tokens, 1),
      "agreement": same / max(groups, 1),
    }
    for divergence, tokens, same, groups in totals
  ]


@functools.lru_cache(maxsize=16)
def _asker(task: Task):
  return jax.jit(lambda teacher, batch: observe(teacher, batch, task=task))


# A program is compiled once for the network and its task.
@functools.lru_cache(maxsize=16)
def _program(network: Any, task: Task):
  @jax.jit
  def sums(shared_ids, variables, teacher, batch):
    rows = rows_of(network, variables, batch, task)
    counts = has_weight(rows.weight)
    inputs = Inputs(
      Outputs(rows.answers, {}), teacher, rows.targets, jnp.int32(0), counts
    )
    *sides, alignment = aligned_sides(inputs)
    divergence, same = (
      aligned.divergence(
        *sides, alignment, shared_ids=shared_ids, **measure
      ).sum()
      for measure in ({}, {"measure": _same_class})
    )
    slots = jnp.arange(alignment.group.shape[1])
    groups = (alignment.group == slots[None]).sum()
    return divergence, counts.sum(), same, groups

  return sums


def _same_class(student: jax.Array, teacher: jax.Array) -> jax.Array:
  same = student.argmax(-1) == teacher.argmax(-1)
  return same.astype(student.dtype)
