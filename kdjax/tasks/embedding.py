"""A vector for each example, whose direction counts."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole
from kdjax.core.entries import example_entries
from kdjax.core.errors import UserError
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
from kdjax.evaluate import measure_embeddings, measure_task
from kdjax.losses import cosine_distance
from kdjax.tasks.registry import register


@register("embedding")
def embedding(
  size: int = 1,
  *,
  inputs: str = "image",
  label: str = "label",
  mask: str = "mask",
) -> Task:
  """A vector for each example, whose direction counts.

  A row is an example, and its answer D numbers. loss_b = 1 - cosine(answer_b,
  target_b), where a batch has targets, such as the vectors of a model that cannot
  be run here. An example whose target is missing, not finite or zero has none: it
  adds nothing to the hard loss and is not scored, but counts in the mean.

  Methods that match the last features of both networks match the answers instead.
  Scored is the mean cosine to the targets; what a run says of networks also has how
  well they search: recall among the 1 and 10 nearest in the index of the targets'
  vectors, or of the teacher's where there are none (asymmetric), and in the
  network's own, of each one's nearest (symmetric); and the rank correlation of all
  pairs' cosines with the targets' or the teacher's. These are no sums over
  examples: `kdjax.evaluate.recall_at_k`, `kdjax.evaluate.spearman`.

  Args:
    size: D, how many numbers.
    inputs: the entry of an item that the network takes.
    label: the entry that holds the targets, (B, D) float; it may be missing.
    mask: the entry that says which tokens of a text count, (B, T), which the
      network is also handed; it may be missing.

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
  check_text("mask", mask)
  return _task(size, inputs, label, mask)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(size: int, inputs: str, label: str, mask: str) -> Task:
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
    arrays = {name: item[name] for name in (inputs, mask) if name in item}
    arrays |= {inputs: item[inputs]}
    return with_targets(batch_of(arrays, targets, **numbers))

  def tokens(batch):
    arrays = batch.inputs if isinstance(batch.inputs, Mapping) else {}
    return arrays[mask] != 0 if mask in arrays else None

  def rows(answers, batch):
    if jnp.shape(batch.targets)[1:] != (size,):
      raise UserError(
        f"embedding({size}) reads vectors (B, {size}), the batch's are"
        f" {jnp.shape(batch.targets)}"
      )
    return Rows(answers, batch.targets, batch.weight)

  def measured(outputs, targets, teacher_outputs):
    return measure_task(sums, outputs, targets) | _searches(
      outputs, targets, teacher_outputs
    )

  sums = Task(
    name="embedding",
    kind="embedding",
    batch=batch,
    sample=lambda inputs: with_targets(batch_of(inputs)),
    weights=lambda batch: Weights(batch.weight, batch.weight),
    rows=rows,
    hard_loss=lambda rows: _distance(rows)[0],
    metrics={"cosine": cosine},
    score="cosine",
    words=Words("cosine", "", 1.0, 0.0, digits=4, labels="targets"),
    width=size,
    tokens=tokens,
    signature=functools.partial(signature_of, output="embedding"),
  )
  return sums._replace(measure=measured)


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


def _searches(outputs, targets, teacher_outputs) -> dict:
  """How well networks search in the targets' index, or in the teacher's."""
  scores, is_known = {}, np.isfinite(targets).all(-1)
  if teacher_outputs is not None and teacher_outputs.shape == outputs.shape[1:]:
    scores["teacher_cosine"] = [
      float(1 - cosine_distance(one, teacher_outputs).mean()) for one in outputs
    ]
  reference = targets if is_known.any() else teacher_outputs
  if reference is None:
    return scores
  return scores | measure_embeddings(outputs, reference)
