"""How a folder's files enter themselves under names."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, MutableMapping


def entering(kind: str, makers: MutableMapping[str, Callable]) -> Callable:
  """Makes the decorator with which makers enter a table.

  Args:
    kind: what the makers make, for the error message.
    makers: the table; a name that it holds already is taken.

  Returns:
    name -> decorator; the decorator returns the maker unchanged.

  Example:
    >>> table = {}
    >>> register = entering("shape", table)
    >>> @register("dot")
    ... def dot():
    ...   return "."
    >>> table["dot"]()
    '.'
  """

  def register(name: str) -> Callable:
    def enter(maker: Callable) -> Callable:
      if name in makers:
        raise ValueError(f"{kind} {name!r} is registered already")
      makers[name] = maker
      return maker

    return enter

  return register


def by_file(makers: Mapping[str, Callable]) -> dict[str, Callable]:
  """Orders a table by the makers' files, and within a file as they stand there.

  The table itself is in the order of imports.

  Example:
    >>> import math
    >>> list(by_file({"sqrt": math.sqrt, "len": len, "exp": math.exp}))
    ['len', 'sqrt', 'exp']
  """
  # Those of a file entered one after the other, and sorting is stable.
  return dict(sorted(makers.items(), key=lambda entry: entry[1].__module__))


def import_modules(package: str) -> None:
  """Imports every module of a package, so that each can register itself."""
  for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
    importlib.import_module(f"{package}.{module.name}")
