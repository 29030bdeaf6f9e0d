"""How arrays are cut over a mesh: rules on their paths, of one's own or by name."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kdjax.core.errors import UserError

# Leading names of a path that say whose array it is, and not which.
OWNERS = ("params", "network", "method")


class Rule(NamedTuple):
  """What is cut, and how.

  Attributes:
    pattern: is searched for in the path.
    spec: the mesh's axis that cuts each of the array's; None to cut the longest
      of them into as many parts as there are devices.
    strict: whether it is an error that it matches nothing, or that an array
      cannot be cut so; else such an array lies on every device.
  """

  pattern: re.Pattern
  spec: PartitionSpec | None
  strict: bool = True


class Partition(NamedTuple):
  """A mesh, and how arrays lie on it.

  Attributes:
    mesh: devices by named axes.
    rules: the first that matches an array's path counts; where none does, the
      array lies on every device.
    batch: how a batch is cut.
  """

  mesh: Mesh
  rules: tuple[Rule, ...]
  batch: PartitionSpec

  @property
  def everywhere(self) -> NamedSharding:
    """How an array lies that every device has."""
    return NamedSharding(self.mesh, PartitionSpec())


def layout(tree: Any, partition: Partition, *, stacked: int = 0) -> Any:
  """Says how the arrays of a teacher, of variables or of a state are cut.

  Args:
    tree: arrays, or their shapes. An optimiser's array that is shaped as a
      parameter lies beside it.
    stacked: leading axes of networks, which are not cut.

  Returns:
    A `NamedSharding` for each.

  Raises:
    UserError: for an array that cannot be cut as a strict rule says.
  """
  leaves, form = jax.tree_util.tree_flatten_with_path(tree)
  paths = [_names(path) for path, _ in leaves]
  shapes = {
    _below(names, "params"): jnp.shape(leaf)
    for names, (_, leaf) in zip(paths, leaves, strict=True)
    if _below(names, "params")[:1] in (("network",), ("method",))
  }
  # Bare parameters, as nnx has them, are in no collection.
  collections = any("params" in names for names in paths)
  shardings = []
  for names, (_, leaf) in zip(paths, leaves, strict=True):
    axes, shape = stacked, jnp.shape(leaf)
    if "opt_state" in names:
      starts = [i for i in range(len(names)) if names[i:] in shapes]
      names = names[starts[0] :] if starts else ()
      if starts and shapes[names] != shape:
        names = ()
    elif collections:
      axes += _stacked(names)
      names = _below(names, "params")
    spec = spec_of("/".join(names), shape[axes:], partition)
    spec = PartitionSpec(*[None] * axes, *spec) if spec else spec
    shardings.append(NamedSharding(partition.mesh, spec))
  return form.unflatten(shardings)


def spec_of(path: str, shape: tuple, partition: Partition) -> PartitionSpec:
  """Says how an array is cut.

  Args:
    path: such as "block_0/mlp/kernel"; "" for what no rule is about.

  Raises:
    UserError: if it cannot be cut as a strict rule says.

  Example:
    >>> mesh = jax.make_mesh((1, 2), ("data", "model"))
    >>> rules = (Rule(re.compile("kernel"), PartitionSpec(None, "model")),)
    >>> partition = Partition(mesh, rules, PartitionSpec("data"))
    >>> tuple(spec_of("head/kernel", (3, 4), partition))
    (None, 'model')
  """
  path = _below_owner(path)
  for rule in partition.rules if path else ():
    if not rule.pattern.search(path):
      continue
    if rule.spec is None:
      return _longest_axis(shape, partition.mesh, path)
    problem = _misfit(rule, path, shape, partition.mesh)
    if problem and rule.strict:
      raise UserError(problem)
    return PartitionSpec() if problem else rule.spec
  return PartitionSpec()


def check_matches(partition: Partition, trees: Any) -> None:
  """Refuses a rule that no path of a training knows.

  Args:
    trees: parameters, variables, teachers, or their shapes.
  """
  leaves, _ = jax.tree_util.tree_flatten_with_path(trees)
  paths = []
  for path, _ in leaves:
    names = _names(path)
    names = _below(names, "params") if "params" in names else names[1:]
    paths.append(_below_owner("/".join(names)))
  for rule in partition.rules:
    if not rule.strict or any(map(rule.pattern.search, paths)):
      continue
    text = rule.pattern.pattern
    near = difflib.get_close_matches(text, paths, n=3, cutoff=0)
    raise UserError(
      f"the rule {text!r} matches no parameter; the nearest are"
      f" {', '.join(near)}"
    )


def make_rules(rules: Iterable[Any], mesh: Mesh) -> tuple[Rule, ...]:
  """Reads rules as users write them, and checks them against a mesh.

  Args:
    rules: (regular expression, PartitionSpec).

  Raises:
    UserError: for what is no such pair, and axes that the mesh does not have.
  """
  read_rules = tuple(map(_rule, rules))
  for rule in read_rules:
    check_axes(rule.spec, mesh)
  return read_rules


def check_axes(spec: PartitionSpec, mesh: Mesh) -> None:
  """Raises a UserError for axes that the mesh does not have, or named twice.

  Example:
    >>> check_axes(PartitionSpec("data"), jax.make_mesh((1,), ("data",)))
  """
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


def parts_of(name: Any, mesh: Mesh) -> int:
  """Into how many parts an axis of a mesh, several or none, cut an array's.

  Example:
    >>> parts_of(("data", None), jax.make_mesh((2,), ("data",)))
    2
  """
  names = name if isinstance(name, tuple) else (name,)
  return math.prod(1 if axis is None else mesh.shape[axis] for axis in names)


def rows_here(partition: Partition) -> tuple[int, int, int]:
  """Says which part of every batch this process's devices see.

  Returns:
    (first, one past the last, all), of the parts into which batches are cut.

  Raises:
    UserError: if they do not see parts side by side.

  Example:
    >>> mesh = Mesh(jax.devices()[:2], ("data",))
    >>> rows_here(Partition(mesh, (), PartitionSpec("data")))
    (0, 2, 2)
  """
  mesh, process = partition.mesh, jax.process_index()
  name = partition.batch[0] if partition.batch else None
  if name is None:
    return 0, 1, 1
  axis = mesh.axis_names.index(name)
  there = np.vectorize(lambda one: one.process_index == process)(mesh.devices)
  places = np.unique(np.nonzero(there)[axis])
  if len(places) != places[-1] - places[0] + 1:
    raise UserError(
      f"the mesh lays the axis {name!r} over processes so that one of them sees"
      " rows that are not side by side; name that axis first"
    )
  return int(places[0]), int(places[-1]) + 1, mesh.shape[name]


def _rule(rule: Any) -> Rule:
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
    return Rule(re.compile(text), spec)
  except re.error as error:
    raise UserError(
      f"the rule {text!r} is no regular expression: {error}"
    ) from None


def _misfit(rule: Rule, path: str, shape: tuple, mesh: Mesh) -> str | None:
  """Why an array cannot be cut as a rule says; None if it can."""
  text = rule.pattern.pattern
  if len(rule.spec) > len(shape):
    return (
      f"the rule {text!r} cuts {len(rule.spec)} axes, {path} has the shape"
      f" {tuple(shape)}"
    )
  for axis, name in enumerate(rule.spec):
    parts = parts_of(name, mesh)
    if shape[axis] % parts:
      return (
        f"the rule {text!r} cuts axis {axis} of {path}, which has the shape"
        f" {tuple(shape)}, into {parts}"
      )
  return None


def _longest_axis(shape: tuple, mesh: Mesh, path: str) -> PartitionSpec:
  """Cuts the longest axis that all devices together divide evenly.

  Of an embedding that of its features, where one axis of the mesh cuts all: devices
  then exchange what they look up of each other's tokens; of parts of the vocabulary
  each would look up all tokens, and all would be summed.
  """
  axes = [i for i, size in enumerate(shape) if size % mesh.size == 0 and size]
  if not axes:
    return PartitionSpec()
  longest = max(axes, key=lambda i: shape[i])
  if path.endswith("embedding") and max(mesh.shape.values()) == mesh.size:
    longest = axes[-1]
  return PartitionSpec(*[None] * longest, mesh.axis_names)


def _stacked(names: tuple[str, ...]) -> int:
  """Leading axes of networks: those of an ensemble are stacked by kind."""
  above = names[: names.index("params")] if "params" in names else ()
  return sum(name.isdecimal() for name in above)


def _below(names: Sequence[str], name: str) -> tuple[str, ...]:
  """The part of a path below a name; () where it has none of that name."""
  return tuple(names[names.index(name) + 1 :]) if name in names else ()


def _below_owner(path: str) -> str:
  owner, _, rest = path.partition("/")
  return rest if owner in OWNERS else path


def _names(path: Iterable[Any]) -> tuple[str, ...]:
  names = [
    str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
    for key in path
  ]
  # What an nnx variable holds.
  return tuple(names[:-1] if names[-1:] == ["value"] else names)
