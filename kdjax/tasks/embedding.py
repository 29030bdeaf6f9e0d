"""A vector for each example, whose direction counts."""

import functools

import jax
import jax.numpy as jnp

from kdjax.core.arguments import check_text, check_whole
from kdjax.core.entries import example_entries
from kdjax.core.errors import UserError
from kdjax.core.task import (
  Batch,
  Rows,
  Task,
  Weights,
  Words,
  batch_of,
  has_weight,
)
from kdjax.losses import cosine_distance
from kdjax.tasks.registry import register


@register("embedding")
def embedding(
  size: int = 1, *, inputs: str = "image", label: str = "label"
) -> Task:
  """A vector for each example, whose direction counts.

  A row is an example, and its answer D numbers. loss_b = 1 - cosine(answer_b,
  target_b), where a batch has targets, such as the vectors of a model that cannot
  be run here. An example whose target is missing, not finite or zero has none: it
  adds nothing to the hard loss and is not scored, but counts in the mean.

  Args:
    size: D, how many numbers.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the targets, (B, D) float; it may be missing.

  Returns:
    The task, scored by the mean cosine of the angle to the targets.

  Raises:
    UserError: for a size less than one, or an entry's name that is no text; when
      called, for targets of another shape.

  Example:
    >>> task = embedding(2)
    >>> targets = jnp.array([[2.0, 0.0], [0.0, 0.0]])
    >>> batch = task.batch({"image": jnp.zeros((2, 4)), "label": targets})
    >>> rows = task.rows(jnp.array([[3.0, 4.0], [1.0, 1.0]]), batch)
    >>> [round(float(number), 4) for number in task.metrics["cosine"](rows)]
    [0.6, 1.0]
  """
  size = check_whole("size", size)
  check_text("inputs", inputs)
  check_text("label", label)
  return _task(size, inputs, label)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(size: int, inputs: str, label: str) -> Task:
  def with_targets(batch: Batch) -> Batch:
    """Without targets, all are unknown."""
    if batch.targets is not None:
      return batch
    shape = (*batch.index.shape, size)
    return batch._replace(targets=jnp.full(shape, jnp.nan))

  def batch(item):
    numbers = example_entries(item)
    targets = item.get(label)
    if targets is not None and targets.shape[1:] != (size,):
      raise UserError(
        f"batch: entry {label!r} has the shape {targets.shape}; embedding({size})"
        f" reads vectors, (B, {size})"
      )
    return with_targets(batch_of({inputs: item[inputs]}, targets, **numbers))

  return Task(
    name="embedding",
    kind="embedding",
    batch=batch,
    sample=lambda inputs: with_targets(batch_of(inputs)),
    weights=lambda batch: Weights(batch.weight, batch.weight),
    rows=lambda answers, batch: Rows(answers, batch.targets, batch.weight),
    hard_loss=lambda rows: _distance(rows)[0],
    metrics={"cosine": cosine},
    score="cosine",
    words=Words("cosine", "", 1.0, 0.0, digits=4),
    width=size,
  )


def cosine(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """The sum of the cosines of the rows that have a target, and how many."""
  distance, has_target = _distance(rows)
  counts = has_weight(rows.weight) & has_target
  return ((1 - distance) * counts).sum(), counts.sum()


def _distance(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """(R,) 1 - cosine, 0 without a target; and which rows have one."""
  targets = rows.targets
  has_target = (jnp.isfinite(targets) & (targets != 0)).any(-1)
  has_target &= jnp.isfinite(targets).all(-1)
  # An answer without a target has no gradient.
  answers, targets = (
    jnp.where(has_target[:, None], x, 1.0) for x in (rows.answers, targets)
  )
  return cosine_distance(answers, targets), has_target
