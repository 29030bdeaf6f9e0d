"""Sums over the devices that share a batch: all of them, or those of a group."""

from typing import Any, NamedTuple

import jax


class Group(NamedTuple):
  """Devices of a mapped axis that work on one batch, apart from the others.

  Attributes:
    axis: the mapped axis.
    groups: the groups' devices; every device is in one, all are equally large.
  """

  axis: str
  groups: tuple[tuple[int, ...], ...]


# None outside of a mapped axis.
Axis = str | Group | None


def psum(tree: Any, axis: Axis) -> Any:
  """Sums over the devices.

  Example:
    >>> psum(3.0, None)
    3.0
  """
  return tree if _alone(axis) else jax.lax.psum(tree, **_devices(axis))


def pmax(x: jax.Array, axis: Axis) -> jax.Array:
  """Takes the maximum over the devices.

  Example:
    >>> print(pmax(jnp.ones(2), None))
    [1. 1.]
  """
  return x if _alone(axis) else jax.lax.pmax(x, **_devices(axis))


def all_gather(x: jax.Array, axis: Axis) -> jax.Array:
  """Joins the devices' arrays along the first axis, in the devices' order.

  Example:
    >>> print(all_gather(jnp.ones(2), None))
    [1. 1.]
  """
  if _alone(axis):
    return x
  return jax.lax.all_gather(x, **_devices(axis), axis=0, tiled=True)


def _alone(axis: Axis) -> bool:
  """Whether there is nobody to tell: XLA's CPU would copy all to itself."""
  if isinstance(axis, Group):
    return len(axis.groups[0]) == 1
  return axis is None or jax.lax.axis_size(axis) == 1


def _devices(axis: str | Group) -> dict[str, Any]:
  if isinstance(axis, Group):
    groups = [list(group) for group in axis.groups]
    return {"axis_name": axis.axis, "axis_index_groups": groups}
  return {"axis_name": axis}
