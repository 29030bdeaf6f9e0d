"""Groups of members take turns on the devices, a portion of steps each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.teacher import Teacher
from kdjax.train.devices import global_arrays, watchdog
from kdjax.train.devices import placement as on_devices
from kdjax.train.epoch import Epoch
from kdjax.train.observer import Observer
from kdjax.train.population.arrangement import Arrangement
from kdjax.train.population.groups import Group, member_settings, split
from kdjax.train.schemes.scheme import by_members


class Wave(NamedTuple):
  """A group with its program.

  Attributes:
    group: who trains.
    run: the program.
    fixed: what stays on the devices: images, labels, teachers, settings, seeds.
    states: laid over the devices or, where it waits for its turn, on the host.
    waits: whether its states are on the host between portions: groups take
      turns, or a portion is many calls.
  """

  group: Group
  run: Callable
  fixed: tuple
  states: dict[str, Any]
  waits: bool


def by_device(group: Group) -> Group:
  """Lays every arm's members over the devices.

  Args:
    group: with as many parts as there are devices.
  """
  arms = {
    name: arm._replace(scheme=by_members(arm.scheme))
    for name, arm in group.arms.items()
  }
  return group._replace(arms=arms, apart=True)


def first_states(
  group: Group,
  begin: Callable,
  teachers: Mapping[str, Teacher],
  variables: Mapping[str, Any],
) -> dict[str, Any]:
  """Makes the states that a group begins with.

  Args:
    begin: (settings of its members by arm, teachers, variables) -> their states.
    variables: by arm, what its networks begin with where it is not drawn.

  Returns:
    By arm, with a leading axis of members.
  """
  members, _ = member_settings(group)
  names = {arm.teacher for arm in group.arms.values()}
  initial = begin(
    members,
    {name: one for name, one in teachers.items() if name in names},
    {name: one for name, one in variables.items() if name in group.arms},
  )
  return {name: initial[name] for name in group.arms}


def make_waves(
  groups: Sequence[Group],
  programs: Sequence[tuple[Callable, Callable]],
  resident: tuple,
  variables: Mapping[str, Any],
  start: Epoch | None,
  arranged: Arrangement,
  *,
  waits: bool,
) -> list[Wave]:
  """Gets every group ready, from the beginning or from where it had come to.

  Args:
    programs: of each, (what makes its first states, program).
    resident: images, labels and teachers, on the devices.
    variables: as `first_states` takes them.
    start: as it was yielded; None for the beginning.
    arranged: how all that lies on devices.
    waits: whether states are on the host between portions.
  """
  initial = [None] * len(groups)
  if start is not None:
    initial = split(start.states, groups)
  waves = []
  for group, (begin, run), states in zip(
    groups, programs, initial, strict=True
  ):
    if states is None:
      states = first_states(group, begin, resident[2], variables)
    settings = arranged.settings(member_settings(group))
    if waits:
      states = jax.device_get(global_arrays.whole(states))
    else:
      states = arranged.states(group.arms, states)
    waves.append(Wave(group, run, (*resident, *settings), states, waits))
  return waves


def take_turn(
  wave: Wave,
  portions: Iterator[tuple[np.ndarray, Any]],
  arranged: Arrangement,
  observer: Observer,
) -> tuple[Wave, tuple[dict, dict]]:
  """Takes a portion of a group's steps.

  Returns:
    The group as it is now; the states and sums of its members.
  """
  states, arms = wave.states, wave.group.arms
  if wave.waits:
    states = arranged.states(arms, states)
  totals = []
  fed = (
    (arranged.plan(plan), steps)
    for steps, plan in watchdog.watch_loop(portions)
  )
  for plan, steps in observer.input(fed, lambda: on_devices.idle(totals[-1:])):
    arguments = (states, plan, steps, *wave.fixed)
    if wave.waits:
      observer.cut()
    observer.step(wave.run, arguments)
    states, sums = wave.run(*arguments)
    totals.append(sums)
    # At most two steps ahead of the devices: the queue must not grow.
    jax.block_until_ready(totals[-3:][0])
  with watchdog.watch_block():
    sums = jax.tree.map(
      lambda *x: sum(np.asarray(one).ravel() for one in x), *totals
    )
  whole = arranged.back(arms, states)
  if wave.waits:
    whole = states = jax.device_get(whole)
  return wave._replace(states=states), (whole, sums)
