"""Training as a stream of epochs: many networks in one compiled program.

Networks that differ only in seed, rate, weights or temperature are members of
an arm and train side by side under `vmap`; arms (student, twin, controls) run
in the same program, an epoch in one `scan`. Each device sees its share of every
batch. Where that does not pay (`side_by_side`) members train one after the
other, a step at a time, with the same result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax import watchdog
from kdjax.method import View
from kdjax.train import devices as on_devices
from kdjax.train.epoch import Epoch, gathered, plus, portions, split
from kdjax.train.feed import (
  Arm,
  Feed,
  member_settings,
  one_by_one,
  plan_steps,
  teacher_taps,
)
from kdjax.train.learner import bring_back, lay_out
from kdjax.train.observer import UNWATCHED, Observer
from kdjax.train.shown import show, step_key
from kdjax.train.steps import unlabelled
from kdjax.train.teacher import Teacher, observe, teacher_head


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
  teachers: Mapping[str, Teacher] | None = None,
  devices: Sequence[jax.Device] | None = None,
  together: bool = True,
  gradient_metrics: bool = False,
  answers: Mapping[str, Callable[[np.ndarray], Iterator[View]]] | None = None,
  programs: dict[tuple[str, ...], tuple] | None = None,
  portion: int | None = None,
  start: Epoch | None = None,
  observer: Observer = UNWATCHED,
) -> Iterator[Epoch]:
  """Trains all members of all arms and yields after every epoch.

  An epoch is a pass over the largest feed; smaller feeds are repeated, so that
  every arm takes the same number of steps. What happens in a step depends on
  its number alone: a training that starts from a yielded epoch goes on as if it
  had never stopped, bit for bit.

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
    teachers: who teaches, by name; the arms say who learns from whom.
    devices: what to train on, by default all devices of this process. Where
      they are those of several processes, all of these call this alike.
    together: whether members train side by side, or one after the other.
    gradient_metrics: whether steps measure each term's gradient.
    answers: by teacher, rows (S, B) -> iterator of its views of the S steps'
      images, where it is read as it is needed; see `Feed.rows`.
    programs: compiled programs by the names of arms, used where they are there
      and added where not: trainings of the same arms that differ in nothing but
      settings share them.
    portion: also yield within an epoch, after at most so many steps.
    start: as it was yielded, to go on from there; None for the beginning.
    observer: who watches.

  Yields:
    The epochs, one by one.
  """
  devices = list(devices or jax.local_devices())
  groups = [dict(arms)] if together else list(one_by_one(arms))
  labels = {name: feed.labels for name, feed in feeds.items()}
  shared = on_devices.replicate((images, labels, teachers or {}), devices)
  # Members of one arm run the same program, compiled once.
  programs = {} if programs is None else programs
  length = max(feed.steps for feed in feeds.values())
  most = min(portion or length, length)
  at_once = together and read is None and not answers
  # Portions of two lengths would be two programs.
  padded = most if at_once and length % most else None
  prepared = []
  begun = None if start is None else split(start.states, groups)
  for i, group in enumerate(groups):
    if tuple(group) not in programs:
      programs[tuple(group)] = (
        _initializers(network, optimizer, group, sample),
        _compile(
          group, feeds, devices, together, gradient_metrics, bool(padded)
        ),
      )
    fixed = on_devices.replicate(member_settings(group), devices)
    if begun is None:
      states = {
        name: begin(fixed[0][name], shared[2].get(group[name].teacher))
        for name, begin in programs[tuple(group)][0].items()
      }
    else:
      states = begun[i]
    prepared.append((group, lay_out(group, states, devices), fixed))
  first, sums = (0, {}) if start is None else (start.step, start.sums)
  for steps in portions(first, epochs * length, length, most):
    done = []
    for i, (group, states, fixed) in enumerate(prepared):
      states, added = _train_group(
        programs[tuple(group)][1],
        states,
        (*shared, *fixed),
        plan_steps(
          group,
          feeds,
          *steps,
          read=read,
          at_once=at_once,
          length=padded,
          answers=answers,
          part=on_devices.portion(devices),
        ),
        len(on_devices.local(devices)),
        observer,
      )
      prepared[i] = (group, states, fixed)
      done.append((bring_back(group, states, devices), added))
    states, added = gathered(done, arms)
    sums = added if steps[0] % length == 0 else plus(sums, added)
    yield Epoch(
      number=steps[0] // length + 1,
      step=steps[1],
      ended=steps[1] % length == 0,
      examples=sum(int(np.sum(one["loss"][1])) for one in added.values()),
      states=states,
      sums=sums,
    )


def initial_states(
  network: nn.Module,
  optimizer: optax.GradientTransformation,
  arms: Mapping[str, Arm],
  *,
  sample: jax.Array,
  teachers: Mapping[str, Teacher] | None = None,
) -> dict[str, Any]:
  """Returns what `train` starts from: members with one seed start alike.

  Args:
    network: as in `train`.
    optimizer: as in `train`.
    arms: as in `train`.
    sample: as in `train`.
    teachers: as in `train`.

  Returns:
    Each arm's state with a leading axis of members.
  """
  members, _ = member_settings(arms)
  return {
    name: begin(members[name], (teachers or {}).get(arms[name].teacher))
    for name, begin in _initializers(network, optimizer, arms, sample).items()
  }


def side_by_side(network: nn.Module, sample: jax.Array, platform: str) -> bool:
  """Says whether members of an arm train faster in one program.

  XLA's convolutions on the CPU are several times slower under `vmap` over their
  weights, and ten times inside `scan`.

  Args:
    network: linen module called as `network(images, train=...)`.
    sample: (1, H, W, C) float32, for the shape of what it sees.
    platform: "cpu", "gpu" or "tpu".

  Returns:
    False for a network with convolutions on the CPU.

  Example:
    >>> from kdjax.models import make_model
    >>> mlp = make_model("mlp(4)", classes=2)
    >>> side_by_side(mlp, jnp.zeros((1, 2, 2, 1)), "cpu")
    True
  """
  if platform != "cpu":
    return True
  program = jax.make_jaxpr(
    lambda key: network.init_with_output(key, sample, train=False)[0]
  )(jax.random.key(0))
  return "conv_general_dilated" not in str(program)


def _train_group(run, states, fixed, portions, devices, observer):
  """Takes the steps of one epoch; returns the states and sums of metrics."""
  totals = []
  fed = (
    (on_devices.shard(plan, devices, axis=2), steps)
    for steps, plan in watchdog.watched(portions)
  )
  for plan, steps in observer.input(fed, lambda: on_devices.idle(totals[-1:])):
    arguments = (states, plan, steps, *fixed)
    observer.step(run, arguments)
    states, sums = run(*arguments)
    totals.append(sums)
    # At most two steps ahead of the devices: the queue must not grow.
    jax.block_until_ready(totals[-3:][0])
  with watchdog.timed():
    sums = jax.tree.map(lambda *x: sum(map(np.asarray, x)), *totals)
  return states, sums


def _compile(arms, feeds, devices, together, gradient_metrics, padded):
  """Maps the scan over a portion of steps over the devices."""
  taps = {
    (feed, teacher): teacher_taps(
      arm for arm in arms.values() if (arm.feed, arm.teacher) == (feed, teacher)
    )
    for feed, teacher in {(arm.feed, arm.teacher) for arm in arms.values()}
  }

  def run(states, plan, steps, images, labels, teachers, members, seeds):
    def body(states, portion):
      step, plan = portion
      batches = {
        name: on_devices.over_members(
          lambda seed, cut, name=name: show(
            feeds[name], labels[name], images, step, seed, cut
          ),
          seeds,
          plan[name],
        )
        for name in plan
      }
      views = {
        key: _ask(key, teachers, taps, plan, batches, step) for key in taps
      }
      results = {
        name: _step_members(
          arm,
          states[name],
          members[name],
          (batches[arm.feed], views[arm.feed, arm.teacher]),
          step,
          teachers.get(arm.teacher),
          gradient_metrics,
        )
        for name, arm in arms.items()
      }
      return (
        {name: state for name, (state, _) in results.items()},
        {name: metrics for name, (_, metrics) in results.items()},
      )

    if not together:
      # One step, and no scan: XLA's convolutions on the CPU are several times
      # slower inside one, even of length one and unrolled.
      return body(states, jax.tree.map(lambda x: x[0], (steps, plan)))
    over = _scan_begun if padded else jax.lax.scan
    states, metrics = over(body, states, (steps, plan))
    return states, jax.tree.map(lambda x: jnp.sum(x, axis=0), metrics)

  laid = {
    name: None if arm.learner.layout is None else 0
    for name, arm in arms.items()
  }
  return on_devices.parallel(
    run,
    devices,
    sharded=(1,),
    donated=(0,),
    partly={0: laid},
    returned=(laid, None),
  )


def _scan_begun(body, states, portion):
  """As `jax.lax.scan`, up to the first step that is below 0; zeros behind it."""
  steps, _ = portion
  body = jax.jit(body, inline=True)  # traced once for its shape and its steps

  def at(i):
    return jax.tree.map(lambda x: x[i], portion)

  def one(i, carry):
    states, rows = carry
    states, row = body(states, at(i))
    return states, jax.tree.map(lambda x, new: x.at[i].set(new), rows, row)

  rows = jax.tree.map(
    lambda x: jnp.zeros((len(steps), *x.shape), x.dtype),
    jax.eval_shape(body, states, at(0))[1],
  )
  return jax.lax.fori_loop(0, jnp.sum(steps >= 0), one, (states, rows))


def _ask(key, teachers, taps, plan, batches, step) -> View | None:
  """Shows what a teacher makes of a feed's batches, or what was read of it."""
  feed, name = key
  if name in plan[feed].answers:
    return plan[feed].answers[name]
  return on_devices.over_members(
    lambda batch: observe(teachers.get(name), batch, taps[key], step=step),
    batches[feed],
  )


