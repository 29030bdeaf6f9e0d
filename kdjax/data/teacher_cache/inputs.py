"""Which stored row is of which example: by its inputs' bytes, or by its place."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core.errors import StorageError, UserError
from kdjax.data.whole import first_line

FILE = "inputs.npy"


def row_keys(item: Mapping[str, Any], entries: Iterable[str]) -> np.ndarray:
  """Hashes each row of some entries of a batch.

  Args:
    item: arrays (B, ...) by name.
    entries: which of them; types that jax does not have count as those it has.

  Returns:
    (B,) uint64.

  Example:
    >>> one, other = ({"x": np.ones((1, 2), x)} for x in (np.float32, np.float64))
    >>> bool(row_keys(one, ["x"]) == row_keys(other, ["x"]))
    True
  """
  arrays = [
    np.ascontiguousarray(x, jax.dtypes.canonicalize_dtype(x.dtype))
    for x in jax.tree.leaves([item[name] for name in sorted(entries)])
  ]
  keys = np.empty(len(arrays[0]), np.uint64)
  for row in range(len(keys)):
    whole = hashlib.blake2b(digest_size=8)
    for array in arrays:
      whole.update(array[row].tobytes())
    keys[row] = int.from_bytes(whole.digest(), "little")
  return keys


def write_keys(
  folder: Path, keys: np.ndarray, entries: Iterable[str]
) -> dict[str, Any]:
  """Writes the keys of all examples beside a cache's answers.

  Args:
    keys: (N,) uint64.

  Returns:
    What the manifest says of them under "data", "inputs".
  """
  try:
    np.save(folder / FILE, keys, allow_pickle=False)
  except OSError as error:
    raise StorageError(f"cannot write {folder / FILE}: {error}") from error
  digest = hashlib.sha256(keys.tobytes()).hexdigest()
  return {"file": FILE, "entries": sorted(entries), "sha256": digest}


def open_finder(
  folder: Path, data: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], np.ndarray]:
  """Makes the function that finds a batch's rows in a cache.

  Args:
    data: "data" of its manifest.

  Returns:
    A function: arrays (B, ...) by name -> (B,) the examples that they are: by
    the bytes of the inputs where the cache has noted them, else by `index`.

  Raises:
    StorageError: if the noted inputs are damaged.
  """
  examples, inputs = data["examples"], data.get("inputs")
  if inputs is None:
    return lambda item: _by_index(folder, examples, item)
  path = folder / FILE
  try:
    keys = np.load(path, allow_pickle=False)
    if hashlib.sha256(keys.tobytes()).hexdigest() != inputs["sha256"]:
      raise ValueError("its sha256 is not the one noted")
  except (OSError, ValueError, EOFError) as error:
    raise StorageError(f"{path} is damaged: {first_line(error)}") from error
  order = np.argsort(keys, kind="stable")

  def find(item):
    _check_entries(folder, inputs["entries"], item)
    batch_keys = row_keys(item, inputs["entries"])
    places = np.searchsorted(keys, batch_keys, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)]
    other = np.flatnonzero(keys[rows] != batch_keys)
    if len(other):
      raise UserError(
        f"teacher cache {folder}: it has no answer to row {other[0]} of a batch:"
        f" the {examples} inputs that its teacher was shown are others"
        f" ({', '.join(inputs['entries'])})"
      )
    return rows

  return find


def _by_index(folder: Path, examples: int, item) -> np.ndarray:
  index = np.asarray(item["index"])
  if index.min() < 0 or index.max() >= examples:
    other = index[(index < 0) | (index >= examples)][0]
    raise UserError(
      f"teacher cache {folder}: it has answers to {examples} examples, a batch"
      f" holds number {other}: it is of other data"
    )
  return index


def _check_entries(folder: Path, entries: Iterable[str], item) -> None:
  for name in entries:
    if name not in item:
      raise UserError(
        f"teacher cache {folder}: it finds answers by the entry {name!r}, a batch"
        f" has {', '.join(map(repr, item))}"
      )
