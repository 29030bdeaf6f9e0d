"""Who trains at the same time: members cut into groups, and put together again.

Groups take turns. Within a group, members train side by side on every device,
or each device has a part of them for itself. All groups of the same arms, and
all parts, are alike in form, so that one compiled program does for all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.train.arm import Arm
from kdjax.train.epoch import Sums
from kdjax.train.state import TrainState


class Group(NamedTuple):
  """Members that train at the same time.

  Parts have equally many members of every arm, and equally many seeds: what a
  part lacks are copies of its last ones, at which nobody looks.

  Attributes:
    arms: by name, with the settings of these members, part by part.
    places: by arm, (parts * members,) int, which of all members they are.
    seeds: (parts, seeds) int, those of each part's members, in order.
    apart: whether each device has a part for itself.
  """

  arms: dict[str, Arm]
  places: dict[str, np.ndarray]
  seeds: np.ndarray
  apart: bool = False


def groups_of(
  arms: Mapping[str, Arm], *, most: int | None = None, parts: int = 1
) -> list[Group]:
  """Cuts arms into groups.

  Members with one seed stay together as far as they can, for they share their
  batches and the teacher's answers. Where there are more groups than seeds,
  each arm is cut by itself.

  Args:
    most: members of a part; None for all.
    parts: of a group; one a device where devices own members.
  """
  sizes = [len(arm.settings["seed"]) for arm in arms.values()]
  for rounds in range(1, max(1, min(sizes) // parts) + 1):
    members = sum(-(-size // (rounds * parts)) for size in sizes)
    if most is None or members <= most:
      return _cut(arms, rounds, parts)
  return [
    group
    for (name, arm), size in zip(arms.items(), sizes, strict=True)
    for group in _cut({name: arm}, -(-size // (most * parts)), parts)
  ]


def is_grid(group: Group) -> bool:
  """Says whether every arm of a group has its cells with all seeds, in order.

  Members of one seed then see their batch without a copy of it, and the layers
  that look at it multiply it once with the weights of all cells.

  Returns:
    Whether members are cell-major, then seeds, in each part.
  """
  width = group.seeds.shape[1]
  return all(
    np.array_equal(
      arm_seeds.reshape(-1, width)
      if arm_seeds.size % width == 0
      else arm_seeds,
      np.tile(seeds, (arm_seeds.size // width, 1)),
    )
    for arm in group.arms.values()
    for arm_seeds, seeds in zip(
      np.asarray(arm.settings["seed"]).reshape(len(group.seeds), -1),
      group.seeds,
      strict=True,
    )
  )


def member_settings(group: Group) -> tuple[dict[str, dict], np.ndarray]:
  """Lists the settings of a group's members.

  Returns:
    By arm, (parts * members,) each member's settings and its "place" among the
    seeds of its part; the seeds, (parts * seeds,).
  """
  by_arm = {}
  for arm_name, arm in group.arms.items():
    settings = {
      name: np.asarray(values, np.int32 if name == "seed" else np.float32)
      for name, values in arm.settings.items()
    }
    member_seeds = settings["seed"].reshape(len(group.seeds), -1)
    place = np.concatenate(
      [
        np.searchsorted(*pair)
        for pair in zip(group.seeds, member_seeds, strict=True)
      ]
    )
    by_arm[arm_name] = settings | {"place": place}
  return by_arm, group.seeds.ravel()


def join_groups(
  results: Sequence[tuple[dict, dict]],
  groups: Sequence[Group],
  names: Iterable[str],
) -> tuple[dict[str, TrainState], Sums]:
  """Puts the members of all groups together again, without the copies.

  Args:
    results: states and sums of each group, by arm.

  Returns:
    States and sums of all members, by arm.
  """
  states, sums = {}, {}
  for name in names:
    group_numbers = [i for i, group in enumerate(groups) if name in group.arms]
    places = np.concatenate([groups[i].places[name] for i in group_numbers])
    _, first = np.unique(places, return_index=True)

    def joined(*x, first=first):
      whole = x[0]
      if len(x) > 1:
        host = isinstance(whole, np.ndarray)
        whole = (np if host else jnp).concatenate(x)
      same = np.array_equal(first, np.arange(len(whole)))
      return whole if same else whole[first]

    states[name] = jax.tree.map(
      joined, *(results[i][0][name] for i in group_numbers)
    )
    sums[name] = jax.tree.map(
      joined, *(results[i][1][name] for i in group_numbers)
    )
  return states, jax.tree.map(np.asarray, sums)


def split(
  states: Mapping[str, TrainState], groups: Sequence[Group]
) -> list[dict[str, TrainState]]:
  """Gives each group its members' states, the other way round."""

  def take(tree, places):
    members = len(jax.tree.leaves(tree)[0])
    if np.array_equal(places, np.arange(members)):
      return tree
    return jax.tree.map(lambda x: x[places], tree)

  return [
    {name: take(states[name], group.places[name]) for name in group.arms}
    for group in groups
  ]


def _cut(arms: Mapping[str, Arm], rounds: int, parts: int) -> list[Group]:
  """Cuts all arms into equally many groups of equally many parts."""
  places = {name: _places(arm, rounds * parts) for name, arm in arms.items()}
  seeds = [
    np.unique(
      np.concatenate(
        [arm.settings["seed"][places[name][i]] for name, arm in arms.items()]
      )
    )
    for i in range(rounds * parts)
  ]
  width = max(map(len, seeds))
  seeds = np.stack(
    [np.pad(one, (0, width - len(one)), mode="edge") for one in seeds]
  )
  return [
    _group(arms, places, seeds, slice(i * parts, (i + 1) * parts))
    for i in range(rounds)
  ]


def _group(arms, places, seeds, those: slice) -> Group:
  member_places = {name: places[name][those].ravel() for name in arms}
  return Group(
    {
      name: arm._replace(
        settings={
          key: np.asarray(value)[member_places[name]]
          for key, value in arm.settings.items()
        }
      )
      for name, arm in arms.items()
    },
    member_places,
    seeds[those],
  )


def _places(arm: Arm, parts: int) -> np.ndarray:
  """Which members (parts, members) each part has, whole seeds where it can."""
  order = np.argsort(arm.settings["seed"], kind="stable")
  size = -(-len(order) // parts)
  order = np.pad(order, (0, size * parts - len(order)), mode="edge")
  return np.sort(order.reshape(parts, size), axis=1)
