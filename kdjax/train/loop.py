"""Training as a stream of epochs: many networks in one compiled program.

Networks that differ only in seed, rate, weights or temperature are members of
an arm and train side by side under `vmap`; arms (student, twin, controls) run
in the same program. Each device sees its share of every batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.method import Method
from kdjax.train import devices as on_devices
from kdjax.train.state import TrainState, create_state
from kdjax.train.steps import Batch, Teacher, observe, take_step

# One value a member: "seed", "learning_rate" and what the arm's method reads.
Settings = Mapping[str, Any]


class Feed(NamedTuple):
  """What a group of networks is shown.

  Attributes:
    batches: (seed, start, stop) -> indices (S, B) and weights (S, B) of the
      steps start..stop-1; weight 0 marks the padding of a ragged batch.
    steps: steps in one pass over the feed's examples.
    labels: (N,) int32 over the whole training set, -1 where hidden.
    view: (key, stored images, positions) -> float32 images, augmented.
  """

  batches: Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]
  steps: int
  labels: np.ndarray
  view: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class Arm(NamedTuple):
  """Networks trained alike, but for the settings of each.

  Attributes:
    feed: name of the feed that they are shown.
    method: settings of one member -> the method that trains it.
    settings: by name, an array (M,), one value a member.
  """

  feed: str
  method: Callable[[Settings], Method]
  settings: Settings


class Epoch(NamedTuple):
  """What one epoch leaves behind.

  Attributes:
    number: from 1.
    step: steps taken so far.
    examples: examples that all members together have seen in this epoch.
    states: each arm's TrainState with a leading axis of members. The next
      epoch reuses its memory: copy what must be kept.
    metrics: by arm and name, the epoch's mean of each member, (M,).
  """

  number: int
  step: int
  examples: int
  states: dict[str, TrainState]
  metrics: dict[str, dict[str, np.ndarray]]


def train(
  network: nn.Module,
  optimizer: optax.GradientTransformation,
  arms: Mapping[str, Arm],
  feeds: Mapping[str, Feed],
  images: np.ndarray | None,
  *,
  epochs: int,
  sample: jax.Array,
  read: Callable[[np.ndarray], Iterator[np.ndarray]] | None = None,
  teacher: Teacher | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> Iterator[Epoch]:
  """Trains all members of all arms and yields after every epoch.

  An epoch is a pass over the largest feed; smaller feeds are repeated, so that
  every arm takes the same number of steps.

  Args:
    network: linen module called as `network(images, train=...)`.
    optimizer: from `make_optimizer`, made for all steps of the training.
    arms: who learns from what, by name.
    feeds: what is shown, by name.
    images: (N, H, W, C) stored images of the whole training set, kept on every
      device; None for a set that is read as it is needed.
    epochs: how many.
    sample: (1, H, W, C) float32, for the shape of what networks see.
    read: indices (S, B) -> iterator of the S steps' stored images, where
      `images` is None.
    teacher: who teaches, or None.
    devices: local devices; all of them by default.

  Yields:
    The epochs, one by one.
  """
  devices = list(devices or jax.local_devices())
  seeds = np.unique(
    np.concatenate([arm.settings["seed"] for arm in arms.values()])
  )
  run = _compile(arms, feeds, devices)
  labels = {name: feed.labels for name, feed in feeds.items()}
  members = {name: _members(arm, seeds) for name, arm in arms.items()}
  fixed = on_devices.replicate(
    (images, labels, teacher, members, seeds), devices
  )
  states = {
    name: _initial_states(
      network, optimizer, arm, members[name], sample, fixed[2]
    )
    for name, arm in arms.items()
  }
  states = on_devices.replicate(states, devices)
  length = max(feed.steps for feed in feeds.values())
  for number in range(1, epochs + 1):
    start, stop = (number - 1) * length, number * length
    totals = []
    for steps, plan in _portions(feeds, seeds, start, stop, read):
      states, sums = run(
        states, on_devices.shard(plan, len(devices), axis=2), steps, *fixed
      )
      totals.append(sums)
      # At most two steps ahead of the devices: the queue must not grow.
      jax.block_until_ready(totals[-3:][0])
    added = jax.tree.map(lambda *x: sum(np.asarray(y) for y in x), *totals)
    examples = sum(int(np.sum(one["loss"][1])) for one in added.values())
    yield Epoch(number, stop, examples, states, _means(added))


def _compile(arms, feeds, devices):
  """Maps the scan over a portion of steps over the devices."""

  def run(states, plan, steps, images, labels, teacher, members, seeds):
    def body(states, portion):
      step, plan = portion
      shown = {
        name: jax.vmap(
          lambda seed, cut, name=name: _show(
            feeds[name], labels[name], images, teacher, step, seed, *cut
          )
        )(seeds, plan[name])
        for name in feeds
      }
      results = {
        name: _step_members(
          arm, states[name], members[name], shown[arm.feed], step
        )
        for name, arm in arms.items()
      }
      return (
        {name: state for name, (state, _) in results.items()},
        {name: metrics for name, (_, metrics) in results.items()},
      )

    states, metrics = jax.lax.scan(body, states, (steps, plan))
    return states, jax.tree.map(lambda x: jnp.sum(x, axis=0), metrics)

  return on_devices.parallel(run, devices, sharded=(1,), donated=(0,))


def _show(feed, labels, images, teacher, step, seed, indices, weights, read):
  """Makes the batch that all members with one seed see, and the teacher's view."""
  local = indices.shape[0]
  positions = jax.lax.axis_index(on_devices.AXIS) * local + jnp.arange(local)
  stored = images[indices] if read is None else read
  seen = feed.view(_step_key(seed, step, 0), stored, positions)
  batch = Batch(seen, labels[indices], weights > 0, indices, positions)
  return batch, observe(teacher, seen, indices)


