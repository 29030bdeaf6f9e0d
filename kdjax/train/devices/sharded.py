"""Where a step runs: over a mesh, with arrays cut as rules on paths say."""

import difflib
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from kdjax.core.arguments import check_kind, misfit
from kdjax.core.errors import UserError
from kdjax.train.devices.mapped import Placement, fill_up, of_arrays
from kdjax.train.devices.placement import compiled_anew

Rules = Sequence[tuple[str, PartitionSpec]]

# Leading names of a path that say whose array it is, and not which.
OWNERS = ("params", "network", "method")


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
  rules = [_rule(rule) for rule in rules]
  for spec in [batch, *(spec for _, spec in rules)]:
    _check_axes(spec, mesh)

  whole = NamedSharding(mesh, PartitionSpec())

  def put(tree):
    return jax.device_put(tree, _layout(tree, rules, mesh))

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
    parts = _size(batch[0] if batch else None, mesh) * program.pieces
    programs = {}
    # A teacher that comes with every step is looked at once.
    teachers = [None, None]

    def show(given):
      size = len(jax.tree.leaves(given)[0])
      if size % parts:
        given = fill_up(read(given), parts)
      return cut(given), size

    def first(key, variables, teacher, shown):
      return program.init(key, variables, teacher, program.read(shown))

    @compiled_anew(mesh.devices.ravel())
    def init(key, variables, teacher, given):
      known = (key, put(variables), placed(teacher), show(given)[0])
      shapes = jax.eval_shape(first, *known)
      _check_matches(rules, (shapes.params, teacher))
      layout = _layout(shapes, rules, mesh)
      return jax.jit(first, out_shardings=layout)(*known)

    @compiled_anew(mesh.devices.ravel())
    def step(state, teacher, given):
      shown, size = show(given)
      examples = size if program.couples else None
      if examples not in programs:

        def run(state, teacher, shown):
          shown = program.read(shown)
          return program.step(state, teacher, shown, None, examples)

        # A state keeps its layout: what comes out goes in again.
        layout = (_layout(state, rules, mesh), whole)
        programs[examples] = jax.jit(
          run, donate_argnums=0, out_shardings=layout
        )
      if teacher is not teachers[0]:
        teachers[:] = teacher, placed(teacher)
      state = state if _lies_on(state.step, mesh) else put(state)
      return programs[examples](state, teachers[1], shown)

    return of_arrays(init, 3), of_arrays(step, 2)

  return Placement(compile, put)


def _layout(tree: Any, rules: list, mesh: jax.sharding.Mesh) -> Any:
  """How the arrays of a teacher, of variables or of a state are cut."""
  leaves, form = jax.tree_util.tree_flatten_with_path(tree)
  paths = [_names(path) for path, _ in leaves]
  # An optimiser's array that is shaped as a parameter lies beside it.
  shapes = {
    names[1:]: leaf.shape
    for names, (_, leaf) in zip(paths, leaves, strict=True)
    if names[:1] == ("params",) and names[1:2] in (("network",), ("method",))
  }
  # Bare parameters, as nnx has them, are in no collection.
  collections = any("params" in names for names in paths)
  found = []
  for names, (_, leaf) in zip(paths, leaves, strict=True):
    stacked = 0
    if "opt_state" in names[:1]:
      starts = [i for i in range(len(names)) if names[i:] in shapes]
      names = names[starts[0] :] if starts else ()
      if starts and shapes[names] != jnp.shape(leaf):
        names = ()
    elif collections:
      stacked = _stacked(names)
      names = _of_parameter(names)
    shape = jnp.shape(leaf)[stacked:]
    spec = _spec("/".join(names), shape, rules, mesh)
    spec = PartitionSpec(*[None] * stacked, *spec)
    found.append(NamedSharding(mesh, spec))
  return form.unflatten(found)


def _stacked(names: tuple[str, ...]) -> int:
  """Leading axes of networks: those of an ensemble are stacked by kind."""
  above = names[: names.index("params")] if "params" in names else ()
  return sum(name.isdecimal() for name in above)


def _of_parameter(names: tuple[str, ...]) -> tuple[str, ...]:
  """A parameter's path below its collection; () for what is none."""
  if "params" not in names:
    return ()
  return names[names.index("params") + 1 :]


def _spec(path: str, shape, rules, mesh) -> PartitionSpec:
  path = _below_owner(path)
  for pattern, spec in rules if path else ():
    if not pattern.search(path):
      continue
    if len(spec) > len(shape):
      raise UserError(
        f"the rule {pattern.pattern!r} cuts {len(spec)} axes, {path} has the"
        f" shape {tuple(shape)}"
      )
    for axis, name in enumerate(spec):
      if shape[axis] % _size(name, mesh):
        raise UserError(
          f"the rule {pattern.pattern!r} cuts axis {axis} of {path}, which has"
          f" the shape {tuple(shape)}, into {_size(name, mesh)}"
        )
    return spec
  return PartitionSpec()


def _below_owner(path: str) -> str:
  owner, _, rest = path.partition("/")
  return rest if owner in OWNERS else path


def _check_matches(rules: list, trees: Any) -> None:
  """Refuses a rule that no path of a training knows."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(trees)
  paths = []
  for path, _ in leaves:
    names = _names(path)
    names = _of_parameter(names) if "params" in names else names[1:]
    paths.append(_below_owner("/".join(names)))
  for pattern, _ in rules:
    if not any(pattern.search(path) for path in paths):
      near = difflib.get_close_matches(pattern.pattern, paths, n=3, cutoff=0)
      raise UserError(
        f"the rule {pattern.pattern!r} matches no parameter; the nearest are"
        f" {', '.join(near)}"
      )


def _names(path: Iterable[Any]) -> tuple[str, ...]:
  names = [
    str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
    for key in path
  ]
  # What an nnx variable holds.
  return tuple(names[:-1] if names[-1:] == ["value"] else names)


def _rule(rule: Any) -> tuple[re.Pattern, PartitionSpec]:
  pair = isinstance(rule, tuple | list) and len(rule) == 2
  if not (
    pair and isinstance(rule[0], str) and isinstance(rule[1], PartitionSpec)
  ):
    raise UserError(
      "a rule is a pair, (regular expression, jax.sharding.PartitionSpec(...)),"
      f" got {rule!r}"
    )
  text, spec = rule
  try:
    return re.compile(text), spec
  except re.error as error:
    raise UserError(
      f"the rule {text!r} is no regular expression: {error}"
    ) from None


def _check_axes(spec: PartitionSpec, mesh: jax.sharding.Mesh) -> None:
  axes = [
    axis
    for name in spec
    for axis in (name if isinstance(name, tuple) else (name,))
    if axis is not None
  ]
  for axis in axes:
    if axis not in mesh.shape:
      raise UserError(
        f"{spec}: the mesh has no axis {axis!r}; it has"
        f" {', '.join(mesh.axis_names)}"
      )
    if axes.count(axis) > 1:
      raise UserError(f"{spec}: it names the mesh's axis {axis!r} twice")


def _size(name: Any, mesh: jax.sharding.Mesh) -> int:
  size = 1
  for axis in name if isinstance(name, tuple) else (name,):
    size *= 1 if axis is None else mesh.shape[axis]
  return size


def _lies_on(x: Any, mesh: jax.sharding.Mesh) -> bool:
  return getattr(getattr(x, "sharding", None), "mesh", None) == mesh
