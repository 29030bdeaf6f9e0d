"""Several yes/no questions for each example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole
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
from kdjax.tasks.classification import (
  correct,
  cross_entropy,
  negative_log_likelihood,
)
from kdjax.tasks.registry import register


@register("multilabel")
def multilabel(
  labels: int = 1, *, inputs: str = "image", label: str = "label"
) -> Task:
  """Several yes/no questions for each example: multi-label classification.

  A network answers one logit a label. A row is one label of one example, and its
  answer the scores of no and yes, (0, logit), whose softmax is the logit's
  sigmoid; losses of classes then are those of yes and no. A label of -1 is not
  known: it adds nothing to the hard loss and is not scored, but counts in the
  mean, and a teacher is heard.

  Args:
    labels: L, how many questions.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the answers, (B, L) bool, or int of 1, 0 and -1;
      it may be missing.

  Returns:
    The task, scored by the F1 of all rows (micro-averaged), yes being above a
    probability of 1/2.

  Raises:
    UserError: for less than one label, or an entry's name that is no text; when
      called, for answers or labels of another shape.

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
  return _task(labels, inputs, label)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(labels: int, inputs: str, label: str) -> Task:
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

  return Task(
    name="multilabel",
    kind="binary",
    batch=batch,
    sample=sample,
    weights=lambda batch: Weights(
      jnp.repeat(batch.weight, labels), batch.weight
    ),
    rows=functools.partial(rows, labels=labels),
    hard_loss=cross_entropy,
    metrics={
      "f1": f1,
      "accuracy": correct,
      "negative_log_likelihood": negative_log_likelihood,
    },
    score="f1",
    pool=pool,
    signature=functools.partial(
      signature_of, name="images", output="logits", what="Labels"
    ),
    words=Words("F1", "%", 100.0, 0.0),
  )


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
  return Rows(answers, batch.targets.reshape(-1).astype(jnp.int32), weight)


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
  has_target = has_weight(rows.weight) & (rows.targets >= 0)
  called, true = rows.answers[:, 1] > rows.answers[:, 0], rows.targets == 1
  count = (has_target & called).sum() + (has_target & true).sum()
  return 2 * (has_target & called & true).sum(), count


def _check_labels(entry, name: str, labels: int) -> None:
  whole = jnp.issubdtype(entry.dtype, jnp.integer) or entry.dtype == np.bool_
  if not whole or entry.shape[1:] != (labels,):
    raise UserError(
      f"batch: entry {name!r} has the shape {entry.shape} and the type"
      f" {entry.dtype}; multilabel({labels}) reads 1 for yes, 0 for no, and -1"
      f" for what is not known, (B, {labels}) whole numbers"
    )
