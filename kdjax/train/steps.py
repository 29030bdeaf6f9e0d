"""One training step on one device: who learns what from whom.

Steps are written per device. They reduce over the devices themselves, as
(sum, count), so that ragged batches and any number of devices agree.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.method import Inputs, Method, Metrics, View
from kdjax.train.dropout import by_example
from kdjax.train.state import TrainState, variables


class Batch(NamedTuple):
  """One device's share of a batch.

  Attributes:
    images: (B, H, W, C) float32, as the networks see them.
    labels: (B,) int32, -1 where an example has no label.
    mask: (B,) bool, False for the padding of a ragged batch.
    index: (B,) int32, place in the training set.
    positions: (B,) int32, place in the global batch.
  """

  images: jax.Array
  labels: jax.Array
  mask: jax.Array
  index: jax.Array
  positions: jax.Array


class Teacher(NamedTuple):
  """A frozen teacher: its network, or its stored answers where they suffice.

  Attributes:
    state: the teacher's TrainState; None where `logits` are given.
    logits: (N, C) float32 of the whole training set, or None. They stand for
      the network where the student's images are not augmented.
  """

  state: TrainState | None
  logits: jax.Array | None = None


def observe(
  teacher: Teacher | None, images: jax.Array, index: jax.Array
) -> View | None:
  """Shows what the teacher makes of a batch, without dropout or updates.

  Args:
    teacher: the teacher, or None.
    images: (B, H, W, C) float32.
    index: (B,) int32, place of each image in the training set.

  Returns:
    The teacher's view, a constant; None without a teacher.
  """
  if teacher is None:
    return None
  if teacher.logits is not None:
    return View(teacher.logits[index], {})
  logits = teacher.state.apply_fn(variables(teacher.state), images, train=False)
  return jax.lax.stop_gradient(View(logits, {}))


def take_step(
  state: TrainState,
  method: Method,
  batch: Batch,
  teacher: View | None,
  *,
  rng: jax.Array,
  axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
  """Takes one step of gradient descent on a method's loss.

  With a method that reads only labels this is supervised training.

  Args:
    state: the student's state.
    method: the loss.
    batch: this device's share of the batch.
    teacher: the teacher's view of it, or None.
    rng: PRNG key of this step, the same on all devices.
    axis_name: the mapped axis of devices; None outside of one.

  Returns:
    The new state, and metrics over the global batch as (sum, count): "loss",
    "accuracy" and the method's own.
  """
  count = jnp.sum(batch.mask, dtype=jnp.float32)
  total = _sum(count, axis_name)
  share = count / jnp.maximum(total, 1.0)

  def objective(params):
    logits, collections = _train_forward(state, params, batch, rng)
    inputs = Inputs(
      View(logits, {}),
      teacher,
      batch.labels,
      state.step,
      batch.mask,
      batch.index,
    )
    weight = share
    if method.couples_batch and axis_name is not None:
      inputs = _gather(inputs, axis_name)
      # Every device holds the whole batch's loss; together they hold it once.
      weight = 1.0 / jax.lax.psum(1.0, axis_name)
    loss, method_state, metrics = method.apply(
      params["method"], state.method_state, inputs
    )
    metrics = metrics | {"loss": (loss * count, count)}
    return weight * loss, (logits, collections, method_state, metrics)

  grads, aux = jax.grad(objective, has_aux=True)(state.params)
  logits, collections, method_state, metrics = aux
  correct = jnp.argmax(logits, axis=-1) == batch.labels
  known = batch.mask & (batch.labels >= 0)
  metrics["accuracy"] = (jnp.sum(correct & known), jnp.sum(known))
  state = state.apply_gradients(grads=_sum(grads, axis_name)).replace(
    collections=_sum(
      jax.tree.map(lambda x: x * share.astype(x.dtype), collections), axis_name
    )
    if axis_name is not None
    else collections,
    method_state=method_state,
  )
  return state, _sum(metrics, axis_name)


def _train_forward(state, params, batch, rng):
  with nn.intercept_methods(by_example(batch.positions)):
    return state.apply_fn(
      variables(state, params),
      batch.images,
      train=True,
      rngs={"dropout": rng},
      mutable=list(state.collections),
    )


def _sum(tree, axis_name):
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def _gather(inputs: Inputs, axis_name: str) -> Inputs:
  """Collects the global batch; the step counter is everyone's already."""

  def collect(x):
    return jax.lax.all_gather(x, axis_name, axis=0, tiled=True)

  return jax.tree.map(collect, inputs._replace(step=None))._replace(
    step=inputs.step
  )
