"""What a device shows its networks in one step: views, mixed images, labels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdjax.train.devices import collectives
from kdjax.train.devices.collectives import Axis
from kdjax.train.loader import BatchPlan, Loader
from kdjax.train.step import Batch


def make_batch(
  loader: Loader,
  labels: jax.Array,
  images: jax.Array | None,
  step: jax.Array,
  seed: jax.Array,
  batch_plan: BatchPlan,
  axis_name: Axis = None,
) -> Batch:
  """Makes the batch that all members with one seed see.

  Args:
    loader: what is shown.
    labels: (N,) int32 of all stored images.
    images: (N, H, W, C) these images; None where they are read.
    step: () int32, number of the step.
    seed: () int32, of the members.
    batch_plan: of this step, this device and this seed, so that its axes are
      (B,).
    axis_name: the mapped axis of devices that share the batch; None where one
      has all of it.

  Returns:
    The device's share of the batch.
  """
  local, index = len(batch_plan.indices), batch_plan.indices
  first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * local
  positions = first + jnp.arange(local)
  stored = images[index] if batch_plan.images is None else batch_plan.images
  if batch_plan.numbers is None:
    seen = loader.view(step_key(seed, step, 0), stored, positions)
  else:
    seen = loader.view(batch_plan.numbers, stored, index)
  batch = Batch(seen, labels[index], batch_plan.weights > 0, index, positions)
  if batch_plan.numbers is not None:
    batch = batch._replace(numbered=loader.rows(batch_plan))
  if loader.mixing is not None:
    batch = _mix(loader.mixing, step_key(seed, step, 2), batch, axis_name)
  if loader.teacher_view is None:
    return batch
  other = loader.teacher_view(step_key(seed, step, 3), stored, positions)
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


def _mix(
  mixing: Callable, key: jax.Array, batch: Batch, axis_name: Axis
) -> Batch:
  """Mixes every example with another one of the global batch."""
  everyone = collectives.all_gather(batch.images, axis_name)
  labels = collectives.all_gather(batch.labels, axis_name)
  count = collectives.psum(jnp.sum(batch.mask), axis_name)
  images, partners, share = mixing(
    key, batch.images, batch.positions, everyone, count
  )
  return batch._replace(
    images=images, share=share, partner_labels=labels[partners]
  )
