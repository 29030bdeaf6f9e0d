"""The names of methods; every file of this folder joins by being there."""

import importlib
import pkgutil
from collections.abc import Callable

from kdjax.method import Method

MAKERS: dict[str, Callable[..., Method]] = {}

# A family's name stands for a good default of the family.
FAMILIES = {"response": "kd"}

# Whole objectives by name.
PRESETS = {
  "soft": "kd:1",
  "soft_and_hard": "kd:0.9 + ce:0.1",
  "hard": "ce:1",
}


def register(name: str) -> Callable:
  """Enters a maker, a function of hyper-parameters that returns a Method.

  Args:
    name: the paper's name for the method.

  Returns:
    The decorator; it returns the maker unchanged.

  Raises:
    ValueError: if the name is taken.

  Example:
    >>> @register("example")
    ... def example():
    ...   return stateless(lambda inputs: 0.0)
    >>> MAKERS.pop("example") is example
    True
  """

  def enter(maker):
    if name in MAKERS or name in FAMILIES or name in PRESETS:
      raise ValueError(f"method {name!r} is registered already")
    MAKERS[name] = maker
    return maker

  return enter


def import_all() -> None:
  """Imports every module of this folder, so that it can register itself."""
  package = importlib.import_module("kdjax.methods")
  for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"kdjax.methods.{module.name}")
