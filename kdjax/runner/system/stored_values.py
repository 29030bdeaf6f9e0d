"""What a stage has come to, on disk: a job that was killed reads it again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core import storage
from kdjax.train.devices import processes

ARRAY = "array"


def stored(folder: Path, make: Callable[[], Any]) -> Any:
  """Makes a value and writes it, or reads what a killed run has written.

  Of several processes the first reads and writes, for all.

  Args:
    folder: of the value; appears as a whole, or not at all.
    make: () -> dicts, with text for keys, and lists of arrays and of what JSON
      has; at least one array.
  """
  value = processes.broadcast(_read(folder) if processes.is_first() else None)
  if value is not None:
    return _formed(*value)
  value = make()
  arrays = []
  text = _plain(value, arrays)
  by_name = {f"{place:06d}": x for place, x in enumerate(arrays)}
  storage.save_network(folder, by_name, {"value": text})
  return value


def _read(folder: Path) -> tuple[Any, list[np.ndarray]] | None:
  if not (folder / storage.NOTE).is_file():
    return None
  note = storage.read_note(folder)
  arrays = storage.load_variables(folder, note)
  return note["value"], [arrays[name] for name in sorted(arrays)]


def _plain(value: Any, arrays: list) -> Any:
  """The value as JSON; an array stands there as its place among `arrays`."""
  if isinstance(value, Mapping):
    return {name: _plain(one, arrays) for name, one in value.items()}
  if isinstance(value, list):
    return [_plain(one, arrays) for one in value]
  if isinstance(value, jax.Array | np.ndarray | np.generic):
    arrays.append(value)
    return {ARRAY: len(arrays) - 1}
  return value


def _formed(value: Any, arrays: list[np.ndarray]) -> Any:
  if isinstance(value, list):
    return [_formed(one, arrays) for one in value]
  if not isinstance(value, Mapping):
    return value
  if value.keys() == {ARRAY}:
    return arrays[value[ARRAY]]
  return {name: _formed(one, arrays) for name, one in value.items()}
