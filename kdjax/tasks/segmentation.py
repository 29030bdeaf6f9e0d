"""One of several classes for each pixel."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import check_text, check_whole
from kdjax.core.class_weights import read_class_weights
from kdjax.core.entries import example_entries
from kdjax.core.errors import UserError
from kdjax.core.kept import Kept
from kdjax.core.pooling import pool_logits
from kdjax.core.signature import Signature, signature_of
from kdjax.core.task import (
  Batch,
  Rows,
  Task,
  Weights,
  Words,
  batch_of,
  has_weight,
)
from kdjax.evaluate.pixels import class_overlap, mean_iou, measure_pixels
from kdjax.losses.helpers import class_ids
from kdjax.tasks.classification import (
  correct,
  negative_log_likelihood,
  weighted_cross_entropy,
)
from kdjax.tasks.registry import register


@register("segmentation")
def segmentation(
  classes: int,
  ignore: int = 255,
  *,
  inputs: str = "image",
  label: str = "label",
  class_weights: Sequence[float] | str | None = None,
) -> Task:
  """One of several classes for each pixel: semantic segmentation.

  A network answers (B, h, w, C) logits, which are resized bilinearly to the
  labels' height and width where they differ. A row is a pixel. One whose label is
  `ignore` does not count: it reaches no loss, the teacher's neither. A label of
  -1 is not known, and the teacher alone is heard.

  Args:
    classes: C, how many there are.
    ignore: the label of pixels that do not count.
    inputs: the entry of an item that the network takes, (B, H, W, ...).
    label: the entry that holds the classes, (B, H, W) int; it may be missing, and
      all pixels of the inputs then are not known.
    class_weights: what the hard loss of each class's pixels is multiplied by, C
      numbers > 0; or "balanced", n / (C n_c) of a training set, as
      `kdjax.data.balanced_class_weights` makes them; None for 1. The sum is divided
      by the count all the same, not by the weights' sum.

  Returns:
    The task, scored by the mean over the classes of intersection over union
    (mean IoU), counted over all examples; classes that neither occur nor are
    answered are left out.

  Raises:
    UserError: for fewer than two classes, a label to ignore that is one of them,
      or an entry's name that is no text; when called, for answers or labels of
      another shape.

  Example:
    >>> task = segmentation(2)
    >>> right = jnp.array([[[0, 1, 255]]])
    >>> batch = task.batch({"image": jnp.zeros((1, 1, 3, 1)), "label": right})
    >>> rows = task.rows(jnp.eye(2)[None, None, jnp.array([0, 0, 1])], batch)
    >>> [numbers.tolist() for numbers in task.metrics["mean_iou"](rows)]
    [[1, 0], [2, 1]]
  """
  classes = check_whole("classes", classes, least=2)
  check_text("inputs", inputs)
  check_text("label", label)
  if not isinstance(ignore, int) or 0 <= ignore < classes:
    raise UserError(
      f"ignore= takes a whole number that is none of the {classes} classes, 0 to"
      f" {classes - 1}; got {ignore!r}"
    )
  class_weights = read_class_weights(class_weights, classes)
  return _task(classes, ignore, inputs, label, class_weights)


# The same settings give the same task: programs are compiled once for it.
@functools.cache
def _task(
  classes: int, ignore: int, inputs: str, label: str, class_weights: Any
) -> Task:
  def batch(item):
    numbers = example_entries(item)
    arrays = {inputs: item[inputs]}
    if label not in item:
      return sample(arrays)._replace(**numbers)
    _check_labels(item[label], label)
    return batch_of(arrays, item[label], **numbers)

  def weights(batch):
    targets = jnp.asarray(batch.targets, jnp.int32)
    counts = batch.weight[:, None, None] * (targets != ignore)
    return Weights(counts.reshape(-1), batch.weight)

  def rows(logits, batch):
    size = batch.targets.shape
    logits = resized(logits, size, classes).reshape(-1, classes)
    # Stored in 16 bits, they are told apart in 32.
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    weight = weights(batch).rows
    # Whatever stands where nothing counts, nan too, has no part in a gradient.
    logits = jnp.where((weight != 0)[:, None], logits, 0)
    labels = class_ids(batch.targets.reshape(-1), classes)
    return Rows(logits, labels, weight)

  def likeliest(logits, inputs):
    size = jax.tree.leaves(inputs)[0].shape[:3]
    ids = resized(logits, size, classes).argmax(-1)
    return ids.astype(jnp.uint8 if classes <= 256 else jnp.int32)

  def score(called, targets):
    return mean_iou(class_overlap(called, targets, classes))

  return Task(
    name="segmentation",
    kind="categories",
    batch=batch,
    sample=sample,
    weights=weights,
    rows=rows,
    hard_loss=weighted_cross_entropy(class_weights),
    metrics={
      "mean_iou": overlaps,
      "accuracy": correct,
      "negative_log_likelihood": negative_log_likelihood,
    },
    score="mean_iou",
    finish={"mean_iou": mean_of_classes},
    measure=functools.partial(measure_pixels, classes=classes),
    pool=pool_logits,
    signature=signature,
    words=Words("mean IoU", "%", 100.0, 0.0),
    samples=functools.partial(plain_and_hard, classes),
    width=classes,
    class_weights=class_weights,
    border_target=ignore,
    kept=Kept(likeliest, score),
  )


def sample(inputs: Any) -> Batch:
  """Inputs of whose pixels nothing is known."""
  batch = batch_of(inputs)
  size = jax.tree.leaves(inputs)[0].shape[:3]
  return batch._replace(targets=jnp.full(size, -1, jnp.int32))


def overlaps(rows: Rows) -> tuple[jax.Array, jax.Array]:
  """(C,) pixels of each class that are found, and all that are it or called it."""
  classes = rows.answers.shape[-1]
  has_target = has_weight(rows.weight) & (rows.targets >= 0)
  called = rows.answers.argmax(-1)

  def count(ids, counts):
    return jnp.zeros(classes, jnp.int32).at[ids].add(counts.astype(jnp.int32))

  true = jnp.maximum(rows.targets, 0)
  both = count(true, has_target & (called == rows.targets))
  return both, count(true, has_target) + count(called, has_target) - both


def mean_of_classes(overlap: Any) -> Any:
  """The mean over the last axis of what is not nan; nan where all is."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # of a mean of nothing
    return np.nanmean(overlap, axis=-1)


