"""The state of a network in training, and of the method that trains it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from kdjax.core.method import Frozen, Method, Outputs
from kdjax.core.task import Task
from kdjax.taps.network import Network
from kdjax.train.frozen import what_is_frozen
from kdjax.train.objective import first_params
from kdjax.train.optimizer import with_learning_rate
from kdjax.train.precision import as_network


@struct.dataclass
class TrainState:
  """A network in training, the method that trains it, and the optimiser.

  Attributes:
    step: () int32, steps taken so far.
    params: {"network": the network's, "method": the method's (regressors)}.
    opt_state: the optimiser's.
    collections: the network's other collections, such as batch statistics.
    method_state: what the method remembers (memories, running averages).
    network: how it is called.
    tx: the optimiser.
    task: what its answers mean.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  collections: Any = None
  method_state: Any = None
  network: Network = struct.field(pytree_node=False, default=None)
  tx: optax.GradientTransformation = struct.field(
    pytree_node=False, default=None
  )
  task: Task | None = struct.field(pytree_node=False, default=None)


def variables(state: TrainState, params: Any = None) -> dict:
  """Returns the network's variables, as its `apply` takes them.

  Args:
    params: other parameters of the same form than the state's own.
  """
  params = state.params if params is None else params
  return {"params": params["network"], **state.collections}


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
  variables: Any = None,
) -> TrainState:
  """Initialises a network, its method and its optimiser.

  Args:
    inputs: arrays (B, ...) that it takes, for their shape.
    teacher: the teacher's outputs of them, or None.
    head: the teacher's classifier, or None.
    variables: what the network begins with; None to draw it.
  """
  network = as_network(network)
  params, (collections, method_state) = first_params(
    method, network, task, rng, variables, task.sample(inputs), teacher, head
  )
  opt_state = with_learning_rate(optimizer.init(params), learning_rate)
  return TrainState(
    # Steps count in what the program counts in.
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state=opt_state,
    collections=collections,
    method_state=method_state,
    network=network,
    tx=optimizer,
    task=task,
  )


def descend(
  state: TrainState, gradient: Any, frozen: Frozen | None = None
) -> TrainState:
  """Lets the optimiser move what is not frozen.

  Of what is frozen it sees zeros, values and gradients: there is nothing that
  decay could shrink, and no momentum for the day on which it may move.

  Args:
    frozen: what a method says is; None for nothing.

  Returns:
    The state after the step; what is frozen is the same, bit for bit.
  """
  if frozen is None:
    updates, opt_state = state.tx.update(
      gradient, state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return state.replace(
      step=state.step + 1, params=params, opt_state=opt_state
    )
  still = what_is_frozen(frozen, state.params, state.network)

  def without_frozen(tree):
    return jax.tree.map(lambda stop, x: jnp.where(stop, 0, x), still, tree)

  new = descend(
    state.replace(params=without_frozen(state.params)), without_frozen(gradient)
  )
  return new.replace(
    params=jax.tree.map(jnp.where, still, state.params, new.params)
  )
