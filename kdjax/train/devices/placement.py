"""The only place that maps a step over devices.

`jax.pmap` is in maintenance and built on shard_map: kept in one file, a change
of mind is a change of one function.

The devices may be those of several processes. Each process then gives its own
devices' parts, and gets its own devices' copies back: no array ever reaches
beyond the process that holds it.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from kdjax.core.errors import UserError

AXIS = "devices"
_EFFORT = "xla_backend_optimization_level"


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
    devices: the devices to run on, the same in every process.
    sharded: positions of the arguments that carry a leading axis of this
      process's devices, see `shard`; all others are the same on every device.
    donated: positions of the arguments whose memory may be reused.
    partly: by position, which parts of an argument carry a leading device axis:
      a prefix of its tree with 0 for those that do and None for the others.

  Returns:
    The compiled, mapped step; as a jitted function it has `lower`.

  Example:
    >>> total = lambda x: jax.lax.psum(x.sum(), AXIS)
    >>> mapped = parallel(total, jax.local_devices()[:2], sharded=(0,))
    >>> print(mapped(shard(np.arange(4.0), 2, axis=0)))
    6.0
  """
  arguments = range(step.__code__.co_argcount)
  axes = dict.fromkeys(arguments) | dict.fromkeys(sharded, 0) | (partly or {})
  leaves, form = jax.tree.flatten(returned, is_leaf=lambda x: x is None)

  # Among several processes pmap takes nothing but tuples for `out_axes`.
  def flat(*arguments):
    return tuple(form.flatten_up_to(step(*arguments)))

  mapped = jax.pmap(
    flat,
    axis_name=AXIS,
    in_axes=tuple(axes[i] for i in arguments),
    out_axes=tuple(leaves),
    devices=list(devices),
    donate_argnums=tuple(donated),
  )

  @compiled_anew(devices)
  def run(*arguments):
    return jax.tree.unflatten(form, mapped(*arguments))

  run.lower = mapped.lower
  return run


@contextlib.contextmanager
def compiled_anew(devices: Iterable[jax.Device]) -> Iterator[None]:
  """Keeps programs of several CPU devices out of the persistent cache.

  Written down they lose the order of their collectives (jaxlib 0.10): read again,
  devices wait for each other for ever, or take each other's numbers amiss.

  Args:
    devices: which the programs run on that are called within.

  Example:
    >>> with compiled_anew(jax.local_devices()[:2]):
    ...   jax.config.jax_enable_compilation_cache
    False
  """
  enabled = jax.config.jax_enable_compilation_cache
  if not enabled or [x.platform for x in devices].count("cpu") < 2:
    yield
    return
  # jax reads the setting once, but for this.
  jax.config.update("jax_enable_compilation_cache", False)
  compilation_cache.reset_cache()
  try:
    yield
  finally:
    jax.config.update("jax_enable_compilation_cache", enabled)
    compilation_cache.reset_cache()


def quickly_compiled(function: Callable) -> Callable:
  """Compiles a program that runs once with less effort.

  On CPUs LLVM's second level takes a quarter of the time of its third there, and
  multilayer perceptrons begin with the same bits; `XLA_FLAGS` that name a level are
  followed.

  Returns:
    The function, jitted.

  Example:
    >>> print(quickly_compiled(jnp.sum)(np.ones(3)))
    3.0
  """
  given = _EFFORT in os.environ.get("XLA_FLAGS", "")
  slow = jax.default_backend() == "cpu" and not given
  return jax.jit(function, compiler_options={_EFFORT: 2} if slow else None)


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
  output = function(*jax.tree.map(lambda x: x[0], trees))
  return jax.tree.map(lambda x: jnp.asarray(x)[None], output)


def over_grid(function: Callable, states, settings, batches):
  """Maps a function over a device's members, those of a seed on one batch.

  What sees the batch first multiplies it once with the weights of all cells,
  and not a copy of it with each.

  Args:
    function: (state, settings, batch) of one member.
    states: with a leading axis of members, cells * seeds, the seeds inside.

  Returns:
    What the function returns, with the leading axis of members.

  Example:
    >>> over_grid(lambda x, y, z: x + y * z, jnp.zeros(4), jnp.arange(4.), jnp.arange(2.)).tolist()
    [0.0, 1.0, 0.0, 3.0]
  """
  seeds = jax.tree.leaves(batches)[0].shape[0]
  members = jax.tree.leaves(settings)[0].shape[0]
  if members == seeds:
    return over_members(function, states, settings, batches)
  cut = jax.tree.map(
    lambda x: x.reshape(-1, seeds, *x.shape[1:]), (states, settings)
  )
  of_a_seed = jax.vmap(function, in_axes=(0, 0, None))
  outputs = jax.vmap(of_a_seed, in_axes=(1, 1, 0), out_axes=1)(*cut, batches)
  return jax.tree.map(lambda x: x.reshape(members, *x.shape[2:]), outputs)


