"""The only place that maps a step over devices.

`jax.pmap` is in maintenance and built on shard_map: kept in one file, a change
of mind is a change of one function.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.errors import UserError

AXIS = "devices"


def parallel(
  step: Callable,
  devices: Sequence[jax.Device],
  *,
  sharded: Sequence[int],
  donated: Sequence[int] = (),
  partly: Mapping[int, Any] | None = None,
  returned: Any = None,
) -> Callable:
  """Maps a per-device step over devices.

  The step reduces over `AXIS` itself, so what it returns is the same on every
  device, but where `returned` says otherwise; the caller gets it once, without a
  device axis.

  Args:
    step: function of positional arguments.
    devices: the devices to run on.
    sharded: positions of the arguments that carry a leading device axis, see
      `shard`; all others are the same on every device.
    donated: positions of the arguments whose memory may be reused.
    partly: by position, which parts of an argument carry a leading device axis:
      a prefix of its tree with 0 for those that do and None for the others.
    returned: likewise, of what the step returns.

  Returns:
    The compiled, mapped step.

  Example:
    >>> total = lambda x: jax.lax.psum(x.sum(), AXIS)
    >>> mapped = parallel(total, jax.local_devices()[:2], sharded=(0,))
    >>> print(mapped(shard(np.arange(4.0), 2, axis=0)))
    6.0
  """
  arguments = range(step.__code__.co_argcount)
  axes = dict.fromkeys(arguments) | dict.fromkeys(sharded, 0) | (partly or {})
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=tuple(axes[i] for i in arguments),
    out_axes=returned,
    devices=list(devices),
    donate_argnums=tuple(donated),
  )


def over_members(function: Callable, *trees):
  """Maps a function over the members of a device, by vmap, but for only one.

  Batched weights, even of one network, cost convolutions their fast path.

  Args:
    function: of as many trees, without their leading axis of members.
    *trees: arrays with a leading axis of members.

  Returns:
    What the function returns, with the leading axis.

  Example:
    >>> over_members(jnp.sum, jnp.ones((1, 3))).tolist()
    [3.0]
  """
  if jax.tree.leaves(trees)[0].shape[0] > 1:
    return jax.vmap(function)(*trees)
  one = function(*jax.tree.map(lambda x: x[0], trees))
  return jax.tree.map(lambda x: jnp.asarray(x)[None], one)


def shard(tree, devices: int, *, axis: int):
  """Cuts an axis into equal parts and puts the parts on a leading device axis.

  Args:
    tree: arrays whose `axis` is a multiple of `devices` long.
    devices: how many parts.
    axis: which axis to cut.

  Returns:
    Arrays with a new leading axis of length `devices`.

  Example:
    >>> shard(np.arange(6).reshape(1, 6), 2, axis=1).shape
    (2, 1, 3)
  """

  def cut(x):
    return np.stack(np.split(np.asarray(x), devices, axis=axis))

  return jax.tree.map(cut, tree)


def replicate(tree, devices: Sequence[jax.Device]):
  """Puts a copy of every array on every device.

  Args:
    tree: arrays.
    devices: the devices that a mapped step runs on.

  Returns:
    The arrays, held by all devices, so that steps need not copy them again.

  Example:
    >>> replicate(np.ones(3), jax.local_devices()[:2]).is_fully_replicated
    True
  """
  mesh = jax.sharding.Mesh(np.asarray(devices), (AXIS,))
  return jax.device_put(
    tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  )


def lay(tree, devices: Sequence[jax.Device]):
  """Gives each device its part of every array.

  Args:
    tree: arrays with a leading device axis, or one that is a multiple of it.
    devices: the devices that a step runs on.

  Returns:
    The arrays, each part held by its device alone.

  Example:
    >>> lay(np.ones((2, 3)), jax.local_devices()[:2]).is_fully_replicated
    False
  """
  mesh = jax.sharding.Mesh(np.asarray(devices), (AXIS,))
  return jax.device_put(
    tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))
  )


def idle(tree) -> bool:
  """Says whether devices have finished with arrays.

  Args:
    tree: arrays that were asked for, finished or not.

  Returns:
    True if none is still being computed.

  Example:
    >>> idle([jax.block_until_ready(jnp.ones(2))])
    True
  """
  return all(leaf.is_ready() for leaf in jax.tree.leaves(tree))


def choose(accelerator: str) -> list[jax.Device]:
  """Returns the local devices of the accelerator that was asked for.

  Args:
    accelerator: "auto", "cpu", "gpu" or "tpu".

  Returns:
    All local devices of that kind.

  Raises:
    UserError: if there is none; names what there is.

  Example:
    >>> choose("cpu")[0].platform
    'cpu'
  """
  devices = jax.local_devices()
  there = devices[0].platform
  if accelerator not in ("auto", there):
    raise UserError(
      f"--accelerator={accelerator}: there is no such device here; there is:"
      f" {len(devices)} {there}"
    )
  return devices


def check_batch_size(batch_size: int, devices: Sequence[jax.Device]) -> None:
  """Raises a UserError unless a batch can be cut into equal parts.

  Args:
    batch_size: examples a step, over all devices.
    devices: the devices.

  Raises:
    UserError: if the devices do not divide the batch size.

  Example:
    >>> check_batch_size(128, jax.local_devices()[:2])
  """
  if batch_size % len(devices):
    raise UserError(
      f"the batch size {batch_size} must be a multiple of the number of devices,"
      f" {len(devices)}; the nearest is"
      f" {max(1, round(batch_size / len(devices))) * len(devices)}"
    )
