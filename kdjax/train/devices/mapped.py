"""Where a step runs: on one device, or a copy of everything on each of several."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.arguments import misfit
from kdjax.core.task import Batch
from kdjax.train.devices import placement as on_devices


class Program(NamedTuple):
  """A training as it is on one device.

  Attributes:
    init: (key, variables, teacher, batch) -> state.
    step: (state, teacher, batch, axis_name, examples) -> (state, metrics), see
      `take_step`.
    read: a user's batch -> Batch.
    pieces: into how many pieces a device cuts its batch.
    couples: whether the loss relates the examples of a batch.
  """

  init: Callable[..., Any]
  step: Callable[..., tuple[Any, Any]]
  read: Callable[[Any], Batch]
  pieces: int
  couples: bool


class Placement(NamedTuple):
  """How a training runs on devices.

  Attributes:
    compile: Program -> (init, step): its functions of a user's batch, compiled.
      The step uses the state's memory again.
    put: arrays (a Teacher, variables, a state) -> the same where steps want them.
  """

  compile: Callable[[Program], tuple[Callable, Callable]]
  put: Callable[[Any], Any]


def jit() -> Placement:
  """Runs a step on one device, the default one.

  Returns:
    The placement.

  Example:
    >>> jit().put(np.ones(3)).shape
    (3,)
  """

  def compile(program):
    def init(key, variables, teacher, batch):
      return program.init(key, variables, teacher, program.read(batch))

    def step(state, teacher, batch):
      batch = fill_up(program.read(batch), program.pieces)
      return program.step(state, teacher, batch)

    return (
      of_arrays(jax.jit(init), 3),
      of_arrays(jax.jit(step, donate_argnums=0), 2),
    )

  return Placement(compile, jax.device_put)


def pmap(devices: Sequence[jax.Device] | None = None) -> Placement:
  """Cuts every batch over devices, each of which has a copy of everything.

  A batch that cannot be cut is filled up with rows that do not count.

  Args:
    devices: all of this process by default.

  Returns:
    The placement.

  Raises:
    UserError: for no device, and what is none.

  Example:
    >>> pmap(jax.local_devices()[:2]).put(np.ones(3)).is_fully_replicated
    True
  """
  devices = jax.local_devices() if devices is None else devices
  several = isinstance(devices, list | tuple | np.ndarray)
  devices = list(devices) if several else devices
  if not (
    several and devices and all(isinstance(x, jax.Device) for x in devices)
  ):
    raise misfit(
      "devices", "a list of devices, jax.local_devices()[:2]", devices
    )

  def put(tree):
    return on_devices.replicate(tree, devices)

  def compile(program):
    read = jax.jit(program.read)

    @functools.cache
    def mapped(examples):
      def step(state, teacher, batch):
        return program.step(state, teacher, batch, on_devices.AXIS, examples)

      return on_devices.parallel(step, devices, sharded=(2,), donated=(0,))

    def step(state, teacher, batch):
      batch = jax.device_get(read(batch))
      examples = len(batch.index) if program.couples else None
      batch = fill_up(batch, program.pieces * len(devices))
      cut = on_devices.shard(batch, len(devices), axis=0)
      return mapped(examples)(state, teacher, cut)

    @jax.jit
    def begin(key, variables, teacher, batch):
      return program.init(key, variables, teacher, program.read(batch))

    def init(*arguments):
      return put(begin(*arguments))

    return of_arrays(init, 3), of_arrays(step, 2)

  return Placement(compile, put)


def fill_up(batch: Batch, multiple: int) -> Batch:
  """Fills a batch up with rows that do not count.

  Returns:
    The batch, its length a multiple of that; what is added repeats its last row.

  Example:
    >>> from kdjax.core.task import batch_of
    >>> print(fill_up(batch_of(jnp.zeros((3, 2))), 2).weight)
    [ True  True  True False]
  """
  size = len(batch.index)
  missing = -size % multiple
  if not missing:
    return batch

  def longer(x):
    return jnp.concatenate([x, jnp.repeat(x[-1:], missing, axis=0)])

  filled = jax.tree.map(longer, batch)
  counts = jnp.arange(size + missing) < size
  weight = jnp.where(counts, filled.weight, jnp.zeros_like(filled.weight))
  return filled._replace(weight=weight)


def of_arrays(function: Callable, place: int) -> Callable:
  """Lets a function see a user's batch as `arrays_of` leaves it.

  Args:
    place: of the batch among the function's arguments.
  """

  def run(*arguments):
    rest = arguments[place + 1 :]
    return function(*arguments[:place], arrays_of(arguments[place]), *rest)

  return run


def arrays_of(batch: Any) -> Any:
  """Leaves out of a user's batch what is no array of numbers, such as names.

  Example:
    >>> list(arrays_of({"image": np.zeros(2), "file": ["a.png", "b.png"]}))
    ['image']
  """
  if not isinstance(batch, Mapping) or all(map(_is_array, batch.values())):
    return batch
  return {name: x for name, x in batch.items() if _is_array(x)}


def _is_array(x: Any) -> bool:
  if isinstance(x, np.ndarray):
    return x.dtype.kind not in "OSUMm"
  return all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(x))
