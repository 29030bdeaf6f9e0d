"""The names of models; every file of this folder joins by being there."""

import importlib
import pkgutil
from collections.abc import Callable

import flax.linen as nn

MAKERS: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable:
  """Enters a maker, a function of options and `classes` that returns a module.

  Args:
    name: the family's name.

  Returns:
    The decorator; it returns the maker unchanged.

  Raises:
    ValueError: if the name is taken.

  Example:
    >>> @register("example")
    ... def example(*, classes):
    ...   return None
    >>> MAKERS.pop("example") is example
    True
  """

  def enter(maker):
    if name in MAKERS:
      raise ValueError(f"model {name!r} is registered already")
    MAKERS[name] = maker
    return maker

  return enter


def import_all() -> None:
  """Imports every module of this folder, so that it can register itself."""
  package = importlib.import_module("kdjax.models")
  for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"kdjax.models.{module.name}")
