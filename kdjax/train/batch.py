"""What a device shows its networks in one step: views, mixed images, labels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.core.task import Batch, has_weight
from kdjax.train.devices import collectives
from kdjax.train.devices.collectives import Axis
from kdjax.train.loader import BatchPlan, Loader


def make_batch(
  loader: Loader,
  targets: Any,
  stored: Any,
  step: jax.Array,
  seed: jax.Array,
  batch_plan: BatchPlan,
  axis_name: Axis = None,
) -> Batch:
  """Makes the batch that all members with one seed see.

  Args:
    targets: (N, ...) of all stored inputs.
    stored: (N, ...) these inputs; None where they are read.
    step: () int32, number of the step.
    seed: () int32, of the members.
    batch_plan: of this step, this device and this seed, so that its axes are
      (B,).
    axis_name: the mapped axis of devices that share the batch; None where one
      has all of it.
  """
  local, index = len(batch_plan.indices), batch_plan.indices
  first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * local
  positions = first + jnp.arange(local)
  plan_images = batch_plan.images
  if plan_images is None:
    plan_images = jax.tree.map(lambda x: x[index], stored)
  extra = {}
  if batch_plan.numbers is None:
    which = step_key(seed, step, 0), positions
  else:
    which = batch_plan.numbers, index
    extra["place"] = loader.rows(batch_plan)
  inputs = loader.view(which[0], plan_images, which[1])
  labels = jax.tree.map(lambda x: x[index], targets)
  weight = batch_plan.weights
  if loader.weights is None:
    weight = weight > 0
  if loader.target_view is not None:
    labels = loader.target_view(which[0], labels, which[1])
  if loader.redraw is not None:
    inputs, labels = loader.redraw(which[0], inputs, labels, which[1])
  batch = Batch(inputs, labels, weight, index, positions)
  if loader.mixing is not None:
    inputs, mixing = _mix(
      loader.mixing, step_key(seed, step, 2), batch, axis_name
    )
    batch, extra = batch._replace(inputs=inputs), extra | mixing
  if loader.teacher_view is not None:
    key = step_key(seed, step, 3)
    extra["teacher_inputs"] = loader.teacher_view(key, plan_images, positions)
  return batch._replace(extra=extra)


def step_key(seed: jax.Array, step: jax.Array, purpose: int) -> jax.Array:
  """Makes the PRNG key of a step.

  Args:
    seed: () int32, of the members.
    step: () int, number of the step.
    purpose: what for: 0 views, 1 dropout, 2 mixing, 3 the teacher's own view.
  """
  key = jax.random.fold_in(jax.random.key(seed), step)
  return jax.random.fold_in(key, purpose)


def _mix(
  mixing: Callable, key: jax.Array, batch: Batch, axis_name: Axis
) -> tuple[Any, dict[str, Any]]:
  """Mixes every example with another one of the global batch."""
  everyone = collectives.all_gather(batch.inputs, axis_name)
  targets = collectives.all_gather(batch.targets, axis_name)
  count = collectives.psum(jnp.sum(has_weight(batch.weight)), axis_name)
  inputs, partners, share = mixing(
    key, batch.inputs, batch.position, everyone, count
  )
  return inputs, {
    "share": share,
    "partner_targets": jax.tree.map(lambda x: x[partners], targets),
  }