def _step_members(arm, states, members, shown, step, teacher, gradient_metrics):
  """Takes one step of every member on what its seed is shown."""
  head = teacher_head(teacher)
  if arm.learner.layout is not None:
    states = arm.learner.layout.exchange(states, step, on_devices.AXIS)

  def one(state, settings):
    batch, seen = jax.tree.map(lambda x: x[settings["place"]], shown)
    return arm.learner.step(
      state,
      arm.method(settings),
      batch,
      seen,
      rng=step_key(settings["seed"], step, 1),
      axis_name=on_devices.AXIS,
      head=head,
      gradient_metrics=gradient_metrics,
    )

  return on_devices.over_members(one, states, members)


def _initializers(network, optimizer, arms, sample):
  """By arm, (settings of its members, teacher) -> their states."""

  def initializer(arm):
    taps = teacher_taps([arm])

    def one(settings, teacher):
      return arm.learner.create(
        network,
        arm.method(settings),
        optimizer,
        # Steps count from 0: the initialisation has a step of its own.
        rng=step_key(settings["seed"], jnp.uint32(2**32 - 1), 0),
        images=sample,
        teacher=observe(teacher, unlabelled(sample), taps),
        learning_rate=settings["learning_rate"],
        head=teacher_head(teacher),
      )

    return jax.jit(jax.vmap(one, in_axes=(0, None)))

  return {name: initializer(arm) for name, arm in arms.items()}
