"""One training step on one device: who learns what from whom.

Steps are written per device. They reduce over the devices themselves, as
(sum, count), so that ragged batches and any number of devices agree.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.core.method import Inputs, Method, Metrics, Outputs
from kdjax.taps import tapped
from kdjax.train import gradients
from kdjax.train.accumulate import over_pieces
from kdjax.train.devices import collectives
from kdjax.train.devices.batch_norm import over_the_batch
from kdjax.train.devices.collectives import Axis
from kdjax.train.devices.dropout import by_example
from kdjax.train.state import TrainState, classifier, descend, variables


class Batch(NamedTuple):
  """One device's share of a batch.

  Attributes:
    images: (B, H, W, C) float32, as the networks see them.
    labels: (B,) int32, -1 where an example has no label.
    mask: (B,) bool, False for the padding of a ragged batch.
    index: (B,) int32, place in the training set.
    positions: (B,) int32, place in the global batch.
    share: (B,) float32, of each image that is its own, where it is mixed with
      a partner; else None.
    partner_labels: (B,) int32, the partners' labels; None likewise.
    teacher_images: what the teacher sees, where it sees something else.
    numbered: (B,) int32, place of each view among all views of all images,
      view * N + index; None where views have no number.
  """

  images: jax.Array
  labels: jax.Array
  mask: jax.Array
  index: jax.Array
  positions: jax.Array
  share: jax.Array | None = None
  partner_labels: jax.Array | None = None
  teacher_images: jax.Array | None = None
  numbered: jax.Array | None = None

  @property
  def rows(self) -> jax.Array:
    """Where a table of stored answers has these images, modulo its length."""
    return self.index if self.numbered is None else self.numbered

  @property
  def taught(self) -> jax.Array:
    """The images that the teacher sees."""
    if self.teacher_images is None:
      return self.images
    return self.teacher_images

  @property
  def majority(self) -> jax.Array:
    """The label (B,) of what most of an image shows."""
    if self.share is None:
      return self.labels
    return jnp.where(self.share >= 0.5, self.labels, self.partner_labels)


def unlabelled_batch(
  images: jax.Array, index: jax.Array | None = None
) -> Batch:
  """Makes a batch of images of which nothing else is known.

  Args:
    images: (B, H, W, C) float32.
    index: (B,) int32, place in the training set; in order by default.

  Returns:
    The batch; all of it counts.

  Example:
    >>> unlabelled_batch(jnp.zeros((2, 4, 4, 1))).labels
    Array([-1, -1], dtype=int32)
  """
  places = jnp.arange(images.shape[0], dtype=jnp.int32)
  return Batch(
    images,
    jnp.full_like(places, -1),
    jnp.ones(places.shape, bool),
    places if index is None else index,
    places,
  )


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
    "accuracy" and the method's own.

  Raises:
    ValueError: at trace time, for pieces of what cannot be cut.
  """
  count = jnp.sum(batch.mask, dtype=jnp.float32)
  total = jnp.maximum(collectives.psum(count, axis_name), 1.0)
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
      total,
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
  total,
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
  count = jnp.sum(batch.mask, dtype=jnp.float32)
  share = count / total

  def objective(params):
    outputs, collections = train_forward(
      state, params, method.student_taps, batch, rng, axis_name
    )
    inputs = Inputs(
      outputs,
      teacher,
      batch.labels,
      state.step,
      batch.mask,
      batch.index,
      head,
      classifier(params["network"]),
      batch.share,
      batch.partner_labels,
    )
    weight = share
    if method.couples_batch and axis_name is not None:
      inputs = gather(inputs, axis_name)
      # Every device holds the whole batch's loss; together they hold it once.
      weight = 1.0 / collectives.psum(1.0, axis_name)
    losses, method_state, metrics = gradients.parts_of(method)(
      params["method"], state.method_state, inputs
    )
    metrics = metrics | {"loss": (sum(losses.values()) * count, count)}
    losses = {name: weight * value for name, value in losses.items()}
    return losses, (outputs.answers, collections, method_state, metrics)

  if gradient_metrics:
    grads, aux, measured = gradients.by_term(
      objective, state.params, lambda tree: collectives.psum(tree, axis_name)
    )
  else:
    (grads, aux), measured = gradients.of_sum(objective, state.params), {}
  logits, collections, method_state, metrics = aux
  metrics |= measured | {"accuracy": _correct(logits, batch)}
  return (grads, metrics), _weighted(collections, share), method_state


def _correct(logits, batch) -> tuple[jax.Array, jax.Array]:
  correct = jnp.argmax(logits, axis=-1) == batch.majority
  known = batch.mask & (batch.majority >= 0)
  return jnp.sum(correct & known), jnp.sum(known)


def train_forward(
  state: TrainState,
  params: Any,
  taps: Sequence[str],
  batch: Batch,
  rng: jax.Array,
  axis_name: Axis,
) -> tuple[Outputs, dict]:
  """Shows a network a batch as it sees it while it learns.

  Args:
    state: the network's.
    params: the parameters to use, of the form of the state's.
    taps: which features to show.
    batch: this device's share of the batch.
    rng: PRNG key of this step, the same on all devices.
    axis_name: as in `take_step`.

  Returns:
    Its view, and its collections (batch statistics) after that.
  """
  with (
    nn.intercept_methods(by_example(batch.positions)),
    nn.intercept_methods(over_the_batch(batch.mask, axis_name)),
  ):
    (logits, collections), feats = tapped(state.apply_fn, taps)(
      variables(state, params),
      batch.images,
      train=True,
      rngs={"dropout": rng},
      mutable=list(state.collections),
    )
  return Outputs(logits, feats), collections


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
    inputs: of one device.
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
