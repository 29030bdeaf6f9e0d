"""The state of a network in training, and of the method that trains it."""

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training import train_state

from kdjax import spec
from kdjax.errors import UserError
from kdjax.method import Inputs, Method, View
from kdjax.taps import tapped

OPTIMIZERS = {
  "adam": optax.adam,
  "adamw": optax.adamw,
  "lamb": optax.lamb,
  "lion": optax.lion,
  "nadam": optax.nadam,
  "rmsprop": optax.rmsprop,
  "sgd": optax.sgd,
}

SHAPES = {
  "constant": lambda steps: optax.constant_schedule(1.0),
  "cosine": lambda steps: optax.cosine_decay_schedule(1.0, steps),
  "linear": lambda steps: optax.linear_schedule(1.0, 0.0, steps),
}


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


def make_optimizer(
  optimizer: str, schedule: str, steps: int
) -> optax.GradientTransformation:
  """Builds the optimiser; its peak learning rate is part of its state.

  So networks with different rates train side by side in one program.

  Args:
    optimizer: a spec, such as "adam" or "sgd(momentum=0.9, nesterov=True)".
    schedule: how the rate falls from its peak: "constant", "cosine" or
      "linear", with an optional warm-up share, "cosine(warmup=0.1)".
    steps: length of the training.

  Returns:
    The transformation; set the rate with `with_learning_rate`.

  Raises:
    UserError: for unknown names or arguments.

  Example:
    >>> optimizer = make_optimizer("adam", "cosine", 100)
    >>> state = with_learning_rate(optimizer.init(jnp.zeros(3)), 0.01)
  """
  written = spec.parse(optimizer)
  makers = {name: _with_rate(maker) for name, maker in OPTIMIZERS.items()}
  if written.args:
    raise UserError(
      f"optimizer {written}: name the arguments, such as momentum=0.9"
    )
  rule = spec.build("optimizer", written, makers)
  return optax.chain(rule, optax.scale_by_schedule(_shape(schedule, steps)))


def with_learning_rate(optimizer_state: Any, learning_rate: jax.Array) -> Any:
  """Sets the peak learning rate of a fresh optimiser's state.

  Args:
    optimizer_state: as `make_optimizer(...).init` returns it.
    learning_rate: scalar, traced or not.

  Returns:
    The state with that rate.
  """
  rule, *rest = optimizer_state
  rates = {"learning_rate": jnp.asarray(learning_rate, jnp.float32)}
  return (rule._replace(hyperparams=rule.hyperparams | rates), *rest)


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


def frozen_state(network: nn.Module, variables: dict) -> TrainState:
  """Wraps a trained network that is not to learn any more.

  Args:
    network: linen module.
    variables: {"params": ..., and other collections}.

  Returns:
    A state without an optimiser.
  """
  collections = {
    key: value for key, value in variables.items() if key != "params"
  }
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    apply_fn=network.apply,
    params={"network": variables["params"], "method": ()},
    tx=optax.identity(),
    opt_state=(),
    collections=collections,
    method_state=(),
  )


def _with_rate(maker):
  """Keeps the learning rate, and nothing else, in the optimiser's state."""
  others = set(inspect.signature(maker).parameters) - {"learning_rate"}

  def make(**kwargs):
    return optax.inject_hyperparams(maker, static_args=tuple(others))(
      learning_rate=0.0, **kwargs
    )

  return make


def _shape(schedule: str, steps: int) -> optax.Schedule:
  def maker(shape):
    def make(warmup: float = 0.0):
      if not 0 <= warmup < 1:
        raise ValueError(f"warmup is a share in [0, 1), got {warmup}")
      rise = round(warmup * steps)
      # The first step already moves: a rise from 1/n to 1, not from 0.
      return optax.join_schedules(
        [lambda step: (step + 1) / (rise + 1), shape(max(steps - rise, 1))],
        [rise],
      )

    return make

  makers = {name: maker(shape) for name, shape in SHAPES.items()}
  return spec.build("schedule", spec.parse(schedule), makers)
