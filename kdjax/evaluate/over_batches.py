"""A network's metrics over batches of any kind, as sums and counts."""

import functools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.answers import check_answers
from kdjax.core.arguments import check_kind
from kdjax.core.entries import check_nan
from kdjax.core.errors import UserError
from kdjax.core.factored import Factored, as_logits
from kdjax.core.one_pass import divergence
from kdjax.core.task import (
  Batch,
  Rows,
  Task,
  as_batch,
  final_score,
  has_weight,
  mean_of,
)
from kdjax.core.teacher import check_answered, check_places, observe
from kdjax.data import open_batches
from kdjax.evaluate.rows import rows_of
from kdjax.losses import chunked, forward_kl, topk_kd
from kdjax.losses.chunked.stored import TopClasses

# Of a mapping of whole arrays; metrics do not depend on it.
BATCH_SIZE = 256


def evaluate(
  network: Any,
  variables: Any,
  batches: Any,
  *,
  task: Task,
  teacher: Any = None,
  batch_size: int | None = None,
  advance: Callable[[], Any] | None = None,
) -> dict[str, float]:
  """Measures a network by all metrics of its task.

  Every metric is a sum over one count, over all batches, or one of all their rows:
  how examples are cut into batches makes no difference. The last batch is filled up
  with rows that do not count, so that there is one compiled program.

  Args:
    network: from `from_linen`, `from_nnx` or `from_apply`.
    variables: its variables, on any devices.
    batches: a mapping of whole arrays, an iterable of mappings, a function that
      returns one, or a data set of grain, torch, tf.data or Hugging Face.
    task: what the batches hold and what the answers mean.
    teacher: from `live_teacher` and the like, to compare with; or None.
    batch_size: examples a batch, of a mapping of whole arrays or a data set of
      single examples; 256 by default.
    advance: is called when a batch has been measured, for a line of progress.

  Returns:
    By name, the task's metrics. With a teacher also "agreement", the share of
    rows on which both give the same class the highest score, and
    "kl_from_teacher", the mean of KL(teacher || student) in nats (of a teacher
    that tells its k likeliest classes over these, with all others as one: no more
    than over all); of answers that are no scores of classes
    "squared_difference", the mean of (student - teacher)^2. nan where nothing
    counts.

  Raises:
    UserError: for batches that cannot be read, have nan among the inputs, or lack
      an entry that the task or stored answers read; for answers that are not the
      task's, or of another shape than the teacher's; and for what is no network,
      task or teacher.

  Example:
    >>> import flax.linen as nn
    >>> from kdjax.taps.network import from_linen
    >>> from kdjax.tasks import classification
    >>> network = from_linen(nn.Dense(2), classifier=None)
    >>> variables = {"params": {"kernel": np.eye(2), "bias": np.zeros(2)}}
    >>> held_out = {"image": np.eye(2), "label": np.array([0, 0])}
    >>> task = classification(2)
    >>> evaluate(network, variables, held_out, task=task)["accuracy"]
    0.5
  """
  (scores,) = evaluate_each(
    network,
    lambda: [variables],
    batches,
    task=task,
    teacher=teacher,
    batch_size=batch_size,
    advance=advance,
  )
  return scores


def evaluate_each(
  network: Any,
  members: Callable[[], Iterable[Any]],
  batches: Any,
  *,
  task: Task,
  teacher: Any = None,
  batch_size: int | None = None,
  advance: Callable[[], Any] | None = None,
) -> list[dict[str, float]]:
  """Measures a network with several variables beside one pass of the teacher's.

  Args:
    members: () -> variables, each as `evaluate` takes them; called for every
      batch, so that one at a time needs to be there.

  Returns:
    What `evaluate` returns, for each. See there for the other arguments.
  """
  check_kind("network", network, "network")
  check_kind("task", task, "task")
  check_kind("teacher", teacher, "teacher", optional=True)
  ask, program = _asker(task), _program(network, task)
  totals = [
    dict[str, list[Any]]() for one in members() if network.collections(one)
  ]
  sets: list[list[Rows]] = [[] for _ in totals]
  for item in open_batches(
    batches, batch_size=batch_size, default_size=BATCH_SIZE
  ):
    batch = as_batch(task, item)
    check_nan(batch, item)
    check_places(teacher, item)
    answers = None if teacher is None else ask(teacher, batch)
    for variables, own, rows in zip(members(), totals, sets, strict=True):
      sums, of_batch = jax.device_get(program(variables, answers, batch))
      for name, pair in sums.items():
        own.setdefault(name, []).append(np.asarray(pair, float))
      if task.of_sets:
        rows.append(of_batch)
    check_answered(teacher)
    if advance is not None:
      advance()
  means = [
    {name: mean_of(*sum(pairs)) for name, pairs in own.items()}
    for own in totals
  ]
  return [
    {name: float(final_score(task, name, mean)) for name, mean in own.items()}
    | _of_set(task, rows)
    for own, rows in zip(means, sets, strict=True)
  ]


