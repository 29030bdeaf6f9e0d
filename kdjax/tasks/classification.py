"""One of several classes for each example."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.arguments import check_text, check_whole, misfit
from kdjax.core.class_weights import (
  check_numbers,
  read_class_weights,
  weights_of_rows,
)
from kdjax.core.entries import example_entries
from kdjax.core.errors import UserError
from kdjax.core.pooling import pool_logits
from kdjax.core.signature import Signature, signature_of
from kdjax.core.task import Batch, Rows, Task, Weights, batch_of, has_weight
from kdjax.evaluate import measure
from kdjax.losses.helpers import class_ids
from kdjax.tasks.registry import register


@register("classification")
def classification(
  classes: int,
  *,
  inputs: str = "image",
  label: str = "label",
  class_weights: Sequence[float] | str | None = None,
) -> Task:
  """One of several classes for each example.

  A row is an example, and its answer one logit a class. A label of -1, or any
  that is no class, is an example without one: it adds nothing to the hard loss
  and is not scored, but counts in the mean, so that a loss stays a plain sum over
  examples.

  Args:
    classes: how many there are.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the class, (B,) int; it may be missing.
    class_weights: what the hard loss of each class's examples is multiplied by, C
      numbers > 0; or "balanced", n / (C n_c) of a training set, as
      `kdjax.data.balanced_class_weights` makes them; None for 1. The sum is divided
      by the count all the same, not by the weights' sum.

  Returns:
    The task, scored by accuracy.

  Raises:
    UserError: for fewer than two classes, an entry's name that is no text, or
      weights that are not > 0 and one a class.

  Example:
    >>> task = classification(3)
    >>> batch = task.batch({"image": jnp.zeros((2, 4)), "label": jnp.array([1, 0])})
    >>> rows = task.rows(jnp.eye(3)[:2], batch)
    >>> [int(number) for number in task.metrics["accuracy"](rows)]
    [0, 2]
  """
  if classes == 1:
    raise misfit(
      "classes",
      "a whole number >= 2 (one logit of yes and no is the task multilabel(1))",
      classes,
    )
  classes = check_whole("classes", classes, least=2)
  check_text("inputs", inputs)
  check_text("label", label)
  class_weights = read_class_weights(class_weights, classes)
  return _task(classes, inputs, label, class_weights)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(classes: int, inputs: str, label: str, class_weights: Any) -> Task:
  def batch(item):
    numbers = example_entries(item)
    arrays = {inputs: item[inputs]}
    if label not in item:
      return sample(arrays)._replace(**numbers)
    _check_labels(item[label], label)
    return batch_of(arrays, item[label], **numbers)

  return Task(
    name="classification",
    kind="categories",
    batch=batch,
    sample=sample,
    weights=weights,
    rows=rows,
    hard_loss=weighted_cross_entropy(class_weights),
    metrics={
      "accuracy": correct,
      "negative_log_likelihood": negative_log_likelihood,
    },
    score="accuracy",
    measure=measure,
    pool=pool_logits,
    split=np.asarray,
    signature=signature,
    samples=ambiguous,
    width=classes,
    class_weights=class_weights,
  )


def _check_labels(labels, name: str) -> None:
  if labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer):
    return
  raise UserError(
    f"batch: entry {name!r} has the shape {labels.shape} and the type"
    f" {labels.dtype}; the task classification reads one whole number an"
    " example, its class"
  )


def sample(inputs) -> Batch:
  """Inputs without labels."""
  batch = batch_of(inputs)
  return batch._replace(targets=jnp.full_like(batch.index, -1))


def weights(batch: Batch) -> Weights:
  """A row is an example."""
  return Weights(batch.weight, batch.weight)


def signature(inputs, width: int) -> Signature:
  """One logit a class."""
  return signature_of(
    inputs, width, name="images", output="logits", what="Classes"
  )


def rows(outputs: jax.Array, batch: Batch) -> Rows:
  """A row is an example, and its logits are its answer."""
  return Rows(outputs, batch.targets, batch.weight)


def cross_entropy(rows: Rows) -> jax.Array:
  """Cross-entropy with the label, nats; 0 for a row without one, or masked.

  Args:
    rows: logits and labels.
  """
  logits = rows.answers.astype(jnp.float32)
  labels = class_ids(rows.targets, logits.shape[-1])
  label_logits = jnp.take_along_axis(
    logits, jnp.maximum(labels, 0)[:, None], axis=-1
  )
  has_label = (labels >= 0) & (label_logits[:, 0] > -jnp.inf)
  # Rows that do not count stay finite, so that their gradient is 0.
  values = optax.losses.softmax_cross_entropy_with_integer_labels(
    jnp.where(has_label[:, None], logits, 0.0), jnp.maximum(labels, 0)
  )
  return jnp.where(has_label, values, 0.0)


def weighted_cross_entropy(
  class_weights: Any,
) -> Callable[[Rows], jax.Array]:
  """Makes the cross-entropy whose classes count differently.

  Args:
    class_weights: as `classification` has read them.
  """
  if class_weights is None:
    return cross_entropy

  def loss(rows):
    check_numbers(class_weights)
    values = cross_entropy(rows)
    labels = class_ids(rows.targets, rows.answers.shape[-1])
    return values * weights_of_rows(class_weights, labels, values.dtype)

  return loss


def correct(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """How many of the labelled rows name their class, and how many there are."""
  right = rows.answers.argmax(-1) == rows.targets
  has_label = _scored(rows)
  return (right & has_label).sum(), has_label.sum()


def negative_log_likelihood(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """The labelled rows' cross-entropy, and how many there are."""
  has_label = _scored(rows)
  return (cross_entropy(rows) * has_label).sum(), has_label.sum()


def _scored(rows: Rows) -> jax.Array:
  labels = class_ids(rows.targets, rows.answers.shape[-1])
  return has_weight(rows.weight) & (labels >= 0)


def ambiguous(logits: np.ndarray, labels: np.ndarray) -> list[int]:
  """Examples that a network gets right and finds most ambiguous.

  One of a class, the eight most ambiguous of these.
  """
  margin = np.diff(np.sort(logits, axis=-1)[:, -2:], axis=-1)[:, 0]
  margin = np.where(np.argmax(logits, axis=-1) == labels, margin, np.inf)
  of_class = [
    np.flatnonzero(labels == label)[np.argmin(margin[labels == label])]
    for label in np.unique(labels)
  ]
  return sorted(of_class, key=lambda i: margin[i])[:8]
