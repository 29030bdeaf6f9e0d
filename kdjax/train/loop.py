"""Training as a stream of epochs: many networks in one compiled program.

Networks that differ only in seed, rate, weights or temperature are members of
an arm and train side by side under `vmap`; arms (student, baseline, controls)
run in the same program, an epoch in one `scan`. Each device sees its share of
every batch, or has members of its own that see whole ones. Where memory is
short groups of members take turns. Where all that does not pay (`side_by_side`)
members train one after the other, a step at a time. The result is the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.calling import call_with
from kdjax.core.method import Outputs
from kdjax.core.task import Task
from kdjax.core.teacher import (
  Teacher,
  check_answered,
  in_rows,
  observe,
  teacher_head,
)
from kdjax.train.arm import Arm, asked_taps, plan_steps, teacher_taps
from kdjax.train.batch import make_batch, step_key
from kdjax.train.devices import placement as on_devices
from kdjax.train.devices.rules import Partition
from kdjax.train.epoch import Epoch, plus, portions
from kdjax.train.loader import Loader
from kdjax.train.observer import UNWATCHED, Observer
from kdjax.train.population.arrangement import over_devices, over_mesh
from kdjax.train.population.groups import groups_of, is_grid, join_groups
from kdjax.train.population.offload import (
  by_device,
  first_states,
  make_waves,
  take_turn,
)


def train(
  network: nn.Module,
  optimizer: optax.GradientTransformation,
  arms: Mapping[str, Arm],
  loaders: Mapping[str, Loader],
  images: np.ndarray | None,
  *,
  epochs: int,
  task: Task,
  sample: Any,
  read: Callable[[np.ndarray], Iterator[np.ndarray]] | None = None,
  teachers: Mapping[str, Teacher] | None = None,
  devices: Sequence[jax.Device] | None = None,
  together: bool = True,
  most: int | None = None,
  apart: bool = False,
  partition: Partition | None = None,
  gradient_metrics: bool = False,
  answers: Mapping[str, Callable[[np.ndarray], Iterator[Outputs]]]
  | None = None,
  programs: dict[tuple, tuple] | None = None,
  portion: int | None = None,
  variables: Mapping[str, Any] | None = None,
  start: Epoch | None = None,
  observer: Observer = UNWATCHED,
) -> Iterator[Epoch]:
  """Trains all members of all arms and yields after every epoch.

  An epoch is a pass over the largest loader; smaller ones are repeated, so that
  every arm takes the same number of steps. What happens in a step depends
  on its number alone: a training that starts from a yielded epoch goes on as if
  it had never stopped, bit for bit.

  Args:
    network: linen module called as `network(images, train=...)`.
    optimizer: from `make_optimizer`, made for all steps of the training.
    arms: who learns from what, by name.
    loaders: what is shown, by name.
    images: (N, ...) stored inputs of the whole training set, kept on every device;
      None for a set that is read as it is needed.
    epochs: how many.
    task: what the answers mean.
    sample: inputs (1, ...), for their shape.
    read: indices (S, B) -> iterator of the S steps' images, where `images` is None.
    teachers: who teaches, by name; the arms say who learns from whom.
    devices: what to train on, by default all devices of this process. Where
      they are those of several processes, all of these call this alike.
    together: whether members train side by side, or one after the other.
    most: members that a device trains side by side; None for all. The others
      wait their turn on the host, from portion to portion.
    apart: whether each device has members of its own, and not its share of
      everybody's batches; of a single process.
    partition: a mesh of all the devices, and how the networks' arrays are cut
      over it; None where every device has all of them.
    gradient_metrics: whether steps measure each term's gradient.
    answers: by teacher, rows (S, B) -> iterator of its views of the S steps'
      images, where it is read as it is needed; see `Loader.rows`.
    programs: compiled programs, used where they are there and added where not:
      trainings of the same arms that differ in nothing but
      settings share them.
    portion: also yield within an epoch, after at most so many steps.
    variables: by arm, what its networks begin with; those of other arms are
      drawn, each from its seed.
    start: as it was yielded, to go on from there; None for the beginning.
    observer: who watches.

  Yields:
    The epochs, one by one.
  """
  devices = list(devices or jax.local_devices())
  owners = len(devices) if apart else 1
  groups = groups_of(arms, most=most if together else 1, parts=owners)
  groups = list(map(by_device, groups)) if apart else groups
  arranged = over_devices(devices, apart=apart)
  if partition is not None:
    arranged = over_mesh(partition)
  targets = {name: loader.targets for name, loader in loaders.items()}
  shared = (
    *arranged.data((images, targets)),
    arranged.teachers(teachers or {}),
  )
  # Members of one arm run the same program, compiled once.
  programs = {} if programs is None else programs
  length = max(loader.steps for loader in loaders.values())
  size = min(portion or length, length)
  at_once = together and read is None and not answers
  # Portions of two lengths would be two programs.
  padded = size if at_once and length % size else None
  grid = all(map(is_grid, groups))
  options = (together, gradient_metrics, grid, padded is not None)
  for group in groups:
    key = (*group.arms, grid)
    if key not in programs:
      programs[key] = (
        arranged.begin(
          _initializer(network, optimizer, group.arms, task, sample)
        ),
        _compile(group.arms, loaders, task, arranged, *options),
      )
  arm_programs = [programs[*group.arms, grid] for group in groups]
  # One call a step is a long portion: its beginning outlives it.
  waits = len(groups) > 1 or not together
  waves = make_waves(
    groups, arm_programs, shared, variables or {}, start, arranged, waits=waits
  )
  first, sums = (0, {}) if start is None else (start.step, start.sums)
  for steps in portions(first, epochs * length, length, size):
    finished = []
    for i, wave in enumerate(waves):
      plan = plan_steps(
        wave.group.arms,
        loaders,
        wave.group.seeds.ravel(),
        *steps,
        read=read,
        at_once=at_once,
        length=padded,
        answers=answers,
        part=arranged.part,
      )
      waves[i], states_and_sums = take_turn(wave, plan, arranged, observer)
      finished.append(states_and_sums)
    states, added = join_groups(finished, groups, arms)
    for teacher in (teachers or {}).values():
      check_answered(teacher)
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
  task: Task,
  sample: Any,
  teachers: Mapping[str, Teacher] | None = None,
  variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Returns what `train` starts from: members with one seed start alike.

  Args:
    variables: as `train` takes them.

  Returns:
    Each arm's state with a leading axis of members.
  """
  (group,) = groups_of(arms)
  begin = _initializer(network, optimizer, arms, task, sample)
  return first_states(group, jax.jit(begin), teachers or {}, variables or {})


