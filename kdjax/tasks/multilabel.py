"""Several yes/no questions for each example."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole, misfit
from kdjax.core.entries import example_entries
from kdjax.core.errors import UserError
from kdjax.core.pooling import pool_logits
from kdjax.core.signature import signature_of
from kdjax.core.task import (
  Batch,
  Rows,
  Task,
  Weights,
  Words,
  batch_of,
  has_weight,
)
from kdjax.evaluate import average_precision, measure_labels, measure_task
from kdjax.tasks.classification import (
  correct,
  cross_entropy,
  negative_log_likelihood,
)
from kdjax.tasks.registry import register
from kdjax.tasks.segmentation import mean_of_classes


@register("multilabel")
def multilabel(
  labels: int = 1,
  *,
  inputs: str = "image",
  label: str = "label",
  positive_weight: float | Sequence[float] | None = None,
) -> Task:
  """Several yes/no questions for each example: multi-label classification.

  A network answers one logit a label. A row is one label of one example, and its
  answer the scores of no and yes, (0, logit), whose softmax is the logit's
  sigmoid; losses of classes then are those of yes and no. A label of -1 is not
  known: it adds nothing to the hard loss and is not scored, but counts in the
  mean, and a teacher is heard.

  Yes is called above a probability of 1/2. "f1" is that of all rows
  (micro-averaged), "macro_f1" the mean of the labels' own, "accuracy" the share of
  right answers, "subset_accuracy" the share of examples whose known labels are all
  right, "mean_average_precision" (mAP) the mean of the labels' average precisions over
  a whole set. What a run says of networks has a table of the labels too.

  Args:
    labels: L, how many questions.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the answers, (B, L) bool, int of 1, 0 and -1, or
      float of these and nan, as good as -1; it may be missing.
    positive_weight: what the hard loss of a yes is multiplied by, > 0, where few
      examples have a label; a number, or one a label. None for 1.

  Returns:
    The task, scored by the F1 of all rows.

  Raises:
    UserError: for less than one label, an entry's name that is no text, or weights
      that are not > 0 or not one a label; when called, for answers or labels of
      another shape.

  Example:
    >>> task = multilabel(2)
    >>> right = jnp.array([[1, 0], [1, -1]])
    >>> batch = task.batch({"image": jnp.zeros((2, 4)), "label": right})
    >>> rows = task.rows(jnp.array([[3.0, 3.0], [-3.0, 3.0]]), batch)
    >>> [int(number) for number in task.metrics["f1"](rows)]
    [2, 4]
  """
  labels = check_whole("labels", labels)
  check_text("inputs", inputs)
  check_text("label", label)
  return _task(labels, inputs, label, _weights(positive_weight, labels))


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(
  labels: int, inputs: str, label: str, positive_weights: tuple[float, ...]
) -> Task:
  def sample(arrays):
    batch = batch_of(arrays)
    unknown = jnp.full((len(batch.index), labels), -1, jnp.int32)
    return batch._replace(targets=unknown)

  def batch(item):
    numbers = example_entries(item)
    arrays = {inputs: item[inputs]}
    if label not in item:
      return sample(arrays)._replace(**numbers)
    _check_labels(item[label], label, labels)
    return batch_of(arrays, item[label], **numbers)

  def hard_loss(rows):
    values = cross_entropy(rows)
    if set(positive_weights) == {1.0}:
      return values
    weights = jnp.asarray(positive_weights, values.dtype)
    weights = jnp.tile(weights, len(values) // labels)
    return jnp.where(rows.targets == 1, weights * values, values)

  def measured(outputs, targets, teacher_outputs):
    return measure_task(sums, outputs, targets) | measure_labels(
      outputs, targets, teacher_outputs
    )

  sums = Task(
    name="multilabel",
    kind="binary",
    batch=batch,
    sample=sample,
    weights=lambda batch: Weights(
      jnp.repeat(batch.weight, labels), batch.weight
    ),
    rows=functools.partial(rows, labels=labels),
    hard_loss=hard_loss,
    metrics={
      "f1": f1,
      "macro_f1": functools.partial(f1_by_label, labels=labels),
      "subset_accuracy": functools.partial(whole_examples, labels=labels),
      "accuracy": correct,
      "negative_log_likelihood": negative_log_likelihood,
    },
    score="f1",
    finish={"macro_f1": mean_of_classes},
    pool=pool,
    signature=functools.partial(
      signature_of, name="images", output="logits", what="Labels"
    ),
    words=Words("F1", "%", 100.0, 0.0),
    of_sets={
      "mean_average_precision": functools.partial(
        mean_average_precision, labels=labels
      )
    },
  )
  return sums._replace(measure=measured)


def rows(logits: jax.Array, batch: Batch, *, labels: int) -> Rows:
  """A row is one label of one example.

  Args:
    logits: (B, L).
  """
  if jnp.ndim(logits) != 2 or logits.shape[1] != labels:
    raise UserError(
      f"multilabel({labels}) reads one logit a label, (B, {labels}); the"
      f" network's answers are {jnp.shape(logits)}"
    )
  if "share" in batch.extra:
    raise UserError(
      "multilabel: inputs that are mixed with others have no labels of their"
      " own; leave mixing out"
    )
  weight = jnp.repeat(batch.weight, labels)
  answers = no_and_yes(logits).reshape(-1, 2)
  targets = jnp.asarray(batch.targets, jnp.float32).reshape(-1)
  # Neither below 0 nor nan.
  targets = jnp.where(targets >= 0, targets, -1).astype(jnp.int32)
  return Rows(answers, targets, weight)


def no_and_yes(logits: jax.Array) -> jax.Array:
  """(..., L) logits as the (..., L, 2) scores of two classes."""
  return jnp.stack([jnp.zeros_like(logits), logits], axis=-1)


def pool(logits: jax.Array, **settings) -> jax.Array:
  """Makes one answer of several teachers', question by question.

  Args:
    logits: (T, ..., L).
    **settings: of `kdjax.core.pooling.pool_logits`.

  Returns:
    (..., L) logits.
  """
  pooled = pool_logits(no_and_yes(logits), **settings)
  return pooled[..., 1] - pooled[..., 0]


def f1(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """Twice the true positives, and all that are, or are called, positive."""
  both, count = f1_by_label(rows, labels=1)
  return both.sum(), count.sum()


def f1_by_label(rows: Rows, *, labels: int) -> tuple[jax.Array, jax.Array]:
  """(L,) the same, label by label."""
  has_target = has_weight(rows.weight) & (rows.targets >= 0)
  called = has_target & (rows.answers[:, 1] > rows.answers[:, 0])
  true = has_target & (rows.targets == 1)
  called, true = (x.reshape(-1, labels) for x in (called, true))
  return 2 * (called & true).sum(0), called.sum(0) + true.sum(0)


def mean_average_precision(rows: Rows, *, labels: int) -> float:
  """The mean of the labels' average precisions, of those that have a yes."""
  logits = rows.answers[:, 1] - rows.answers[:, 0]
  targets = np.where(has_weight(rows.weight), rows.targets, -1)
  logits, targets = (x.reshape(-1, labels) for x in (logits, targets))
  return mean_of_classes(average_precision(logits, targets))


