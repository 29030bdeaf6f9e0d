"""Networks of one architecture that learn from each other, on one device."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.method import Inputs, Method, Outputs
from kdjax.core.task import Task
from kdjax.train.forward import forward
from kdjax.train.gradients import parts_of
from kdjax.train.precision import as_network
from kdjax.train.state import TrainState, create_state


def others(peers: int) -> np.ndarray:
  """Lists for each peer all the others.

  Example:
    >>> others(3).tolist()
    [[1, 2], [0, 2], [0, 1]]
  """
  everyone = range(peers)
  rows = [[q for q in everyone if q != p] for p in everyone]
  return np.array(rows, np.int32).reshape(peers, peers - 1)


def peer_keys(rng: jax.Array, peers: int) -> jax.Array:
  """Gives each peer a key; the first has the one that a student alone has.

  Returns:
    (peers,) keys.

  Example:
    >>> peer_keys(jax.random.key(0), 3).shape
    (3,)
  """
  rest = jax.vmap(lambda p: jax.random.fold_in(rng, p))(jnp.arange(1, peers))
  return jnp.concatenate([rng[None], rest])


def check_method(method: Method) -> None:
  """Raises a ValueError for a method that needs a trained teacher.

  Args:
    method: what networks are to learn from each other by.

  Example:
    >>> from kdjax.methods import make_objective
    >>> check_method(make_objective("kd"))
  """
  if method.adopt is not None:
    raise ValueError(
      "the method takes over a trained teacher's layers, but networks that"
      " learn together have none to give; use another, or --scheme=alone"
    )


def from_several(method: Method) -> Method:
  """Lets a method learn from several teachers: the mean of its losses.

  The method's own parameters are shared; what it remembers it remembers of each
  teacher.

  Returns:
    The method; its inputs' teacher has an axis of teachers behind the batch,
    and `head` one in front.

  Example:
    >>> from kdjax.methods import make_objective
    >>> logits = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])  # (1, 2 teachers, 2)
    >>> inputs = Inputs(
    ...   Outputs(jnp.zeros((1, 2)), {}), Outputs(logits, {}), jnp.array([0]), 0
    ... )
    >>> method = from_several(make_objective("kd(temperature=1):1"))
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> print(method.apply(params, state, inputs)[0].round(4))
    0.1109
  """

  def init(rng, inputs):
    first = inputs._replace(
      teacher=jax.tree.map(lambda x: x[:, 0], inputs.teacher),
      head=jax.tree.map(lambda x: x[0], inputs.head),
    )
    count = inputs.teacher.answers.shape[1]
    params, state = method.init(rng, first)
    return params, jax.tree.map(
      lambda x: jnp.broadcast_to(x, (count, *jnp.shape(x))), state
    )

  def parts(params, state, inputs: Inputs):
    def one(state, teacher, head):
      return parts_of(method)(
        params, state, inputs._replace(teacher=teacher, head=head)
      )

    losses, state, metrics = jax.vmap(one, in_axes=(0, 1, 0))(
      state, inputs.teacher, inputs.head
    )
    mean = partial(jnp.mean, axis=0)
    return jax.tree.map(mean, losses), state, jax.tree.map(mean, metrics)

  def apply(params, state, inputs):
    losses, state, metrics = parts(params, state, inputs)
    return sum(losses.values(), jnp.float32(0.0)), state, metrics

  return method._replace(init=init, apply=apply, adopt=None, parts=parts)


def create_peers(
  network: nn.Module,
  method: Method,
  optimizer: optax.GradientTransformation,
  *,
  rng: jax.Array,
  task: Task,
  inputs: Any,
  learning_rate: jax.Array,
  peers: int,
) -> TrainState:
  """Initialises peers, each from its own key.

  Args:
    method: what will train them, of one teacher.
    rng: PRNG key; the first peer starts as a student alone with that key does.
    inputs: arrays (B, ...) that it takes, for their shape.

  Returns:
    The states at step 0, with a leading axis (peers,).
  """
  check_method(method)
  keys = peer_keys(rng, peers)
  network = as_network(network)

  def first_outputs(key):
    # As `create_state` splits it: these are the peers' own first answers.
    initial = network.init(jax.random.split(key)[0], inputs)
    outputs, _ = forward(
      network, initial, task.sample(inputs), method.teacher_taps, task
    )
    return outputs, network.classifier(initial)

  def one(key, teacher, head):
    return create_state(
      network,
      from_several(method),
      optimizer,
      rng=key,
      task=task,
      inputs=inputs,
      teacher=teacher,
      learning_rate=learning_rate,
      head=head,
    )

  return jax.vmap(one)(keys, *of_others(*jax.vmap(first_outputs)(keys)))


def of_others(
  outputs: Outputs, heads: dict | None
) -> tuple[Outputs, dict | None]:
  """Hands each peer what the others show.

  Args:
    heads: their classifiers, (peers, ...), or None.

  Returns:
    Views (peers, B, peers - 1, ...) and heads (peers, peers - 1, ...).

  Example:
    >>> outputs, _ = of_others(Outputs(jnp.zeros((3, 4, 10)), {}), None)
    >>> outputs.answers.shape
    (3, 4, 2, 10)
  """
  those = others(len(outputs.answers))
  return (
    jax.tree.map(lambda x: jnp.moveaxis(x[those], 1, 2), outputs),
    jax.tree.map(lambda x: x[those], heads),
  )
