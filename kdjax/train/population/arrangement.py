"""How a training lies on devices: batches cut, members, or arrays over a mesh.

A value of functions, of which `train` asks nothing but these: the scan over an
epoch, members and turns are the same whichever it is.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec

from kdjax.core.teacher import Teacher
from kdjax.train.devices import activations, global_arrays
from kdjax.train.devices import placement as on_devices
from kdjax.train.devices.global_arrays import put
from kdjax.train.devices.placement import compiled_anew
from kdjax.train.devices.rules import Partition, layout, rows_here
from kdjax.train.schemes.scheme import bring_back, lay_out
from kdjax.train.state import TrainState


class Arrangement(NamedTuple):
  """Where programs and arrays of a training are.

  Attributes:
    axis_name: the mapped axis of devices that share a batch; None where a program
      sees all of it.
    part: of every batch that is shown in this process, see `devices.portion`.
    data: images and labels -> the same where programs want them.
    teachers: teachers by name -> likewise.
    settings: of members, and their seeds -> likewise.
    states: (arms, states of all members by arm) -> likewise.
    back: its inverse, all of it within reach of this process.
    begin: what makes first states by arm -> the same, compiled, so that they are
      made where they lie.
    plan: what is shown in some steps -> likewise.
    batches: within a program, a Batch (seeds, B, ...) -> the same, cut.
    compile: (run, arms) -> the program, see `loop.train`; it has `lower`.
  """

  axis_name: str | None
  part: tuple[int, int, int]
  data: Callable[[Any], Any]
  teachers: Callable[[Mapping[str, Teacher]], Any]
  settings: Callable[[Any], Any]
  states: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
  back: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
  begin: Callable[[Callable], Callable]
  plan: Callable[[Any], Any]
  batches: Callable[[Any], Any]
  compile: Callable[[Callable, Mapping[str, Any]], Callable]


def over_devices(
  devices: Sequence[jax.Device], *, apart: bool = False
) -> Arrangement:
  """Gives every device its share of the batches, or members of its own.

  Args:
    devices: those of all processes, each of which calls this alike.
    apart: whether each device has members of its own.
  """
  replicate = partial(on_devices.replicate, devices=devices)

  def settings(tree):
    if not apart:
      return replicate(tree)
    parts = jax.tree.map(lambda x: x.reshape(len(devices), -1), tree)
    return on_devices.lay(parts, devices)

  def compile(run, arms):
    laid = {
      name: None if arm.scheme.layout is None else 0
      for name, arm in arms.items()
    }
    return on_devices.parallel(
      run,
      devices,
      sharded=(1, 6, 7) if apart else (1,),
      donated=(0,),
      partly={0: laid},
      returned=(laid, 0 if apart else None),
    )

  return Arrangement(
    axis_name=None if apart else on_devices.AXIS,
    part=on_devices.portion(devices),
    data=replicate,
    teachers=replicate,
    settings=settings,
    states=partial(lay_out, devices=devices),
    back=partial(bring_back, devices=devices),
    begin=on_devices.quickly_compiled,
    # Devices that own members have all of the batches of their seeds.
    plan=partial(
      on_devices.shard,
      devices=len(on_devices.local(devices)),
      axis=1 if apart else 2,
    ),
    batches=lambda batches: batches,
    compile=compile,
  )


def over_mesh(partition: Partition) -> Arrangement:
  """Cuts the arrays of networks as rules say, and batches over an axis.

  A program is one of the whole batch; XLA divides it, and says what devices tell
  each other.
  """
  mesh, everywhere = partition.mesh, partition.everywhere
  devices = mesh.devices.ravel()
  part = rows_here(partition)

  def rows(axis):
    spec = PartitionSpec(*[None] * axis, *partition.batch)
    return NamedSharding(mesh, spec)

  def layout_of(states):
    return {
      name: layout_of_state(state, partition) for name, state in states.items()
    }

  def put_teachers(teachers):
    return {
      # Stored answers are no parameters.
      name: put(one, everywhere if one.stored else layout(one, partition))
      for name, one in teachers.items()
    }

  def cut(batch):
    size = batch.index.shape

    def one(x):
      if x.shape[: len(size)] != size:
        return x
      return jax.lax.with_sharding_constraint(x, rows(1))

    return jax.tree.map(one, batch)

  def begin(make):
    def there(*arguments):
      lies = layout_of(jax.eval_shape(make, *arguments))
      return jax.jit(make, out_shardings=lies)(*arguments)

    return compiled_anew(devices)(there)

  def compile(run, arms):
    def whole(states, *rest):
      with activations.over(partition):
        states, sums = run(states, *rest)
      layouts = layout_of(states), jax.tree.map(lambda x: everywhere, sums)
      return jax.lax.with_sharding_constraint((states, sums), layouts)

    program = jax.jit(whole, donate_argnums=0)

    @compiled_anew(devices)
    def meshed(*arguments):
      return program(*arguments)

    meshed.lower = program.lower
    return meshed

  return Arrangement(
    axis_name=None,
    part=part,
    data=partial(put, shardings=everywhere),
    teachers=put_teachers,
    settings=partial(put, shardings=everywhere),
    states=lambda arms, states: put(states, layout_of(states)),
    back=lambda arms, states: global_arrays.whole(states),
    begin=begin,
    plan=partial(global_arrays.put_rows, sharding=rows(2), part=part, axis=2),
    batches=cut,
    compile=compile,
  )


def layout_of_state(state: Any, partition: Partition) -> Any:
  """Says how a scheme's state is cut, whose axes of members and peers are not."""
  stacked = train_states(state)[0].step.ndim
  return layout(state, partition, stacked=stacked)


def train_states(state: Any) -> list[TrainState]:
  """Finds the networks in training within a scheme's state, or its shapes."""
  parts = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, TrainState))
  return [one for one in parts if isinstance(one, TrainState)]
