"""What is differentiated: a method's loss of a network on a batch.

Losses are sums over the examples of this device, divided by counts over all
devices, so that ragged batches and any number of devices agree.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kdjax.core.answers import check_answers
from kdjax.core.arguments import check_key, check_kind, misfit
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Method, Metrics, Outputs
from kdjax.core.one_pass import with_logits
from kdjax.core.task import Batch, Rows, Task, as_batch, has_weight
from kdjax.core.teacher import Teacher, observe, teacher_head
from kdjax.taps import TapError
from kdjax.taps.network import Network
from kdjax.train import gradients
from kdjax.train.completed import completed
from kdjax.train.devices import collectives
from kdjax.train.devices.collectives import Axis
from kdjax.train.forward import (
  first_examples,
  forward,
  gather,
  train_forward,
  without_padding,
)
from kdjax.train.frozen import stopped


class Counts(NamedTuple):
  """What losses are means over, by kind: "rows", "examples" where they differ.

  Attributes:
    own: () float32, sums of the weights of what is seen here.
    totals: likewise, of the global batch; at least 1.
    shares: own / totals.
  """

  own: dict[str, jax.Array]
  totals: dict[str, jax.Array]
  shares: dict[str, jax.Array]


class Objective(NamedTuple):
  """A method's loss of a student: pure functions, for any loop and optimiser.

  Attributes:
    init: (key, variables, teacher, batch) -> (params, state). `variables` are
      the student's, or None for new ones; layers that they lack are drawn; the teacher is a Teacher or None; the
      batch is one of the training, as the task's `batch` takes it. params =
      {"network": the student's, "method": what the method learns beside it};
      state = (the student's other collections, what the method remembers).
    loss: (params, state, teacher, batch, *, step, key, axis_name=None) ->
      (loss, (state, metrics)). The loss is the mean over the global batch, of
      each of its terms over what that counts; metrics are (sum, count) of it. On
      several devices, which `axis_name` maps, each one's gradient is its share:
      sum them, and neither the loss nor the metrics. What a method freezes at a
      step has no gradient there.
    method: what is matched.
    network: the student.
    task: what its answers mean.
  """

  init: Callable[..., tuple[Any, Any]]
  loss: Callable[..., tuple[jax.Array, Any]]
  method: Method
  network: Network
  task: Task


def objective(method: Method, student: Network, task: Task) -> Objective:
  """Makes the loss of a student, to be differentiated in its first argument.

  Args:
    method: from `kdjax.methods`.
    student: from `from_linen`, `from_nnx` or `from_apply`.
    task: what a batch holds, and what the answers mean.

  Returns:
    The objective. The teacher is an argument of its functions; closed over, jit
    would compile its weights into the program.

  Raises:
    UserError: for what is no method, network or task; `init` for a batch, a key, a
      teacher or answers that do not fit.

  Example:
    >>> import flax.linen as nn
    >>> from kdjax.methods import make_objective
    >>> from kdjax.taps.network import from_linen
    >>> from kdjax.tasks import classification
    >>> task = classification(3)
    >>> hard = objective(make_objective("hard"), from_linen(nn.Dense(3)), task)
    >>> batch = {"image": jnp.ones((2, 4)), "label": jnp.array([0, 1])}
    >>> params, state = hard.init(jax.random.key(0), None, None, batch)
    >>> loss, (state, metrics) = hard.loss(
    ...   params, state, None, batch, step=0, key=jax.random.key(1)
    ... )
    >>> float(metrics["accuracy"][1])
    2.0
  """

  check_kind("method", method, "method")
  check_kind("student", student, "network")
  check_kind("task", task, "task")

  def init(key, variables, teacher, batch):
    check_key("key", key)
    batch = as_batch(task, batch)
    outputs = ask(method, teacher, batch, 0, task)
    return first_params(
      method, student, task, key, variables, batch, outputs,
      teacher_head(teacher),
    )  # fmt: skip

  def loss(params, state, teacher, batch, *, step, key, axis_name=None):
    batch = as_batch(task, batch)
    step = jnp.asarray(step, jnp.int32)
    outputs = ask(method, teacher, batch, step, task)
    if method.frozen is not None:
      params = stopped(params, method.frozen(step), student)
    counts = counted(task, batch, totals_of(task, batch, axis_name))
    losses, (rows, memory, metrics) = losses_of(
      method, student, task, params, state, outputs, batch, counts,
      step=step, key=key, axis_name=axis_name, head=teacher_head(teacher),
    )  # fmt: skip
    metrics = score_of(task, rows, batch) | metrics
    memory = (share_of(memory[0], counts), memory[1])
    total = sum(losses.values())
    if axis_name is not None:
      # Everyone's value, of which this device's share has the gradient.
      constant = jax.lax.stop_gradient(total)
      total = collectives.psum(constant, axis_name) + (total - constant)
    return total, (
      (joined(memory[0], axis_name), memory[1]),
      collectives.psum(metrics, axis_name),
    )

  return Objective(init, loss, method, student, task)


def ask(
  method: Method,
  teacher: Teacher | None,
  batch: Batch,
  step: jax.Array | int,
  task: Task,
) -> Outputs | None:
  """Shows what a teacher makes of a batch, as a method wants to see it.

  Raises:
    UserError: where the method needs a teacher and there is none, and for what
      is no teacher.
  """
  check_kind("teacher", teacher, "teacher", optional=True)
  if teacher is None and method.needs_teacher:
    raise UserError(
      "teacher: the method learns from a teacher, got None; make one with"
      " live_teacher, stored_teacher or ensemble"
    )
  try:
    return observe(teacher, batch, method.teacher_taps, step=step, task=task)
  except TapError as error:
    raise TapError(error.tap, error.reason, "teacher") from None


def first_params(
  method: Method,
  network: Network,
  task: Task,
  key: jax.Array,
  variables: Any,
  batch: Batch,
  teacher: Outputs | None,
  head: dict | None,
) -> tuple[Any, Any]:
  """Initialises a network and its method.

  Args:
    variables: the network's; None to draw them, and layers that they lack are
      drawn.
    batch: of any size, for its shape.
    teacher: the teacher's outputs of it, or None.
    head: the teacher's classifier, or None.

  Returns:
    params and state, see `Objective`.
  """
  network_key, method_key = jax.random.split(key)
  if variables is None:
    variables = network.init(network_key, batch.inputs)
  else:
    variables = completed(network, variables, network_key, batch.inputs)
  variables = network.collections(variables)
  outputs, rows = forward(network, variables, batch, method.student_taps, task)
  check_answers("student", rows.answers, len(rows.weight), task)
  collections = dict(variables)
  if "params" not in collections:
    raise misfit("variables", 'arrays with a collection "params"', variables)
  params = collections.pop("params")
  first = Inputs(
    outputs,
    teacher,
    rows.targets,
    jnp.zeros((), jnp.int32),
    index=jnp.zeros_like(batch.index),
    head=head,
    student_head=network.classifier(variables),
    tokens=None if task.tokens is None else task.tokens(batch),
  )
  method_params, memory = method.init(method_key, first)
  if method.adopt is not None:
    params = method.adopt(params, first)
  return {"network": params, "method": method_params}, (collections, memory)


def losses_of(
  method: Method,
  network: Network,
  task: Task,
  params: Any,
  state: Any,
  teacher: Outputs | None,
  batch: Batch,
  counts: Counts,
  *,
  step: jax.Array,
  key: jax.Array,
  axis_name: Axis,
  head: dict | None,
  examples: int | None = None,
  apart: bool = False,
) -> tuple[dict[str, jax.Array], tuple[Rows, Any, Metrics]]:
  """Computes what a batch, or a part of one, adds to each term of the loss.

  Args:
    params: see `Objective`.
    state: see `Objective`.
    teacher: the teacher's outputs of the batch, or None.
    counts: of the batch.
    examples: how many there are in the global batch, where what comes behind
      them is padding; None where the program does not know. A method that
      relates examples sees no others.
    apart: whether each term's gradient is asked for, and not only their sum's.

  Returns:
    The terms' shares by name; and the student's rows, the next state, and the
    metrics of what is seen here.
  """
  collections, memory = state
  outputs, rows, collections = train_forward(
    network,
    {"params": params["network"], **collections},
    batch,
    method.student_taps,
    task,
    key=key,
    axis_name=axis_name,
  )
  tokens = None if task.tokens is None else task.tokens(batch)
  inputs = Inputs(
    without_padding(outputs, tokens),
    without_padding(teacher, tokens),
    rows.targets,
    step,
    _as_mask(rows.weight),
    batch.index,
    head,
    network.classifier({"params": params["network"], **collections}),
    batch.extra.get("share"),
    rows.partner_targets,
    _as_mask(batch.weight) if "examples" in counts.own else None,
    tokens,
    jax.tree.map(jnp.ravel, batch.extra.get("drawn")),
    batch.extra.get("teacher_share"),
  )
  weights = counts.shares
  if method.couples_batch and axis_name is not None:
    inputs = gather(inputs, axis_name)
    # Every device holds the whole batch's loss; together they hold it once.
    weights = dict.fromkeys(counts.own, 1.0 / collectives.psum(1.0, axis_name))
  if method.couples_batch and examples is not None:
    inputs = first_examples(inputs, examples)
  if apart:
    inputs = with_logits(inputs)
  losses, memory, metrics = gradients.parts_of(method)(
    params["method"], memory, inputs
  )
  over = gradients.kinds_of(method, losses, counts.own)
  metrics = metrics | {"loss": _metric(losses, over, counts)}
  losses = {name: weights[over[name]] * value for name, value in losses.items()}
  return losses, (rows, (collections, memory), metrics)


def counted(task: Task, batch: Batch, totals: dict[str, jax.Array]) -> Counts:
  """Counts a batch, or a part of it.

  Args:
    totals: of the global batch, as `totals_of` gives them.
  """
  counts = _counts(task, batch)
  shares = {kind: count / totals[kind] for kind, count in counts.items()}
  return Counts(counts, totals, shares)


def totals_of(
  task: Task, batch: Batch, axis_name: Axis
) -> dict[str, jax.Array]:
  """Counts the global batch, before the network runs."""
  totals = jax.tree.map(
    lambda count: collectives.psum(count, axis_name), _counts(task, batch)
  )
  # Weights may add up to less than one.
  return {kind: jnp.where(x > 0, x, 1.0) for kind, x in totals.items()}


def score_of(task: Task, rows: Rows, batch: Batch) -> Metrics:
  """Scores against the targets of what most of an input shows."""
  share = batch.extra.get("share")
  if share is not None:
    targets, partners = rows.targets, rows.partner_targets
    is_most = jnp.reshape(share >= 0.5, (-1, *[1] * (targets.ndim - 1)))
    rows = rows._replace(targets=jnp.where(is_most, targets, partners))
  return {task.score: task.metrics[task.score](rows)}


def share_of(collections: Any, counts: Counts) -> Any:
  """A part's share of the average over devices and pieces."""
  share = counts.shares.get("examples", counts.shares["rows"])
  return jax.tree.map(
    lambda x: x * share.astype(x.dtype) if _is_float(x) else x, collections
  )


def joined(collections: Any, axis_name: Axis) -> Any:
  """Adds up the devices' shares; whole numbers are the same everywhere."""

  def one(x):
    if _is_float(x):
      return collectives.psum(x, axis_name)
    return collectives.pmax(x, axis_name)

  return jax.tree.map(one, collections)


def _counts(task: Task, batch: Batch) -> dict[str, jax.Array]:
  weights = task.weights(batch)
  counts = {"rows": jnp.sum(weights.rows, dtype=jnp.float32)}
  if weights.examples is not weights.rows:
    counts["examples"] = jnp.sum(weights.examples, dtype=jnp.float32)
  return counts


def _as_mask(weight: jax.Array) -> jax.Array:
  """What counts; floats stay as they are, and say how much it counts."""
  floats = jnp.issubdtype(weight.dtype, jnp.floating)
  return weight if floats else has_weight(weight)


def _metric(losses, over, counts) -> tuple[jax.Array, jax.Array]:
  """The whole loss as (sum, count): every term's mean, as if over the rows."""
  sums = []
  for kind in dict.fromkeys(over.values()):
    count = counts.own[kind]
    if kind != "rows":
      count = count / counts.totals[kind] * counts.totals["rows"]
    sums.append(
      sum(loss for name, loss in losses.items() if over[name] == kind) * count
    )
  first, *rest = sums
  return sum(rest, first), counts.own["rows"]


def _is_float(x) -> bool:
  return jnp.issubdtype(x.dtype, jnp.floating)
