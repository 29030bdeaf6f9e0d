"""The arrays of an nnx module, by collection as linen has them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx

from kdjax.core.errors import UserError
from kdjax.taps.grammar import shorten_names


@jax.tree_util.register_pytree_with_keys_class
class Variables(Mapping):
  """Arrays by collection, nested by name: variables["params"]["head"]["kernel"].

  What `nnx.update` reads of a mapping is its `items`; here those are the module's
  own, without collections, so that `nnx.update(module, variables)` works. All
  else is by collection, `dict(variables)` too.

  Args:
    collections: arrays by collection, nested by name.
    lists: the paths of the module's lists, whose items have numbers for names.
  """

  def __init__(self, collections: Mapping[str, Any], lists: frozenset = ()):
    self._collections, self.lists = dict(collections), frozenset(lists)

  def __getitem__(self, name: str) -> Any:
    return self._collections[name]

  def __iter__(self):
    return iter(self._collections)

  def __len__(self) -> int:
    return len(self._collections)

  def __repr__(self) -> str:
    return f"Variables({self._collections})"

  def items(self):
    union = {}
    for tree in self._collections.values():
      _merge(union, tree)
    return _numbered(union, (), self.lists).items()

  def tree_flatten_with_keys(self):
    names = tuple(sorted(self._collections))
    children = [
      (jax.tree_util.DictKey(name), self._collections[name]) for name in names
    ]
    return children, (names, self.lists)

  @classmethod
  def tree_unflatten(cls, names_and_lists, children):
    names, lists = names_and_lists
    return cls(dict(zip(names, children, strict=True)), lists)


class Place(NamedTuple):
  """One array of a module.

  Attributes:
    path: names and, in lists, numbers.
    collection: where it is among the variables.
    shape: its shape.
  """

  path: tuple
  collection: str
  shape: tuple


def places_in(state: nnx.State) -> tuple[Place, ...]:
  """Lists a module's arrays; the state of its random streams is none of them."""
  return tuple(
    Place(tuple(path), _collection(leaf), raw(leaf).shape)
    for path, leaf in nnx.to_flat_state(state)
    if not isinstance(leaf, nnx.RngState) and hasattr(raw(leaf), "shape")
  )


def raw(leaf: Any) -> Any:
  """Returns the array in a variable, or the array that is in none."""
  return leaf.get_raw_value() if isinstance(leaf, nnx.Variable) else leaf


def gather(places: Iterable[Place], values: Mapping[tuple, Any]) -> dict:
  """Nests arrays by collection and name.

  Args:
    values: arrays by path, at least those of the places.
  """
  collections = {"params": {}}
  for path, collection, _ in places:
    node = collections.setdefault(collection, {})
    for name in path[:-1]:
      node = node.setdefault(str(name), {})
    node[str(path[-1])] = values[path]
  return collections


def lists_in(places: Iterable[Place]) -> frozenset:
  """Returns the paths of the lists."""
  return frozenset(
    tuple(map(str, path[:depth]))
    for path, _, _ in places
    for depth, name in enumerate(path)
    if isinstance(name, int)
  )


def spread(
  places: Iterable[Place], variables: Mapping[str, Any], owner: str
) -> dict[tuple, Any]:
  """Finds a module's arrays among variables; undoes `gather`.

  Args:
    owner: the module's name, for the error.

  Returns:
    Arrays by path.

  Raises:
    UserError: if the variables are those of another module.
  """
  if not isinstance(variables, Mapping):
    raise UserError(
      f"{owner} takes variables by collection, as from_nnx returns them; got"
      f" {type(variables).__name__}"
    )
  by_name = {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(
      by_collection(variables)
    )
  }
  expected_places = {
    "/".join(map(str, (place.collection, *place.path))): place
    for place in places
  }
  wrong = [
    f"{name} is missing" for name in expected_places.keys() - by_name.keys()
  ]
  wrong += [
    f"{name} is none of it" for name in by_name.keys() - expected_places.keys()
  ]
  wrong += [
    f"{name} has shape {by_name[name].shape}, not {place.shape}"
    for name, place in expected_places.items()
    if name in by_name and by_name[name].shape != place.shape
  ]
  if wrong:
    raise UserError(
      f"the variables are not those of {owner}:"
      f" {shorten_names(sorted(wrong), most=4)}"
    )
  return {place.path: by_name[name] for name, place in expected_places.items()}


def by_collection(variables: Mapping[str, Any]) -> dict[str, Any]:
  """Returns variables by collection; an nnx.State is taken as well."""
  if not isinstance(variables, nnx.State):
    return dict(variables)
  values = {path: raw(leaf) for path, leaf in nnx.to_flat_state(variables)}
  return gather(places_in(variables), values)


def _collection(leaf: Any) -> str:
  if not isinstance(leaf, nnx.Variable):
    return "arrays"
  if isinstance(leaf, nnx.Param):
    return "params"
  try:
    return nnx.variablelib.variable_name_from_type(type(leaf))
  except ValueError:
    return type(leaf).__name__


def _merge(into: dict, tree: Mapping) -> None:
  for name, value in tree.items():
    if isinstance(value, Mapping):
      _merge(into.setdefault(name, {}), value)
    else:
      into[name] = value


def _numbered(tree: Any, path: tuple, lists: frozenset) -> Any:
  if not isinstance(tree, Mapping):
    return tree
  return {
    int(name) if path in lists else name: _numbered(child, (*path, name), lists)
    for name, child in tree.items()
  }