def _step_members(arm, states, members, shown, step):
  """Takes one step of every member on what its seed is shown."""

  def one(state, settings):
    batch, teacher = jax.tree.map(lambda x: x[settings["place"]], shown)
    return take_step(
      state,
      arm.method(settings),
      batch,
      teacher,
      rng=_step_key(settings["seed"], step, 1),
      axis_name=on_devices.AXIS,
    )

  return jax.vmap(one)(states, members)


def _step_key(seed, step, purpose):
  key = jax.random.fold_in(jax.random.key(seed), step)
  return jax.random.fold_in(key, purpose)


def _initial_states(network, optimizer, arm, members, sample, teacher):
  def one(settings):
    return create_state(
      network,
      arm.method(settings),
      optimizer,
      # Steps count from 0: the initialisation has a step of its own.
      rng=_step_key(settings["seed"], jnp.uint32(2**32 - 1), 0),
      images=sample,
      teacher=observe(teacher, sample, jnp.zeros(1, jnp.int32)),
      learning_rate=settings["learning_rate"],
    )

  return jax.jit(jax.vmap(one))(members)


def _members(arm: Arm, seeds: np.ndarray) -> dict[str, np.ndarray]:
  """Adds each member's place among the seeds whose batches are made."""
  settings = {
    name: np.asarray(values, np.int32 if name == "seed" else np.float32)
    for name, values in arm.settings.items()
  }
  return settings | {"place": np.searchsorted(seeds, settings["seed"])}


def _portions(feeds, seeds, start, stop, read):
  """Yields (step numbers, plan) an epoch at once, or a step at a time if read.

  A plan holds, for every feed, indices, weights and read images with the axes
  (steps, seeds, batch).
  """
  plan = {}
  for name, feed in feeds.items():
    cut = [feed.batches(int(seed), start, stop) for seed in seeds]
    indices, weights = (np.stack(x, axis=1) for x in zip(*cut, strict=True))
    plan[name] = (indices, weights)
  steps = np.arange(start, stop)
  if read is None:
    yield steps, {name: (*cut, None) for name, cut in plan.items()}
    return
  streams = {
    name: read(indices.reshape(len(steps), -1))
    for name, (indices, _) in plan.items()
  }
  for i in range(len(steps)):
    portion = {}
    for name, (indices, weights) in plan.items():
      flat = next(streams[name])
      stored = flat.reshape(1, *indices.shape[1:], *flat.shape[1:])
      portion[name] = (indices[i : i + 1], weights[i : i + 1], stored)
    yield steps[i : i + 1], portion


def _means(added) -> dict[str, dict[str, np.ndarray]]:
  """Divides the sums of all portions by their counts."""
  return {
    arm: {
      name: total / np.maximum(count, 1)
      for name, (total, count) in metrics.items()
    }
    for arm, metrics in added.items()
  }
