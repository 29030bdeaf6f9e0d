"""One number, or several, for each example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.arguments import check_text, check_whole, misfit
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
from kdjax.tasks.registry import register


@register("regression")
def regression(
  outputs: int = 1,
  *,
  inputs: str = "image",
  label: str = "label",
  huber: float | None = None,
) -> Task:
  """One number, or several, for each example.

  A row is an example, and its answer C numbers. loss_b = mean_c (answer_bc -
  target_bc)^2, or Huber's. An example with a target that is not finite has none:
  it adds nothing to the hard loss and is not scored, but counts in the mean.

  Args:
    outputs: C, how many numbers.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the numbers, (B,) or (B, C) float; it may be
      missing.
    huber: where the squared error becomes linear, > 0, in the targets' unit, as
      `optax.losses.huber_loss` has it; None for the squared error alone.

  Returns:
    The task, scored by the root of the mean squared error.

  Raises:
    UserError: for less than one output, a Huber threshold <= 0, or an entry's
      name that is no text.

  Example:
    >>> task = regression()
    >>> batch = task.batch({"image": jnp.zeros((2, 4)), "label": jnp.array([1.0, 3.0])})
    >>> rows = task.rows(jnp.zeros((2, 1)), batch)
    >>> [float(number) for number in task.metrics["rmse"](rows)]
    [10.0, 2.0]
  """
  outputs = check_whole("outputs", outputs)
  check_text("inputs", inputs)
  check_text("label", label)
  number = isinstance(huber, int | float | np.number)
  if huber is not None and not (number and 0 < huber < float("inf")):
    raise misfit("huber", "a number > 0, or None", huber)
  return _task(outputs, inputs, label, huber)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(outputs: int, inputs: str, label: str, huber: float | None) -> Task:
  def batch(item):
    numbers = example_entries(item)
    return batch_of({inputs: item[inputs]}, item.get(label), **numbers)

  def rows(answers, batch):
    return _rows(answers, batch, outputs)

  def error(rows):
    return _mean_error(
      rows,
      lambda difference: (
        difference**2
        if huber is None
        else optax.losses.huber_loss(difference, delta=huber)
      ),
    )

  return Task(
    name="regression",
    kind="values",
    batch=lambda item: _with_targets(batch(item), outputs),
    sample=lambda inputs: _with_targets(batch_of(inputs), outputs),
    weights=lambda batch: Weights(batch.weight, batch.weight),
    rows=rows,
    hard_loss=error,
    metrics={"rmse": squared, "mae": absolute},
    score="rmse",
    better=-1,
    finish={"rmse": np.sqrt},
    words=Words("root mean squared error", "", 1.0, 0.0, digits=3),
    width=outputs,
  )


def squared(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """The sum of the squared errors of the rows that have a target, and how many."""
  return _total(rows, jnp.square)


def absolute(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """The sum of the absolute errors of the rows that have a target, and how many."""
  return _total(rows, jnp.abs)


def _with_targets(batch: Batch, outputs: int) -> Batch:
  """Without targets, all are unknown."""
  if batch.targets is not None:
    return batch
  shape = (*batch.index.shape, outputs)
  return batch._replace(targets=jnp.full(shape, jnp.nan))


def _rows(answers, batch: Batch, outputs: int) -> Rows:
  """A row is an example."""
  targets = jnp.reshape(batch.targets, (len(batch.index), -1))
  if targets.shape[1:] != (outputs,):
    raise UserError(
      f"batch: regression({outputs}) reads targets of the shape"
      f" ({len(targets)}, {outputs}), the batch's are {batch.targets.shape}"
    )
  return Rows(answers, targets, batch.weight)


def _targets(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """The targets, (R, C), and which rows have one; the others' are finite too."""
  # Partners' targets of mixed inputs are as they are stored, (R,) for one output.
  targets = jnp.reshape(rows.targets, rows.answers.shape)
  has_target = jnp.isfinite(targets).all(axis=-1)
  return jnp.where(has_target[:, None], targets, 0.0), has_target


def _mean_error(rows: Rows, of_difference) -> jax.Array:
  """(R,) an error of the differences, averaged over the outputs; 0 if unknown."""
  targets, has_target = _targets(rows)
  difference = rows.answers.astype(jnp.float32) - targets.astype(jnp.float32)
  # An answer without a target has no gradient.
  difference = jnp.where(has_target[:, None], difference, 0.0)
  return of_difference(difference).mean(axis=-1)


def _total(rows: Rows, of_difference) -> tuple[jax.Array, jax.Array]:
  counts = has_weight(rows.weight) & _targets(rows)[1]
  return (_mean_error(rows, of_difference) * counts).sum(), counts.sum()
