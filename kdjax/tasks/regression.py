"""One number, or several, for each example."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

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
from kdjax.core.units import Units
from kdjax.evaluate import measure_numbers, measure_task
from kdjax.tasks.registry import register


@register("regression")
def regression(
  outputs: int = 1,
  *,
  inputs: str = "image",
  label: str = "label",
  huber: float | None = None,
  target_mean: float | Sequence[float] = 0.0,
  target_scale: float | Sequence[float] = 1.0,
) -> Task:
  """One number, or several, for each example.

  A row is an example, and its answer C numbers. loss_b = 1/C sum_c (answer_bc -
  target_bc)^2, or Huber's. A target that is not finite is not known: it adds
  nothing to the hard loss and is not scored, but counts in the mean, and a teacher
  is heard.

  With `target_mean` and `target_scale` the network answers with numbers that have
  mean 0 and deviation 1 where the targets have these: losses see (target - mean) /
  scale, so that no rate depends on the targets' unit, and `task.units.told` makes of
  answers numbers in that unit. Scores are in it.

  Args:
    outputs: C, how many numbers.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the numbers, (B,) or (B, C) float; it may be
      missing.
    huber: where the squared error becomes linear, > 0, in target_scale, as
      `optax.losses.huber_loss` has it; None for the squared error alone.
    target_mean: what is taken from the targets, in their unit; a number, or one an
      output. The launcher takes the mean of the training targets.
    target_scale: what they are divided by, > 0; likewise their standard deviation.

  Returns:
    The task, scored by the root of the mean squared error.

  Raises:
    UserError: for less than one output, a Huber threshold or a scale <= 0, means or
      scales that are not one an output, or an entry's name that is no text.

  Example:
    >>> task = regression(target_mean=5, target_scale=2)
    >>> batch = task.batch({"image": jnp.zeros((2, 4)), "label": jnp.array([1.0, 3.0])})
    >>> rows = task.rows(jnp.zeros((2, 1)), batch)
    >>> print(rows.targets[:, 0], [float(x) for x in task.metrics["rmse"](rows)])
    [-2. -1.] [20.0, 2.0]
  """
  outputs = check_whole("outputs", outputs)
  check_text("inputs", inputs)
  check_text("label", label)
  number = isinstance(huber, int | float | np.number)
  if huber is not None and not (number and 0 < huber < float("inf")):
    raise misfit("huber", "a number > 0, or None", huber)
  units = read_units(outputs, target_mean, target_scale)
  return _task(outputs, inputs, label, huber, units)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(
  outputs: int, inputs: str, label: str, huber: float | None, units: Units
) -> Task:
  def error(rows):
    return _mean_error(
      rows,
      lambda difference: (
        difference**2
        if huber is None
        else optax.losses.huber_loss(difference, delta=huber)
      ),
    )

  def measured(answers, targets, teacher_answers):
    numbers = in_units(units, answers, targets, teacher_answers)
    return measure_task(task, answers, targets) | measure_numbers(*numbers)

  task = Task(
    name="regression",
    kind="values",
    hard_loss=error,
    metrics=metrics(units),
    score="rmse",
    better=-1,
    finish={"rmse": np.sqrt, "r2": mean_r2},
    words=Words(
      "root mean squared error", "", 1.0, 0.0, digits=3, labels="targets"
    ),
    width=outputs,
    units=units,
    **reading(outputs, inputs, label, units),
  )
  return task._replace(measure=measured)


def read_units(outputs: int, mean: Any, scale: Any, **settings) -> Units:
  """Checks what targets are standardised by."""
  says = f"{{}}, or {outputs} of them, one an output"
  values = []
  for name, given, positive in (
    ("target_mean", mean, False),
    ("target_scale", scale, True),
  ):
    kind = "a number > 0" if positive else "a number"
    try:
      numbers = np.asarray(given).astype(float, casting="same_kind")
      numbers = np.broadcast_to(numbers, (outputs,))
    except (TypeError, ValueError):
      raise misfit(name, says.format(kind), given) from None
    if not np.isfinite(numbers).all() or positive and not (numbers > 0).all():
      raise misfit(name, says.format(kind), given)
    values.append(tuple(numbers.tolist()))
  return Units(*values, **settings)


def reading(outputs: int, inputs: str, label: str, units: Units) -> dict:
  """The fields of a task that say how its batches are read.

  Args:
    outputs: how many targets an example has.
  """

  def batch(item):
    numbers = example_entries(item)
    read = batch_of({inputs: item[inputs]}, item.get(label), **numbers)
    return _with_targets(read, outputs)

  return {
    "batch": batch,
    "sample": lambda inputs: _with_targets(batch_of(inputs), outputs),
    "weights": lambda batch: Weights(batch.weight, batch.weight),
    "rows": functools.partial(_rows, outputs=outputs, units=units),
  }


def in_units(
  units: Units, answers: Any, targets: Any, teacher_answers: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
  """Answers, targets (N, C) and a teacher's answers in the targets' unit."""
  shape = (len(targets), len(units.offset))
  told = np.asarray(units.told(answers))
  teacher = teacher_answers
  if teacher is not None:
    teacher = np.asarray(units.told(teacher))
  return told, np.reshape(targets, shape), teacher


def metrics(units: Units, means: Callable = lambda answers: answers) -> dict:
  """The sums over rows that numbers are scored by, in the targets' unit.

  Args:
    means: of a row's answers the numbers, as many as the units.
  """
  factor = np.array([units.factor], np.float32)

  def in_unit(rows):
    return rows._replace(answers=means(rows.answers))

  return {
    "rmse": lambda rows: _total(
      in_unit(rows), lambda difference: jnp.square(factor * difference)
    ),
    "mae": lambda rows: _total(
      in_unit(rows), lambda difference: jnp.abs(factor * difference)
    ),
    "r2": lambda rows: _moments(in_unit(rows)),
  }


def mean_r2(mean: Any) -> Any:
  """The mean of the outputs' R2, of what `_moments` gives.

  Example:
    >>> float(mean_r2(np.array([1.0, 5.0, 1.0])))
    0.75
  """
  error, square, first = np.split(np.asarray(mean), 3, axis=-1)
  variance = square - first**2
  r2 = np.full_like(error, np.nan)
  np.divide(error, variance, out=r2, where=variance > 0)
  return (1 - r2).mean(axis=-1)


def _moments(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """(3 C,) sums of squared errors, of squared targets and of targets; counts."""
  targets, known = _targets(rows)
  known &= has_weight(rows.weight)[:, None]
  difference = rows.answers.astype(jnp.float32) - targets
  values = jnp.concatenate(
    [jnp.square(difference), jnp.square(targets), targets], axis=-1
  )
  counts = jnp.tile(known, 3)
  return jnp.where(counts, values, 0.0).sum(0), counts.sum(0)


def _with_targets(batch: Batch, outputs: int) -> Batch:
  """Without targets, all are unknown."""
  if batch.targets is not None:
    return batch
  shape = (*batch.index.shape, outputs)
  return batch._replace(targets=jnp.full(shape, jnp.nan))


def _rows(answers, batch: Batch, *, outputs: int, units: Units) -> Rows:
  """A row is an example."""
  targets = jnp.reshape(batch.targets, (len(batch.index), -1))
  if targets.shape[1:] != (outputs,):
    raise UserError(
      f"batch: regression({outputs}) reads targets of the shape"
      f" ({len(targets)}, {outputs}), the batch's are {batch.targets.shape}"
    )
  mean, scale = (np.array([x], np.float32) for x in units[:2])
  return Rows(answers, (targets - mean) / scale, batch.weight)


def _targets(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """(R, C) the targets, and which are known; the others are finite too."""
  targets = rows.targets.astype(jnp.float32)
  known = jnp.isfinite(targets)
  return jnp.where(known, targets, 0.0), known


def _errors(rows: Rows, of_difference) -> tuple[jax.Array, jax.Array]:
  """(R, C) an error of the differences, 0 if unknown; and which are known."""
  targets, known = _targets(rows)
  difference = rows.answers.astype(jnp.float32) - targets
  # An answer without a target has no gradient.
  return of_difference(jnp.where(known, difference, 0.0)), known


def _mean_error(rows: Rows, of_difference) -> jax.Array:
  """(R,) the mean over the outputs."""
  return _errors(rows, of_difference)[0].mean(axis=-1)


def _total(rows: Rows, of_difference) -> tuple[jax.Array, jax.Array]:
  errors, known = _errors(rows, of_difference)
  known &= has_weight(rows.weight)[:, None]
  return (errors * known).sum(), known.sum()