def signature(inputs: Any, width: int) -> Signature:
  """One logit a class, at every pixel of the input."""
  plain_signature = signature_of(
    inputs, width, name="images", output="logits", what="Classes"
  )
  (logits,) = plain_signature.outputs
  shape = (*plain_signature.inputs[0].shape[:2], width)
  return plain_signature._replace(outputs=(logits._replace(shape=shape),))


def plain_and_hard(
  classes: int, called: np.ndarray, targets: np.ndarray
) -> list[int]:
  """Examples worth showing: of each third one as it comes, and the hardest one.

  Args:
    called: (N, H, W) int, a network's classes.
    targets: (N, H, W) int.
  """
  known = (targets >= 0) & (targets < classes)
  wrong = ((called != targets) & known).reshape(len(targets), -1).sum(1)
  thirds = np.array_split(np.arange(len(targets)), min(3, len(targets)))
  plain = [int(third[len(third) // 2]) for third in thirds]
  hard = [int(third[np.argmax(wrong[third])]) for third in thirds]
  return list(dict.fromkeys(plain + hard))


def resized(logits, size, classes: int) -> jax.Array:
  """Logits of as many pixels as there are labels."""
  if jnp.ndim(logits) != 4 or logits.shape[-1] != classes:
    raise UserError(
      f"segmentation({classes}) reads logits of pixels, (B, h, w, {classes}); the"
      f" network's answers are {jnp.shape(logits)}: networks such as unet(16),"
      " fcn('resnet20') and deeplab('resnet20') answer at every pixel"
    )
  if logits.shape[:3] == size:
    return logits
  return jax.image.resize(logits, (*size, classes), "bilinear")


def _check_labels(entry, name: str) -> None:
  if entry.ndim != 3 or not jnp.issubdtype(entry.dtype, jnp.integer):
    raise UserError(
      f"batch: entry {name!r} has the shape {entry.shape} and the type"
      f" {entry.dtype}; the task segmentation reads one whole number a pixel, its"
      " class, (B, H, W)"
    )