def shard(tree, devices: int, *, axis: int):
  """Cuts an axis into equal parts and puts the parts on a leading device axis.

  Nothing is copied: steps that were asked for may still read the arrays.

  Args:
    tree: arrays whose `axis` is a multiple of `devices` long.

  Returns:
    Arrays with a new leading axis of length `devices`.

  Example:
    >>> shard(np.arange(6).reshape(1, 6), 2, axis=1).shape
    (2, 1, 3)
  """

  def cut(x):
    x = np.asarray(x)
    parts_shape = (devices, x.shape[axis] // devices)
    x = x.reshape(*x.shape[:axis], *parts_shape, *x.shape[axis + 1 :])
    return np.moveaxis(x, axis, 0)

  return jax.tree.map(cut, tree)


def local(devices: Sequence[jax.Device]) -> list[jax.Device]:
  """Picks the devices of this process.

  Returns:
    Those that this process can reach, in their order.

  Example:
    >>> len(local(jax.devices()[:2]))
    2
  """
  process = jax.process_index()
  return [device for device in devices if device.process_index == process]


def portion(devices: Sequence[jax.Device]) -> tuple[int, int, int]:
  """Says which part of every batch falls to this process.

  Args:
    devices: of all processes, those of a process side by side.

  Returns:
    (first, one past the last, all): its devices' places, and how many there are.
  """
  local_devices = local(devices)
  first = list(devices).index(local_devices[0])
  return first, first + len(local_devices), len(devices)


def cut(x: np.ndarray, part: tuple[int, int, int], *, axis: int) -> np.ndarray:
  """Takes a process's part of an axis.

  Args:
    axis: whose length is a multiple of the number of devices.
  """
  first, last, every = part
  if (first, last) == (0, every):
    return x
  size = x.shape[axis] // every
  return x[(slice(None),) * axis + (slice(first * size, last * size),)]


def replicate(tree, devices: Sequence[jax.Device]):
  """Puts a copy of every array on every device of this process.

  Args:
    devices: the devices that a mapped step runs on.

  Returns:
    The arrays, held by the devices, so that steps need not copy them again.

  Example:
    >>> replicate(np.ones(3), jax.local_devices()[:2]).is_fully_replicated
    True
  """
  return jax.device_put(tree, _over(devices, jax.sharding.PartitionSpec()))


def lay(tree, devices: Sequence[jax.Device]):
  """Gives each device of this process its part of every array.

  Args:
    tree: arrays with a leading axis of all devices, or a multiple of it.
    devices: the devices that a step runs on.

  Returns:
    The parts of this process, each held by its device alone.

  Example:
    >>> lay(np.ones((2, 3)), jax.local_devices()[:2]).is_fully_replicated
    False
  """
  part = portion(devices)
  return jax.device_put(
    jax.tree.map(lambda x: cut(x, part, axis=0), tree),
    _over(devices, jax.sharding.PartitionSpec(AXIS)),
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


def whole(tree, devices: Sequence[jax.Device]):
  """Undoes `lay`: puts the parts of all processes together.

  Args:
    tree: arrays with a leading axis of this process's devices.

  Returns:
    Arrays with a leading axis of all devices, on every device.

  Example:
    >>> devices = jax.local_devices()[:2]
    >>> whole(lay(np.ones((2, 3)), devices), devices).shape
    (2, 3)
  """
  if len(local(devices)) == len(devices):
    return tree

  def gather(tree):
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS), tree)

  return parallel(gather, devices, sharded=(0,))(tree)


def _over(devices, spec) -> jax.sharding.NamedSharding:
  mesh = jax.sharding.Mesh(np.asarray(local(devices)), (AXIS,))
  return jax.sharding.NamedSharding(mesh, spec)


def choose(accelerator: str) -> list[jax.Device]:
  """Returns the devices of the accelerator that was asked for.

  Returns:
    All devices of that kind, of every process, those of a process side by side.
  """
  # Numbers alone need not keep the devices of a process together.
  devices = sorted(jax.devices(), key=lambda x: (x.process_index, x.id))
  there = devices[0].platform
  if accelerator not in ("auto", there):
    raise UserError(
      f"--accelerator={accelerator}: there is no such device here; there is:"
      f" {len(devices)} {there}"
    )
  device_counts = [
    sum(device.process_index == process for device in devices)
    for process in range(jax.process_count())
  ]
  if len(set(device_counts)) > 1:
    raise UserError(
      "every process must have as many devices as the others; they have"
      f" {', '.join(map(str, device_counts))}"
    )
  return devices


def check_batch_size(batch_size: int, devices: int) -> None:
  """Raises a UserError unless a batch can be cut into equal parts.

  Args:
    devices: how many have a part of their own.

  Example:
    >>> check_batch_size(128, 2)
  """
  if batch_size % devices:
    raise UserError(
      f"the batch size {batch_size} must be a multiple of the number of devices"
      f" that share it, {devices}; the nearest is"
      f" {max(1, round(batch_size / devices)) * devices}"
    )
