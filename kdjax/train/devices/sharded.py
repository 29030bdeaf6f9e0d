"""Where a step runs: over a mesh, with arrays cut as rules on paths say."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from kdjax.core.arguments import check_kind, misfit
from kdjax.train.devices import activations
from kdjax.train.devices.mapped import Placement, fill_up, of_arrays
from kdjax.train.devices.placement import compiled_anew
from kdjax.train.devices.rules import (
  Partition,
  check_axes,
  check_matches,
  layout,
  make_rules,
  parts_of,
)

Rules = Sequence[tuple[str, PartitionSpec]]


def sharded(
  mesh: jax.sharding.Mesh,
  rules: Rules,
  *,
  batch: PartitionSpec = PartitionSpec("data"),  # noqa: B008  (a constant)
) -> Placement:
  """Runs a step over a mesh, as one program of the whole batch.

  Parameters of the student and of the method, their optimiser's state, and the
  teacher's parameters lie as the first rule says that matches their path, such as
  "block_0/mlp/kernel"; where none does, and batch statistics and memories, on
  every device. New parameters are made where they lie.

  Args:
    mesh: devices by named axes, from `jax.make_mesh`.
    rules: (regular expression, how it is cut); an expression is searched for
      anywhere in the path.
    batch: how a batch is cut; of arrays with fewer axes, as many of its names. A
      batch that cannot be cut is filled up with rows that do not count.

  Returns:
    The placement; `put` lays a teacher, variables or a state out. A teacher that
    lies on the mesh already stays as it is, cut by rules of its own.

  Raises:
    UserError: for what is no mesh, rule or PartitionSpec, axes that the mesh does
      not have, and expressions that are none;
      when a training begins, for a rule that matches nothing in student, method
      or teacher; and for an array that cannot be cut as its rule says.

  Example:
    >>> mesh = jax.make_mesh((1, 2), ("data", "model"))
    >>> placed = sharded(mesh, [("kernel", PartitionSpec(None, "model"))])
    >>> variables = {"params": {"dense": {"kernel": jnp.ones((3, 4))}}}
    >>> kernel = placed.put(variables)["params"]["dense"]["kernel"]
    >>> kernel.addressable_shards[0].data.shape
    (3, 2)
  """
  check_kind("mesh", mesh, "mesh")
  if not isinstance(rules, list | tuple):
    raise misfit(
      "rules", "a list of (regular expression, PartitionSpec)", rules
    )
  if not isinstance(batch, PartitionSpec):
    raise misfit("batch", "a PartitionSpec, such as P('data')", batch)
  # XLA says how what lies between is cut: `jax.make_mesh` leaves that to types.
  mesh = jax.sharding.Mesh(mesh.devices, mesh.axis_names)
  check_axes(batch, mesh)
  partition = Partition(mesh, make_rules(rules, mesh), batch)

  def put(tree):
    return jax.device_put(tree, layout(tree, partition))

  @functools.cache
  def layout_of(axes):
    return NamedSharding(mesh, PartitionSpec(*batch[:axes]))

  def cut(tree):
    def one(x):
      # A program of one device takes arrays of the host faster than this does.
      if mesh.size == 1 and isinstance(x, np.ndarray):
        return x
      return jax.device_put(x, layout_of(jnp.ndim(x)))

    return jax.tree.map(one, tree)

  def placed(teacher):
    # One that lies on the mesh already may be cut by rules of its own.
    first = jax.tree.leaves(teacher)[:1]
    on_mesh = all(_lies_on(x, mesh) for x in first)
    return teacher if on_mesh else put(teacher)

  def compile(program):
    read = jax.jit(program.read)
    # All that is looked at one after the other has to be cut.
    parts = parts_of(batch[0] if batch else None, mesh) * program.pieces
    programs = {}
    # A teacher that comes with every step is looked at once.
    teachers = [None, None]

    def show(batch_arrays):
      size = len(jax.tree.leaves(batch_arrays)[0])
      if size % parts:
        batch_arrays = fill_up(read(batch_arrays), parts)
      return cut(batch_arrays), size

    def first(key, variables, teacher, batch_arrays):
      return program.init(key, variables, teacher, program.read(batch_arrays))

    @compiled_anew(mesh.devices.ravel())
    def init(key, variables, teacher, batch_arrays):
      arguments = (key, put(variables), placed(teacher), show(batch_arrays)[0])
      shapes = jax.eval_shape(first, *arguments)
      check_matches(partition, (shapes.params, teacher))
      return jax.jit(first, out_shardings=layout(shapes, partition))(*arguments)

    @compiled_anew(mesh.devices.ravel())
    def step(state, teacher, batch_arrays):
      cut_batch, size = show(batch_arrays)
      examples = size if program.couples else None
      if examples not in programs:

        def run(state, teacher, cut_batch):
          with activations.over(partition):
            cut_batch = program.read(cut_batch)
            return program.step(state, teacher, cut_batch, None, examples)

        # A state keeps its layout: what comes out goes in again.
        layouts = (layout(state, partition), partition.everywhere)
        programs[examples] = jax.jit(
          run, donate_argnums=0, out_shardings=layouts
        )
      if teacher is not teachers[0]:
        teachers[:] = teacher, placed(teacher)
      state = state if _lies_on(state.step, mesh) else put(state)
      return programs[examples](state, teachers[1], cut_batch)

    return of_arrays(init, 3), of_arrays(step, 2)

  return Placement(compile, put)


def _lies_on(x: Any, mesh: jax.sharding.Mesh) -> bool:
  return getattr(getattr(x, "sharding", None), "mesh", None) == mesh
