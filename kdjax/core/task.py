"""What a task is: what a batch holds, what an answer means, what is scored.

A task turns what a network puts out into rows. A row is an example, a token, a
pixel, or one yes/no question; losses and methods see rows alone, so that none of
them knows of tasks. A task is a value made of pure functions.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.entries import check_lengths
from kdjax.core.errors import UserError
from kdjax.core.kept import Kept
from kdjax.core.method import Method, stateless
from kdjax.core.pooling import pool_values
from kdjax.core.signature import Signature, signature_of
from kdjax.core.units import Units

# What a row's answer is: scores of classes of which one is right, the two scores
# of a yes/no question, numbers, a vector whose direction counts, or means and then
# log variances of normal distributions.
KINDS = ("categories", "binary", "values", "embedding", "gaussians")


class Batch(NamedTuple):
  """One device's share of a batch; all arrays have a leading axis B.

  Attributes:
    inputs: what the network takes: an array, or arrays by name.
    targets: what is known of the examples, an array or a tree of them.
    weight: (B,) 0 for the padding of a ragged batch.
    index: (B,) int32, place in the training set.
    position: (B,) int32, place in the global batch.
    extra: what some trainings need besides, by name:
      "share": (B,) float32, of each input that is its own, where inputs are
        mixed with a partner's; "partner_targets": the partners' targets.
      "teacher_inputs": what the teacher sees, where it sees something else.
      "place": (B,) int32, place of each view among all views of all examples,
        view * N + index, where views have numbers.
      "counts": (B, ...) bool, which rows count, where a task has noted it.
      "drawn": (B, T - 1) int32, tokens that the student drew behind each but the
        last, -1 where it did not; "teacher_share": see `Inputs`.
  """

  inputs: Any
  targets: Any
  weight: jax.Array
  index: jax.Array
  position: jax.Array
  extra: Mapping[str, Any] = {}

  @property
  def place(self) -> jax.Array:
    """Where a table of stored answers has these inputs, modulo its length."""
    return self.extra.get("place", self.index)

  @property
  def teacher_inputs(self) -> Any:
    """The inputs that the teacher sees."""
    return self.extra.get("teacher_inputs", self.inputs)


class Rows(NamedTuple):
  """What a network answers, row by row, and what would have been right.

  Attributes:
    answers: (R, C) float, logits or numbers; or Factored.
    targets: (R,) or (R, C), one a row.
    weight: (R,) 0 for a row that does not count.
    partner_targets: as targets, those of the inputs that a row's is mixed with.
  """

  answers: jax.Array
  targets: Any
  weight: jax.Array
  partner_targets: Any = None


class Weights(NamedTuple):
  """What of a batch counts, as known before the network runs.

  Attributes:
    rows: (R,) the weight of each row.
    examples: (B,) the weight of each example; the same array where the rows are
      the examples.
  """

  rows: jax.Array
  examples: jax.Array


# What an item of an iterator may hold of `Batch.extra`.
EXTRA = (
  "share",
  "partner_targets",
  "teacher_inputs",
  "place",
  "drawn",
  "teacher_share",
)

# A metric is summed over batches and devices and divided once, at the end. One of
# several numbers, such as one a class, is made one number by the task's `finish`.
Metric = Callable[[Rows], tuple[jax.Array, jax.Array]]


class Words(NamedTuple):
  """A score as people see it: factor * score + offset; 0.97 right is 3 % wrong.

  Attributes:
    title: what the number is called.
    unit: its unit; "" for none.
    factor: of the score; differences of scores are multiplied with it too.
    offset: added to that.
    digits: behind the point.
    counted: what a training's speed counts.
    labels: what networks learn from that learn without a teacher.
  """

  title: str = "error"
  unit: str = "%"
  factor: float = -100.0
  offset: float = 100.0
  digits: int = 2
  counted: str = "examples"
  labels: str = "hard labels"

  def shown(self, score: Any) -> Any:
    """Makes of scores the numbers that people see: 0.97 -> 3."""
    # Not offset + factor * score: 1 - accuracy is exact.
    return -self.factor * (-self.offset / self.factor - score)

  def told(self, score: float) -> str:
    """Writes a score as people are told of it: 0.97 -> "error 3.00 %"."""
    shown = self.shown(score)
    return f"{self.title} {shown:.{self.digits}f} {self.unit}".rstrip()


def all_alike(targets: Any) -> np.ndarray:
  """Puts all examples into one stratum.

  Args:
    targets: (N, ...) an array, or a tree of them.

  Returns:
    (N,) zeros.
  """
  return np.zeros(len(jax.tree.leaves(targets)[0]), np.int32)


def mask_of(batch: Batch) -> jax.Array | None:
  """Returns the input that says which tokens count; None where there is none.

  Returns:
    (B, T) bool.
  """
  by_name = batch.inputs if isinstance(batch.inputs, Mapping) else {}
  return by_name["mask"] != 0 if "mask" in by_name else None


class Task(NamedTuple):
  """What a network is for. Two tasks are the same only if they are one object.

  Attributes:
    name: what it is called.
    kind: of its answers, one of KINDS.
    batch: one item of an iterator, arrays by name -> Batch, see `batch_of`.
    sample: inputs (B, ...) -> a batch of which nothing else is known: shapes
      and types are right, targets are empty.
    weights: Batch -> Weights. They say what every loss is divided by.
    rows: (outputs of a network, Batch) -> Rows, as many as `weights` says.
    hard_loss: Rows -> (R,) the loss against the targets alone, the `ce` of every
      objective; 0 for a row without a target.
    metrics: by name, Rows -> (sum, count).
    score: name of the metric that chooses among networks.
    better: +1 where a higher score is better, -1 where a lower one is.
    finish: by name, what a metric's mean becomes in the end, such as a root;
      it stays the mean where there is nothing.
    measure: (outputs of M networks (M, N, ...), targets (N, ...), the teacher's
      outputs (N, ...) or None) -> what results.json says of the networks; all
      metrics where there is none.
    pool: (outputs of T teachers (T, ...), pool=, weights=) -> one answer, see
      `kdjax.core.pooling`.
    split: targets (N, ...) -> (N,) int, strata: what is held out, and subsets,
      have as many examples of each as can be.
    signature: (one example's inputs, how many numbers a network answers with) ->
      what goes in and what comes out, for exports, model cards and latency.
    words: how a report tells of the score.
    samples: (the teacher's outputs (N, ...), targets (N, ...)) -> places of some
      examples worth showing; None where there is no picture of them.
    tokens: Batch -> (B, T) bool, which tokens of a text are no padding, for
      methods that match features of tokens; None, or one that returns it, where
      all count. By default the input that is called "mask", where there is one.
    factored_from: from how many classes on answers stay Factored, a product of
      hidden states and a matrix that is not carried out, where a network's are;
      see `kdjax.core.factored`. None where rows and metrics want arrays.
    width: C, how many numbers a row's answer has; None where any will do.
    class_weights: C numbers that the labels' loss of each class is multiplied by;
      "balanced" until a training set's labels say them; None for 1.
    units: how answers become numbers in the targets' unit, for exports and whoever
      reads them; None where they are told as they are.
    border_target: of targets that are maps of the inputs' pixels and move with
      them, what enters where a view shows what lies outside; None for no maps.
    kept: what is kept of outputs to a whole set, for `measure`; None for all.
    redraw: (key, inputs, targets, positions) -> (inputs, targets), drawn anew in a step.
    of_sets: by name, numpy's Rows of a whole set -> a number that is no sum.
  """

  name: str
  kind: str
  batch: Callable[[Mapping[str, Any]], Batch]
  sample: Callable[[Any], Batch]
  weights: Callable[[Batch], Weights]
  rows: Callable[[Any, Batch], Rows]
  hard_loss: Callable[[Rows], jax.Array]
  metrics: Mapping[str, Metric]
  score: str
  better: int = 1
  finish: Mapping[str, Callable[[Any], Any]] = {}
  measure: Callable[[Any, Any, Any], dict[str, Any]] | None = None
  pool: Callable[..., Any] = pool_values
  split: Callable[[Any], np.ndarray] = all_alike
  signature: Callable[[Any, int], Signature] = signature_of
  words: Words = Words()
  samples: Callable[[Any, Any], list[int]] | None = None
  tokens: Callable[[Batch], jax.Array | None] | None = mask_of
  factored_from: int | None = None
  width: int | None = None
  class_weights: tuple[float, ...] | str | None = None
  units: Units | None = None
  border_target: int | None = None
  kept: Kept | None = None
  redraw: Callable[..., tuple[Any, Any]] | None = None
  of_sets: Mapping[str, Callable[[Rows], float]] = {}

  # Programs are compiled for a task, and functions are no more than themselves.
  def __hash__(self) -> int:
    return id(self)

  def __eq__(self, other: object) -> bool:
    return self is other

  def __ne__(self, other: object) -> bool:
    return self is not other


def batch_of(
  inputs: Any,
  targets: Any = None,
  *,
  weight: jax.Array | None = None,
  index: jax.Array | None = None,
  position: jax.Array | None = None,
  **extra: Any,
) -> Batch:
  """Makes a batch of what is known of it.

  Args:
    inputs: what the network takes, arrays with a leading axis B.
    targets: what is known of the examples; None for nothing.
    weight: (B,) 0 for padding; all count by default.
    index: (B,) int, place in the training set; in order by default.
    position: (B,) int, place in the global batch; in order by default.
    **extra: see `Batch`.

  Returns:
    The batch.

  Example:
    >>> print(batch_of(jnp.zeros((2, 4))).index)
    [0 1]
  """
  size = jax.tree.leaves(inputs)[0].shape[0]
  order = jnp.arange(size, dtype=jnp.int32)
  return Batch(
    inputs,
    targets,
    jnp.ones(size, bool) if weight is None else weight,
    order if index is None else index,
    order if position is None else position,
    extra,
  )


def as_batch(task: Task, item: Any) -> Batch:
  """Makes a batch of one item of a user's iterator.

  Args:
    task: which says what of it is what.
    item: arrays by name: those that the task reads, and "weight", "index" and
      "position" and what stands in `Batch.extra`, such as "teacher_inputs",
      where they are there. A Batch is returned as it is.

  Raises:
    UserError: for an item without an entry that the task reads, one that is no
      array, or one of another length than the inputs.

  Example:
    >>> from kdjax.tasks import classification
    >>> batch = as_batch(classification(3), {"image": jnp.zeros((2, 4))})
    >>> print(batch.targets)
    [-1 -1]
  """
  if isinstance(item, Batch):
    return item
  if not isinstance(item, Mapping):
    raise UserError(
      f"a batch is a mapping of arrays by name, got {type(item).__name__}"
    )
  try:
    batch = task.batch(item)
  except KeyError as error:
    (name, *_) = error.args
    raise UserError(
      f"the batch has no entry {name!r}, which the task {task.name} reads; it"
      f" has: {', '.join(map(str, item))}. The task's settings say what its"
      " entries are called"
    ) from None
  except AttributeError:
    lists = [name for name, x in item.items() if isinstance(x, list | tuple)]
    if not lists:
      raise
    raise UserError(
      f"batch: entry {lists[0]!r} is a {type(item[lists[0]]).__name__}; entries"
      " are arrays, of numpy or jax"
    ) from None
  extra = {name: item[name] for name in EXTRA if name in item}
  batch = batch._replace(extra=batch.extra | extra)
  check_lengths(batch, item)
  return batch


def has_weight(weight: jax.Array) -> jax.Array:
  """Says what counts.

  Args:
    weight: (R,) 0 where a row, or an example, does not count.

  Returns:
    (R,) bool.
  """
  return weight if weight.dtype == bool else weight > 0


def mean_of(total: Any, count: Any) -> np.ndarray:
  """Returns sums over their counts, nan where nothing counts.

  Example:
    >>> print(mean_of([1.0, 0.0], [4, 0]))
    [0.25  nan]
  """
  total, count = np.asarray(total, float), np.asarray(count, float)
  return np.divide(
    total, count, out=np.full_like(total, np.nan), where=count > 0
  )


def final_score(task: Task, name: str, mean: Any) -> Any:
  """Makes of a metric's mean what is reported.

  Args:
    task: whose metric it is.
    name: of the metric.
    mean: sum / count over all batches; of a metric of several numbers, such as
      one a class, they are its last axis.

  Returns:
    The mean, or what the task makes of it: one number.
  """
  return task.finish.get(name, lambda value: value)(mean)


def hard_label_method(task: Task) -> Method:
  """Makes the method that learns from the targets alone, the `ce` of a task.

  Where inputs are mixed, loss_r = share * loss(target) + (1 - share) *
  loss(partner's target).

  Args:
    task: whose `hard_loss` it is.

  Returns:
    The method.
  """

  def loss(inputs):
    def against(targets):
      return task.hard_loss(Rows(inputs.student.answers, targets, inputs.mask))

    if inputs.share is None:
      return against(inputs.labels)
    loss, partner = against(inputs.labels), against(inputs.partner_labels)
    return inputs.share * loss + (1 - inputs.share) * partner

  return stateless(loss, needs_teacher=False)
