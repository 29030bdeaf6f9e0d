"""Asking a teacher for what a cache keeps of it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import UserError
from kdjax.core.factored import factored, first_classes, matrix_of
from kdjax.core.method import Outputs
from kdjax.core.task import Batch, Task
from kdjax.core.teacher import Teacher, check_answered, observe
from kdjax.data.teacher_cache.texts import keep


class BatchAnswers(NamedTuple):
  """What a teacher made of a batch.

  Attributes:
    outputs: answers (B, C), of texts arrays (B, T, ...) by field; and features.
    classes: C.
    matrix: of texts whose hidden states are kept, () -> (kernel, bias); else None.
  """

  outputs: Outputs
  classes: int
  matrix: Callable[[], tuple] | None


def asker(
  task: Task, features: Sequence[str], top_k: int | None
) -> Callable[[Teacher, Batch], BatchAnswers]:
  """Makes the function that asks a teacher about batches.

  Of texts, answers (B, T, C), what `keep` makes of them is kept; they are never
  made where they are a product.
  """

  def show(teacher, batch):
    outputs = teacher.show(teacher.arrays, batch, jnp.int32(0), features)
    return outputs.answers, outputs._replace(answers=None)

  @jax.jit
  def plain(teacher, batch):
    return observe(teacher, batch, features)

  @jax.jit
  def of_text(teacher, batch):
    answers, outputs = factored(show, 1)(teacher, batch)
    answers = first_classes(answers, task.width)
    return outputs._replace(answers=keep(answers, top_k))

  @jax.jit
  def matrix(teacher, batch):
    # What comes before the matrix is no part of this program.
    answers, _ = factored(show, 1)(teacher, batch)
    answers = first_classes(answers, task.width)
    return matrix_of(answers.kernel), answers.bias

  def answers_of(teacher, batch):
    shape = getattr(jax.eval_shape(plain, teacher, batch).answers, "shape", ())
    weights = task.weights(batch)
    in_rows = weights.rows is not weights.examples
    if len(shape) != 3 or task.kind != "categories" or not in_rows:
      outputs = jax.device_get(plain(teacher, batch))
      return BatchAnswers(outputs, (*shape[1:], 0)[len(shape[1:-1])], None)
    outputs = jax.device_get(of_text(teacher, batch))
    check_answered(teacher)
    head = partial(matrix, teacher, batch) if top_k is None else None
    return BatchAnswers(outputs, task.width or shape[-1], head)

  return answers_of


def rows_of(outputs: Outputs, rows: np.ndarray, size: int) -> Outputs:
  """Some rows of a batch's outputs, which are what a cache can hold."""
  answers = outputs.answers
  of_text = isinstance(answers, dict)
  if not of_text and (np.ndim(answers) not in (2, 4) or len(answers) != size):
    shapes = jax.tree.map(np.shape, answers)
    raise UserError(
      f"teacher: its answers to {size} examples have the shape {shapes}; a cache"
      " holds one row of numbers an example, (B, C), or one a pixel, (B, H, W, C)"
    )
  for tap, value in outputs.feats.items():
    if not isinstance(value, np.ndarray):
      raise UserError(
        f"features: tap {tap!r} is several arrays; name one of them"
      )
  feats = {tap: x[rows] for tap, x in outputs.feats.items()}
  return Outputs(jax.tree.map(lambda x: x[rows], answers), feats)
