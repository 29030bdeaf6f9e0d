"""The private variable collection through which values leave a network."""

from collections.abc import Iterable, Mapping
from typing import Any

from flax import core
from flax.core import scope

from kdjax.taps.grammar import Path, Tap

# Users name it in nn.scan's variable_axes to look inside.
COLLECTION = "taps"

Sown = dict[Tap, Any]


def with_collection(mutable: scope.CollectionFilter, token: str) -> Any:
  """Lets the private collection out too.

  nn.jit keeps its traces by what is mutable and does not ask which interceptors
  ran: the token, a collection that nobody uses, tells it.

  Args:
    mutable: what the caller of `apply` lets out.
    token: one for each set of taps or edits.

  Example:
    >>> with_collection("batch_stats", "taps a")
    ['batch_stats', 'taps', 'taps a']
  """
  mutable = scope.union_filters(mutable, [COLLECTION, token])
  if mutable is True:
    return core.DenyList((token,))
  if isinstance(mutable, core.DenyList):
    return core.DenyList(sorted(scope.union_filters(mutable.deny, token)))
  return sorted(mutable)


def mark_modules(variables: Any, paths: Iterable[Path]) -> Any:
  """Gives every module an empty variable of its own.

  nn.jit lends the trace of one module to another of the same structure; taps
  are about paths, so that structure has to tell them apart.

  Args:
    paths: of modules that may have no variables; globs do no harm.

  Example:
    >>> mark_modules({"params": {"head": {"bias": 0}}}, [])["taps"]
    {':at:': (), 'head': {':at:head': ()}}
  """
  if not isinstance(variables, Mapping):
    return variables
  marks = {}
  for tree in variables.values():
    _mark(marks, tree, ())
  for path in paths:
    node = marks
    for depth, name in enumerate(path, start=1):
      node = node.setdefault(name, {f":at:{'/'.join(path[:depth])}": ()})
  return {**variables, COLLECTION: marks}


def take_sown(collections: Mapping, owner: str) -> tuple[Sown, Mapping]:
  """Takes what one reader or editor has sown out of the collections.

  Args:
    owner: who sowed; a name is "method:owner:site".

  Returns:
    (values by tap, the collections without them).

  Example:
    >>> sown = {"taps": {"head": {"__call__:read:in": ("first", "second")}}}
    >>> sown, rest = take_sown(sown, "read")
    >>> {str(tap): value for tap, value in sown.items()}, rest
    ({'head:in': 'first', 'head:in#1': 'second'}, {})
  """
  if COLLECTION not in collections:
    return {}, collections
  collections, ours = core.pop(collections, COLLECTION)
  sown = {}
  rest = _without(core.unfreeze(ours), owner, (), sown)
  return sown, core.copy(collections, {COLLECTION: rest} if rest else {})


def _mark(marks: dict, tree: Any, path: Path) -> None:
  marks[f":at:{'/'.join(path)}"] = ()
  for name, child in tree.items():
    if isinstance(child, Mapping):
      _mark(marks.setdefault(name, {}), child, (*path, name))


def _without(tree: Mapping, owner: str, path: Path, sown: Sown) -> dict:
  rest = {}
  for key, value in tree.items():
    method, _, place = key.partition(":")
    if not place:
      value = _without(value, owner, (*path, key), sown)
    elif place.startswith("at:"):
      continue
    elif place.startswith(f"{owner}:"):
      site = place.removeprefix(f"{owner}:")
      sown |= {
        Tap(path, method, site, call): one for call, one in enumerate(value)
      }
      continue
    if value:
      rest[key] = value
  return rest
