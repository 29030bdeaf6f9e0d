"""What a device shows its networks in one step: views, mixed images, labels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdjax.train import devices as on_devices
from kdjax.train.feed import Cut, Feed
from kdjax.train.steps import Batch


def show(
  feed: Feed,
  labels: jax.Array,
  images: jax.Array | None,
  step: jax.Array,
  seed: jax.Array,
  cut: Cut,
) -> Batch:
  """Makes the batch that all members with one seed see.

  Args:
    feed: what is shown.
    labels: (N,) int32 of all stored images.
    images: (N, H, W, C) these images; None where they are read.
    step: () int32, number of the step.
    seed: () int32, of the members.
    cut: of this step, this device and this seed, so that its axes are (B,).

  Returns:
    The device's share of the batch.
  """
  local, index = len(cut.indices), cut.indices
  positions = jax.lax.axis_index(on_devices.AXIS) * local + jnp.arange(local)
  stored = images[index] if cut.images is None else cut.images
  if cut.numbers is None:
    seen = feed.view(step_key(seed, step, 0), stored, positions)
  else:
    seen = feed.view(cut.numbers, stored, index)
  batch = Batch(seen, labels[index], cut.weights > 0, index, positions)
  if cut.numbers is not None:
    batch = batch._replace(numbered=feed.rows(cut))
  if feed.mixing is not None:
    batch = _mix(feed.mixing, step_key(seed, step, 2), batch)
  if feed.teacher_view is None:
    return batch
  other = feed.teacher_view(step_key(seed, step, 3), stored, positions)
  return batch._replace(teacher_images=other)


def step_key(seed: jax.Array, step: jax.Array, purpose: int) -> jax.Array:
  """Makes the PRNG key of a step.

  Args:
    seed: () int32, of the members.
    step: () int, number of the step.
    purpose: what for: 0 views, 1 dropout, 2 mixing, 3 the teacher's own view.

  Returns:
    The key.
  """
  key = jax.random.fold_in(jax.random.key(seed), step)
  return jax.random.fold_in(key, purpose)


def _mix(mixing: Callable, key: jax.Array, batch: Batch) -> Batch:
  """Mixes every example with another one of the global batch."""
  everyone, labels = jax.lax.all_gather(
    (batch.images, batch.labels), on_devices.AXIS, tiled=True
  )
  count = jax.lax.psum(jnp.sum(batch.mask), on_devices.AXIS)
  images, partners, share = mixing(
    key, batch.images, batch.positions, everyone, count
  )
  return batch._replace(
    images=images, share=share, partner_labels=labels[partners]
  )
