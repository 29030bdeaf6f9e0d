"""A normal distribution of one number, or of several, for each example."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole
from kdjax.core.pooling import check_weights
from kdjax.core.task import Task, Words, has_weight
from kdjax.core.units import Units
from kdjax.evaluate import LEVELS, half_widths, measure_numbers, measure_task
from kdjax.losses import gaussian_nll
from kdjax.tasks.registry import register
from kdjax.tasks.regression import (
  in_units,
  mean_r2,
  metrics,
  read_units,
  reading,
)


@register("gaussian_regression")
def gaussian_regression(
  outputs: int = 1,
  *,
  inputs: str = "image",
  label: str = "label",
  target_mean: float | Sequence[float] = 0.0,
  target_scale: float | Sequence[float] = 1.0,
) -> Task:
  """A normal distribution of one number, or of several, for each example.

  A row is an example, and its answer C means and then C logs of variances:
  heteroscedastic regression, in which a network also says how far it may be off.
  loss_b = 1/C sum_c -log N(target_bc; mean_bc, variance_bc). Targets are read, and
  standardised, as `regression` does; told are means and standard deviations.

  Args:
    outputs: C, how many numbers; networks answer with 2 C.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the numbers, (B,) or (B, C) float; nan is not known,
      and the entry may be missing.
    target_mean: what is taken from the targets, in their unit; a number, or one an
      output. The launcher takes the mean of the training targets.
    target_scale: what they are divided by, > 0; likewise their standard deviation.

  Returns:
    The task, scored by the negative log-likelihood, nats of a density in the
    targets' unit.

  Raises:
    UserError: for less than one output, a scale <= 0, means or scales that are not
      one an output, or an entry's name that is no text.

  Example:
    >>> task = gaussian_regression()
    >>> batch = task.batch({"image": jnp.zeros((1, 4)), "label": jnp.array([1.0])})
    >>> rows = task.rows(jnp.zeros((1, 2)), batch)
    >>> [round(float(x), 4) for x in task.metrics["negative_log_likelihood"](rows)]
    [1.4189, 1.0]
  """
  outputs = check_whole("outputs", outputs)
  check_text("inputs", inputs)
  check_text("label", label)
  units = read_units(outputs, target_mean, target_scale, log_variances=True)
  return _task(outputs, inputs, label, units)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(outputs: int, inputs: str, label: str, units: Units) -> Task:
  def hard_loss(rows):
    return gaussian_nll(rows.answers, rows.targets, reduce="sum") / outputs

  def likelihood(rows):
    known = jnp.isfinite(rows.targets) & has_weight(rows.weight)[:, None]
    targets = jnp.where(known, rows.targets, jnp.nan)
    values = gaussian_nll(rows.answers, targets, reduce="sum")
    # Of a density in the targets' unit.
    widened = np.log(np.array([units.factor], np.float32))
    return values.sum() + (known * widened).sum(), known.sum()

  def covered(rows, *, half_width):
    means, log_variances = jnp.split(rows.answers, 2, axis=-1)
    known = jnp.isfinite(rows.targets) & has_weight(rows.weight)[:, None]
    distance = jnp.abs(rows.targets - means) * jnp.exp(-0.5 * log_variances)
    return (known & (distance <= half_width)).sum(), known.sum()

  def measured(answers, targets, teacher_answers):
    numbers = in_units(units, answers, targets, teacher_answers)
    scores = measure_numbers(*numbers, deviations=True)
    return measure_task(task, answers, targets) | scores

  task = Task(
    name="gaussian_regression",
    kind="gaussians",
    hard_loss=hard_loss,
    metrics={
      "negative_log_likelihood": likelihood,
      **metrics(units, lambda answers: answers[..., :outputs]),
      **{
        f"coverage_{level}": functools.partial(covered, half_width=half_width)
        for level, half_width in zip(LEVELS, half_widths(), strict=True)
      },
    },
    score="negative_log_likelihood",
    better=-1,
    finish={"rmse": np.sqrt, "r2": mean_r2},
    pool=pool,
    words=Words(
      "negative log-likelihood", "nats", 1.0, 0.0, digits=3, labels="targets"
    ),
    width=2 * outputs,
    units=units,
    **reading(outputs, inputs, label, units),
  )
  return task._replace(measure=measured)


def pool(answers: jax.Array, *, weights: Any = None) -> jax.Array:
  """Makes one normal distribution of several teachers': mean and variance of all.

  mean = sum_t w_t m_t,  variance = sum_t w_t (exp v_t + (m_t - mean)^2)

  Args:
    answers: (T, ..., 2 C) means and log variances.
    weights: (T,) w >= 0, normalised here; all alike by default.

  Returns:
    (..., 2 C) float32: teachers that contradict each other make it wider.

  Example:
    >>> both = pool(jnp.array([[[-1.0, 0.0]], [[1.0, 0.0]]]))
    >>> print(both.round(4))
    [[0.     0.6931]]
  """
  answers = jnp.asarray(answers, jnp.float32)
  shares = jnp.asarray(check_weights(weights, len(answers)), jnp.float32)
  shares = shares.reshape(-1, *[1] * (answers.ndim - 1))
  means, log_variances = jnp.split(answers, 2, axis=-1)
  mean = jnp.sum(shares * means, axis=0)
  logs = jax.nn.logsumexp(log_variances, axis=0, b=shares)
  apart = jnp.sum(shares * jnp.square(means - mean[None]), axis=0)
  # log(0) where all agree would have no gradient; nobody has a smaller variance.
  log_apart = jnp.log(jnp.maximum(apart, math.exp(-60)))
  return jnp.concatenate([mean, jnp.logaddexp(logs, log_apart)], axis=-1)
