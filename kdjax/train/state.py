"""The state of a network in training, and of the method that trains it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training import train_state

from kdjax.method import Inputs, Method, View
from kdjax.taps import tapped
from kdjax.train.computed import computed, narrowed
from kdjax.train.optimizer import with_learning_rate


class TrainState(train_state.TrainState):
  """Flax's TrainState with what a distilled network needs besides.

  Attributes:
    params: {"network": the network's, "method": the method's (regressors)}.
    collections: the network's other collections, such as batch statistics.
    method_state: what the method remembers (memories, running averages).
  """

  collections: Any = None
  method_state: Any = None


def variables(state: TrainState, params: Any = None) -> dict:
  """Returns the network's variables, as linen's `apply` takes them.

  Args:
    state: the network's state.
    params: other parameters of the same form than the state's own.

  Returns:
    {"params": ..., and the other collections}.
  """
  params = state.params if params is None else params
  return {"params": params["network"], **state.collections}


def classifier(params: Any) -> dict | None:
  """Returns the linear layer that ends a network.

  Args:
    params: the network's parameters.

  Returns:
    {"kernel": (D, C), "bias": (C,)} of the layer named `head`; None where there
    is no such layer.

  Example:
    >>> classifier({"head": {"kernel": jnp.ones((3, 2))}})["bias"].shape
    (2,)
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
  images: jax.Array,
  teacher: View | None,
  learning_rate: jax.Array,
  head: dict | None = None,
) -> TrainState:
  """Initialises a network, its method and its optimiser.

  Args:
    network: linen module called as `network(images, train=...)`.
    method: what will train it.
    optimizer: from `make_optimizer`.
    rng: PRNG key.
    images: (B, H, W, C) float32, for their shape.
    teacher: the teacher's view of these images, or None.
    learning_rate: the peak rate, scalar.
    head: the teacher's classifier, or None.

  Returns:
    The state at step 0.
  """
  network_rng, method_rng = jax.random.split(rng)
  made = network.init(network_rng, images, train=False)
  params, collections = made.pop("params"), made
  shown = tapped(network.apply, method.student_taps)
  logits, feats = shown({"params": params, **collections}, images, train=False)
  labels = jnp.zeros(images.shape[0], jnp.int32)
  step = jnp.zeros((), jnp.int32)
  inputs = Inputs(
    View(logits, feats),
    teacher,
    labels,
    step,
    index=labels,
    head=head,
    student_head=classifier(params),
  )
  method_params, method_state = method.init(method_rng, inputs)
  if method.adopt is not None:
    params = method.adopt(params, inputs)
  params = {"network": params, "method": method_params}
  return TrainState(
    step=step,
    apply_fn=network.apply,
    params=params,
    tx=optimizer,
    opt_state=with_learning_rate(optimizer.init(params), learning_rate),
    collections=collections,
    method_state=method_state,
  )


def frozen_state(
  network: nn.Module, variables: dict, dtype: str = "float32"
) -> TrainState:
  """Wraps a trained network that is not to learn any more.

  Args:
    network: linen module, whatever it was computed in while it learned.
    variables: {"params": ..., and other collections}.
    dtype: what its parameters are kept in, and it computes in, see `computed`.

  Returns:
    A state without an optimiser.
  """
  collections = {
    key: value for key, value in variables.items() if key != "params"
  }
  params = variables["params"]
  params = params if dtype == "float32" else narrowed(params)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    apply_fn=computed(network, dtype=dtype).apply,
    params={"network": params, "method": ()},
    tx=optax.identity(),
    opt_state=(),
    collections=collections,
    method_state=(),
  )
