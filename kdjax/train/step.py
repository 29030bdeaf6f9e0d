"""One training step on one device: who learns what from whom.

Steps are written per device. They reduce over the devices themselves, as
(sum, count), so that ragged batches and any number of devices agree.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.core.method import Inputs, Method, Metrics, Outputs
from kdjax.core.task import Batch, Rows, Task, arguments, has_weight
from kdjax.taps import tapped
from kdjax.train import gradients
from kdjax.train.accumulate import over_pieces
from kdjax.train.devices import collectives
from kdjax.train.devices.batch_norm import over_the_batch
from kdjax.train.devices.collectives import Axis
from kdjax.train.devices.dropout import by_example
from kdjax.train.state import TrainState, classifier, descend, variables


def take_step(
  state: TrainState,
  method: Method,
  batch: Batch,
  teacher: Outputs | None,
  *,
  rng: jax.Array,
  axis_name: Axis = None,
  head: dict | None = None,
  gradient_metrics: bool = False,
  pieces: int = 1,
) -> tuple[TrainState, Metrics]:
  """Takes one step of gradient descent on a method's loss.

  With a method that reads only labels this is supervised training.

  Args:
    state: the student's state.
    method: the loss.
    batch: this device's share of the batch.
    teacher: the teacher's outputs of it, or None.
    rng: PRNG key of this step, the same on all devices.
    axis_name: the mapped axis of devices, or a group of them; None outside of
      one.
    head: the teacher's classifier, or None.
    gradient_metrics: whether to measure each term's gradient, see
      `gradients.by_term`; the step then differentiates term by term.
    pieces: how many pieces of its batch a device looks at, one after the other.
      Their gradients are summed: the same step in less memory, but that batch
      normalisation sees a piece at a time; it remembers their average.

  Returns:
    The new state, and metrics over the global batch as (sum, count): "loss",
    the task's score, and the method's own.

  Raises:
    ValueError: at trace time, for pieces of what cannot be cut.
  """
  totals = {
    kind: jnp.maximum(collectives.psum(count, axis_name), 1.0)
    for kind, count in counts_of(state.task, batch).items()
  }
  if pieces > 1 and (method.couples_batch or gradient_metrics):
    raise ValueError(
      "losses that relate the examples of a batch, and the gradients of single"
      " terms, need the whole batch at once"
    )

  def look(batch, teacher):
    return _look(
      state,
      method,
      batch,
      teacher,
      totals,
      rng=rng,
      axis_name=axis_name,
      head=head,
      gradient_metrics=gradient_metrics,
    )

  (grads, metrics), collections, method_state = over_pieces(
    look, pieces, batch, teacher
  )
  if not gradient_metrics:
    grads = collectives.psum(grads, axis_name)
  if method.frozen is None:
    state = state.apply_gradients(grads=grads)
  else:
    state = descend(state, grads, method.frozen(state.step))
  state = state.replace(
    collections=_whole(collections, axis_name), method_state=method_state
  )
  return state, collectives.psum(metrics, axis_name)


def _look(
  state,
  method,
  batch,
  teacher,
  totals,
  *,
  rng,
  axis_name,
  head,
  gradient_metrics,
):
  """What a batch, or a piece of it, adds to a step.

  Returns ((gradient, metrics), collections times its share, method's state); the
  gradient is over all devices only where it was measured.
  """
  counts = counts_of(state.task, batch)
  shares = {kind: count / totals[kind] for kind, count in counts.items()}

  def objective(params):
    outputs, rows, collections = train_forward(
      state, params, method.student_taps, batch, rng, axis_name
    )
    inputs = Inputs(
      outputs,
      teacher,
      rows.targets,
      state.step,
      has_weight(rows.weight),
      batch.index,
      head,
      classifier(params["network"]),
      batch.extra.get("share"),
      batch.extra.get("partner_targets"),
      has_weight(batch.weight) if "examples" in counts else None,
    )
    weights = shares
    if method.couples_batch and axis_name is not None:
      inputs = gather(inputs, axis_name)
      # Every device holds the whole batch's loss; together they hold it once.
      weights = dict.fromkeys(counts, 1.0 / collectives.psum(1.0, axis_name))
    losses, method_state, metrics = gradients.parts_of(method)(
      params["method"], state.method_state, inputs
    )
    over = gradients.kinds_of(method, losses, counts)
    metrics = metrics | {"loss": _metric(losses, over, counts, totals)}
    losses = {
      name: weights[over[name]] * value for name, value in losses.items()
    }
    return losses, (rows, collections, method_state, metrics)

  if gradient_metrics:
    grads, aux, measured = gradients.by_term(
      objective, state.params, lambda tree: collectives.psum(tree, axis_name)
    )
  else:
    (grads, aux), measured = gradients.of_sum(objective, state.params), {}
  rows, collections, method_state, metrics = aux
  metrics |= measured | {state.task.score: _score(state.task, rows, batch)}
  share = shares.get("examples", shares["rows"])
  return (grads, metrics), _weighted(collections, share), method_state


def counts_of(task: Task, batch: Batch) -> dict[str, jax.Array]:
  """Counts what losses are means over, before the network runs.

  Returns:
    The sums of the weights of "rows" and, where they are something else, of
    "examples"; () float32 each.
  """
  weights = task.weights(batch)
  counts = {"rows": jnp.sum(weights.rows, dtype=jnp.float32)}
  if weights.examples is not weights.rows:
    counts["examples"] = jnp.sum(weights.examples, dtype=jnp.float32)
  return counts


def _metric(losses, over, counts, totals) -> tuple[jax.Array, jax.Array]:
  """The whole loss as (sum, count): every term's mean, as if over the rows."""
  sums = []
  for kind in dict.fromkeys(over.values()):
    count = counts[kind]
    if kind != "rows":
      count = count / totals[kind] * totals["rows"]
    sums.append(
      sum(loss for name, loss in losses.items() if over[name] == kind) * count
    )
  first, *rest = sums
  return sum(rest, first), counts["rows"]


def _score(task: Task, rows: Rows, batch: Batch) -> tuple:
  """The score against the targets of what most of an input shows."""
  share = batch.extra.get("share")
  if share is not None:
    rows = rows._replace(
      targets=jnp.where(
        share >= 0.5, batch.targets, batch.extra["partner_targets"]
      )
    )
  return task.metrics[task.score](rows)


def train_forward(
  state: TrainState,
  params: Any,
  taps: Sequence[str],
  batch: Batch,
  rng: jax.Array,
  axis_name: Axis,
) -> tuple[Outputs, Rows, dict]:
  """Shows a network a batch as it sees it while it learns.

  Args:
    params: the parameters to use, of the form of the state's.
    rng: PRNG key of this step, the same on all devices.

  Returns:
    Its outputs, the task's rows of them, and its collections (batch statistics)
    after that.
  """
  with (
    nn.intercept_methods(by_example(batch.position)),
    nn.intercept_methods(over_the_batch(batch.weight, axis_name)),
  ):
    args, named = arguments(batch.inputs)
    (outputs, collections), feats = tapped(state.apply_fn, taps)(
      variables(state, params),
      *args,
      **named,
      train=True,
      rngs={"dropout": rng},
      mutable=list(state.collections),
    )
  rows = state.task.rows(outputs, batch)
  return Outputs(rows.answers, feats), rows, collections


def _weighted(collections, share):
  """A part's share of the average over devices and pieces."""
  return jax.tree.map(
    lambda x: x * share.astype(x.dtype) if _is_float(x) else x, collections
  )


def _whole(collections, axis_name):
  """Adds up the devices' shares; whole numbers are the same everywhere."""

  def one(x):
    if _is_float(x):
      return collectives.psum(x, axis_name)
    return collectives.pmax(x, axis_name)

  return jax.tree.map(one, collections)


def _is_float(x) -> bool:
  return jnp.issubdtype(x.dtype, jnp.floating)


def gather(inputs: Inputs, axis_name: Axis) -> Inputs:
  """Collects the global batch; steps and classifiers are everyone's already.

  Args:
    axis_name: the mapped axis of devices, or a group of them.

  Returns:
    The inputs of all devices, in their order.
  """

  def collect(x):
    return collectives.all_gather(x, axis_name)

  alone = dict.fromkeys(("step", "head", "student_head"))
  shared = {name: getattr(inputs, name) for name in alone}
  gathered = jax.tree.map(collect, inputs._replace(**alone))
  return gathered._replace(**shared)
