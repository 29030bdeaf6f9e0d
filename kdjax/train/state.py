"""The state of a network in training, and of the method that trains it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.training import train_state

from kdjax.core.method import Frozen, Inputs, Method, Outputs
from kdjax.core.task import Batch, Rows, Task, arguments
from kdjax.taps import tapped
from kdjax.train.optimizer import with_learning_rate
from kdjax.train.precision import cast_params, with_precision


class TrainState(train_state.TrainState):
  """Flax's TrainState with what a distilled network needs besides.

  Attributes:
    params: {"network": the network's, "method": the method's (regressors)}.
    collections: the network's other collections, such as batch statistics.
    method_state: what the method remembers (memories, running averages).
    task: what its answers mean; None for a network that does not learn.
  """

  collections: Any = None
  method_state: Any = None
  task: Task | None = struct.field(pytree_node=False, default=None)


def variables(state: TrainState, params: Any = None) -> dict:
  """Returns the network's variables, as linen's `apply` takes them.

  Args:
    params: other parameters of the same form than the state's own.
  """
  params = state.params if params is None else params
  return {"params": params["network"], **state.collections}


def classifier(params: Any) -> dict | None:
  """Returns the linear layer that ends a network.

  Returns:
    {"kernel": (D, C), "bias": (C,)} of the layer named `head`; None where there
    is no such layer.
  """
  head = params.get("head", {})
  if "kernel" not in head or head["kernel"].ndim != 2:
    return None
  bias = head.get("bias", jnp.zeros(head["kernel"].shape[1]))
  return {"kernel": head["kernel"], "bias": bias}


def create_state(
  network: nn.Module,
  method: Method,
  optimizer: optax.GradientTransformation,
  *,
  rng: jax.Array,
  task: Task,
  inputs: Any,
  teacher: Outputs | None,
  learning_rate: jax.Array,
  head: dict | None = None,
) -> TrainState:
  """Initialises a network, its method and its optimiser.

  Args:
    inputs: arrays (B, ...) that it takes, for their shape.
    teacher: the teacher's outputs of them, or None.
    head: the teacher's classifier, or None.
  """
  network_rng, method_rng = jax.random.split(rng)
  args, named = arguments(inputs)
  made = network.init(network_rng, *args, **named, train=False)
  params, collections = made.pop("params"), made
  batch = task.sample(inputs)
  outputs, rows = forward(
    network.apply, made | {"params": params}, batch, method.student_taps, task
  )
  step = jnp.zeros((), jnp.int32)
  first = Inputs(
    outputs,
    teacher,
    rows.targets,
    step,
    index=jnp.zeros_like(batch.index),
    head=head,
    student_head=classifier(params),
  )
  method_params, method_state = method.init(method_rng, first)
  if method.adopt is not None:
    params = method.adopt(params, first)
  params = {"network": params, "method": method_params}
  return TrainState(
    step=step,
    apply_fn=network.apply,
    params=params,
    tx=optimizer,
    opt_state=with_learning_rate(optimizer.init(params), learning_rate),
    collections=collections,
    method_state=method_state,
    task=task,
  )


def forward(
  apply_fn: Callable,
  variables: Mapping[str, Any],
  batch: Batch,
  taps: Sequence[str],
  task: Task,
) -> tuple[Outputs, Rows]:
  """Shows a network a batch, without dropout or updates.

  Returns:
    Its outputs, with one answer a row, and the rows.
  """
  args, named = arguments(batch.inputs)
  outputs, feats = tapped(apply_fn, taps)(
    variables, *args, **named, train=False
  )
  rows = task.rows(outputs, batch)
  return Outputs(rows.answers, feats), rows


def descend(state: TrainState, gradient: Any, frozen: Frozen) -> TrainState:
  """Lets the optimiser move what is not frozen.

  Of what is frozen it sees zeros, values and gradients: there is nothing that
  decay could shrink, and no momentum for the day on which it may move.

  Returns:
    The state after the step; what is frozen is the same, bit for bit.
  """
  still = _spread(frozen, state.params)

  def shown(tree):
    return jax.tree.map(lambda stop, x: jnp.where(stop, 0, x), still, tree)

  moved = state.replace(params=shown(state.params)).apply_gradients(
    grads=shown(gradient)
  )
  return moved.replace(
    params=jax.tree.map(jnp.where, still, state.params, moved.params)
  )


def _spread(frozen: Frozen, params: Any) -> Any:
  """What is frozen as a tree like the parameters."""
  if not isinstance(frozen, Mapping):
    return jax.tree.map(lambda _: frozen, params)
  # A method of each teacher: the same of all of them.
  if isinstance(params, tuple):
    return tuple(_spread(frozen, one) for one in params)
  return {
    key: _spread(frozen.get(key, False), value) for key, value in params.items()
  }


def frozen_state(
  network: nn.Module, variables: dict, dtype: str = "float32"
) -> TrainState:
  """Wraps a trained network that is not to learn any more.

  Args:
    network: linen module, whatever it was computed in while it learned.
    dtype: what its parameters are kept in, and it computes in, see
      `with_precision`.
  """
  collections = {
    key: value for key, value in variables.items() if key != "params"
  }
  params = variables["params"]
  params = params if dtype == "float32" else cast_params(params)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    apply_fn=with_precision(network, dtype=dtype).apply,
    params={"network": params, "method": ()},
    tx=optax.identity(),
    opt_state=(),
    collections=collections,
    method_state=(),
  )