def _of_set(task: Task, batches: list[Rows]) -> dict[str, float]:
  """The metrics of all rows at once."""
  if not batches:
    return {}
  rows = jax.tree.map(lambda *x: np.concatenate(x), *batches)
  return {name: float(metric(rows)) for name, metric in task.of_sets.items()}


@functools.lru_cache(maxsize=64)
def _asker(task: Task):
  @jax.jit
  def ask(teacher, batch: Batch):
    return observe(teacher, batch, step=jnp.int32(0), task=task).answers

  return ask


# A program is compiled once for the network and its task.
@functools.lru_cache(maxsize=64)
def _program(network: Any, task: Task):
  @jax.jit
  def measured(variables, answers, batch: Batch):
    rows = rows_of(network, variables, batch, task)
    check_answers("network", rows.answers, len(rows.weight), task)
    # Metrics that differ in their end alone are one computation.
    distinct = task.metrics.values()
    values = {metric: metric(rows) for metric in dict.fromkeys(distinct)}
    sums = {name: values[metric] for name, metric in task.metrics.items()}
    if answers is not None:
      sums |= _compared(task, rows, answers)
    return sums, rows if task.of_sets else None

  return measured


def _compared(task: Task, rows: Rows, teacher: jax.Array) -> dict[str, tuple]:
  """How far a network's rows are those of its teacher."""
  if rows.answers.shape != teacher.shape:
    raise UserError(
      f"teacher: its answers are {list(teacher.shape)}, the network's"
      f" {list(rows.answers.shape)}: they cannot be compared row by row"
    )
  weight = has_weight(rows.weight)
  distance, in_chunks = forward_kl, chunked.forward_kl
  if isinstance(getattr(teacher, "kernel", None), TopClasses):
    # What each of the others has is not known.
    known = {"k": teacher.kernel.k, "tail": "bucket"}
    distance = partial(topk_kd, **known)
    in_chunks = partial(chunked.topk_kd, **known)
  if isinstance(rows.answers, Factored) and isinstance(teacher, Factored):
    return _compared_in_chunks(rows.answers, teacher, weight, in_chunks)
  student = as_logits(rows.answers).astype(jnp.float32)
  teacher = as_logits(teacher).astype(jnp.float32)

  def mean(values):
    return jnp.sum(jnp.where(weight, values, 0)), weight.sum()

  if task.kind not in ("categories", "binary"):
    return {"squared_difference": mean(jnp.mean((student - teacher) ** 2, -1))}
  return {
    "agreement": mean(student.argmax(-1) == teacher.argmax(-1)),
    "kl_from_teacher": mean(distance(student, teacher)),
  }


def _compared_in_chunks(
  student: Factored,
  teacher: Factored,
  counts: jax.Array,
  distance: Callable[..., chunked.Totals],
) -> dict[str, tuple]:
  totals = divergence(distance, student, teacher, mask=counts)
  top, teacher_top = (
    chunked.top_class(side.hidden, side.kernel, bias=side.bias)
    for side in (student, teacher)
  )
  same = jnp.sum(jnp.where(counts, top == teacher_top, False))
  return {
    "agreement": (same, counts.sum()),
    "kl_from_teacher": (totals.divergence, totals.tokens),
  }