def whole_examples(rows: Rows, *, labels: int) -> tuple[jax.Array, jax.Array]:
  """How many examples have all their known labels right, of those with any."""
  has_target = has_weight(rows.weight) & (rows.targets >= 0)
  right = rows.answers.argmax(-1) == rows.targets
  has_target, right = (x.reshape(-1, labels) for x in (has_target, right))
  some = has_target.any(-1)
  return (some & (right | ~has_target).all(-1)).sum(), some.sum()


def _weights(given: Any, labels: int) -> tuple[float, ...]:
  """Reads the weights of yes, one a label."""
  says = f"a number > 0, or {labels} of them, one a label, or None"
  try:
    weights = np.asarray(1.0 if given is None else given)
    weights = weights.astype(float, casting="same_kind")
    weights = np.broadcast_to(weights, (labels,))
  except (TypeError, ValueError):
    raise misfit("positive_weight", says, given) from None
  if not (np.isfinite(weights) & (weights > 0)).all():
    raise misfit("positive_weight", says, given)
  return tuple(weights.tolist())


def _check_labels(entry, name: str, labels: int) -> None:
  is_read = entry.dtype == np.bool_ or any(
    jnp.issubdtype(entry.dtype, kind) for kind in (jnp.integer, jnp.floating)
  )
  if not is_read or entry.shape[1:] != (labels,):
    raise UserError(
      f"batch: entry {name!r} has the shape {entry.shape} and the type"
      f" {entry.dtype}; multilabel({labels}) reads 1 for yes, 0 for no, and -1"
      f" or nan for what is not known, (B, {labels})"
    )
  if isinstance(entry, np.ndarray) and entry.dtype != np.bool_:
    wrong = ~(np.isin(entry, (1, 0, -1)) | np.isnan(entry))
    if wrong.any():
      raise UserError(
        f"batch: entry {name!r} holds {entry[wrong][0]}; multilabel({labels})"
        " reads 1 for yes, 0 for no, and -1 or nan for what is not known"
      )