def side_by_side(network: nn.Module, sample: Any, platform: str) -> bool:
  """Says whether members of an arm train faster in one program.

  XLA's convolutions on the CPU are several times slower under `vmap` over their
  weights, and ten times inside `scan`.

  Args:
    sample: (1, ...) inputs, for their shape.

  Returns:
    False for a network with convolutions on the CPU.
  """
  if platform != "cpu":
    return True
  see = partial(call_with, network.init_with_output, train=False)
  program = jax.make_jaxpr(see)(jax.random.key(0), sample)
  return "conv_general_dilated" not in str(program)


def _compile(
  arms, loaders, task, arranged, together, gradient_metrics, grid, padded
):
  """Compiles the scan over a portion of steps, for all devices."""
  taps = asked_taps(arms)
  axis_name = arranged.axis_name

  def run(states, plan, steps, stored, targets, teachers, members, seeds):
    def body(states, portion):
      step, plan = portion
      batches = {
        name: arranged.batches(
          on_devices.over_members(
            lambda seed, batch_plan, name=name: make_batch(
              loaders[name],
              targets[name],
              stored,
              step,
              seed,
              batch_plan,
              axis_name,
            ),
            seeds,
            plan[name],
          )
        )
        for name in plan
      }
      outputs = {
        key: _ask(key, teachers, taps, plan, batches, step, task)
        for key in taps
      }
      results = {
        name: _step_members(
          arm,
          states[name],
          members[name],
          (batches[arm.loader], outputs.get((arm.loader, arm.teacher))),
          step,
          teachers.get(arm.teacher),
          gradient_metrics,
          axis_name,
          grid,
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

  return arranged.compile(run, arms)


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


def _ask(key, teachers, taps, plan, batches, step, task) -> Outputs | None:
  """What a teacher makes of a loader's batches, or what was read of it."""
  loader, name = key
  if name in plan[loader].answers:
    return on_devices.over_members(
      lambda outputs, batch: in_rows(outputs, batch, task),
      plan[loader].answers[name],
      batches[loader],
    )
  return on_devices.over_members(
    lambda batch: observe(
      teachers.get(name), batch, taps[key], step=step, task=task
    ),
    batches[loader],
  )


def _step_members(
  arm,
  states,
  members,
  batches,
  step,
  teacher,
  gradient_metrics,
  axis_name,
  grid,
):
  """Takes one step of every member on what its seed is shown."""
  head = teacher_head(teacher)
  if arm.scheme.layout is not None:
    states = arm.scheme.layout.exchange(states, step, axis_name)

  def step_member(state, settings, inputs):
    batch, teacher_outputs = inputs
    return arm.scheme.step(
      state,
      arm.method(settings),
      batch,
      teacher if arm.scheme.asks else teacher_outputs,
      rng=step_key(settings["seed"], step, 1),
      axis_name=axis_name,
      head=head,
      gradient_metrics=gradient_metrics,
    )

  if grid:
    return on_devices.over_grid(step_member, states, members, batches)

  def step_at_place(state, settings):
    batch = jax.tree.map(lambda x: x[settings["place"]], batches)
    return step_member(state, settings, batch)

  return on_devices.over_members(step_at_place, states, members)


def _initializer(network, optimizer, arms, task, sample):
  """(settings of the members by arm, teachers, variables) -> states by arm.

  To be one program: arms that start alike are compiled once.
  """

  def start(arm, members, teacher, variables):
    batch = task.sample(sample)
    teacher_outputs = observe(teacher, batch, teacher_taps([arm]), task=task)

    def one(settings):
      return arm.scheme.create(
        network,
        arm.method(settings),
        optimizer,
        # Steps count from 0: the initialisation has a step of its own.
        rng=step_key(settings["seed"], jnp.uint32(2**32 - 1), 0),
        task=task,
        inputs=sample,
        teacher=teacher_outputs,
        learning_rate=settings["learning_rate"],
        head=teacher_head(teacher),
        **({} if variables is None else {"variables": variables}),
      )

    return jax.vmap(one)(members)

  def begin(members, teachers, variables):
    return {
      name: start(
        arm, members[name], teachers.get(arm.teacher), variables.get(name)
      )
      for name, arm in arms.items()
    }

  return begin
