"""The entries of one batch: arrays by name, of one length, or a line that says why not."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import UserError


def to_arrays(item: Any, where: str = "batches") -> dict[str, Any]:
  """Turns an item of the user's into arrays by name.

  Args:
    item: arrays by name: of numpy, jax, torch, TensorFlow, or lists of numbers;
      an entry may be a mapping of arrays itself.
    where: how the message begins.

  Returns:
    The same entries as arrays of numpy or jax.

  Raises:
    UserError: for items without names and entries that are no numbers.

  Example:
    >>> to_arrays({"label": [0, 2]})
    {'label': array([0, 2])}
  """
  if not isinstance(item, Mapping):
    kind = type(item).__name__
    if isinstance(item, tuple | list):
      kind += f" of {len(item)}"
    raise UserError(
      f"{where}: an item is a {kind}; its entries need names: give mappings, such"
      " as lambda: ({'image': x, 'label': y} for x, y in loader)"
    )
  if not item:
    raise UserError(f"{where}: an item has no entry")
  for name in item:
    if not isinstance(name, str):
      raise UserError(f"{where}: an entry's name is a text, not {name!r}")
  return {name: _entry(x, name, where) for name, x in item.items()}


def count_rows(item: Mapping[str, Any], where: str = "batches") -> int:
  """Returns the length that all entries have.

  Raises:
    UserError: if they differ, are 0, or an entry has no axis; names it.

  Example:
    >>> count_rows({"x": np.zeros((2, 5)), "label": np.zeros(2)})
    2
  """
  weight = item.get("weight")
  if weight is not None and weight.ndim > 1:
    raise UserError(
      f"{where}: entry 'weight' has the shape {weight.shape}; it is one number"
      " an example"
    )
  lengths = {}
  for path, x in jax.tree_util.tree_leaves_with_path(item):
    name = "/".join(str(key.key) for key in path)
    if not x.ndim:
      raise UserError(
        f"{where}: entry {name!r} is a single number; a batch's entries have one"
        " row an example: batch the examples first"
      )
    lengths[name] = len(x)
  first, *_ = lengths
  for name, length in lengths.items():
    if length != lengths[first]:
      raise UserError(
        f"{where}: entry {first!r} has {lengths[first]} rows, {name!r} has"
        f" {length}"
      )
  if not lengths[first]:
    raise UserError(f"{where}: entry {first!r} has no row")
  return lengths[first]


def complete(item: Mapping[str, Any], size: int) -> dict[str, Any]:
  """Fills a batch up, and says what of it counts.

  Args:
    item: arrays of B rows by name; B may be larger than `size`.
    size: rows that there should be at least.

  Returns:
    The entries with their first rows repeated behind them up to `size`, and
    `weight`, 0 for those (else the item's own, or 1), and `position`, the rows'
    places.

  Example:
    >>> batch = complete({"label": np.array([3, 4, 5])}, 4)
    >>> batch["label"], batch["weight"]
    (array([3, 4, 5, 3]), array([1., 1., 1., 0.], dtype=float32))
  """
  rows = count_rows(item)
  places = np.arange(max(rows, size), dtype=np.int32)
  item = {"weight": np.ones(rows, np.float32), **item}
  if len(places) > rows:
    item = jax.tree.map(lambda x: x[places % rows], item)
    item["weight"] = item["weight"] * (places < rows)
  return {"position": places, **item}


def _entry(value: Any, name: str, where: str) -> Any:
  if isinstance(value, Mapping):
    return {
      inner: _entry(x, f"{name}/{inner}", where) for inner, x in value.items()
    }
  if isinstance(value, jax.Array):
    return value
  try:
    array = _array(value)
  except (RuntimeError, TypeError, ValueError) as error:
    text = (str(error).splitlines() or [""])[0]
    if "inhomogeneous" in text:
      text = "its rows have several lengths; pad them to one"
    raise UserError(f"{where}: entry {name!r} is no array: {text}") from error
  if array.dtype == bool or (
    jnp.issubdtype(array.dtype, jnp.number) and array.dtype.kind != "m"
  ):
    return array
  content = {"O": "Python objects, or rows of several lengths", "U": "text"}
  content = content.get(array.dtype.kind, "no numbers")
  raise UserError(
    f"{where}: entry {name!r} holds {content} (dtype {array.dtype}); turn it into"
    " numbers of one shape, or leave it out"
  )


def _array(value: Any) -> Any:
  """Of numpy; what numpy cannot hold stays where it is, as an array of jax."""
  if hasattr(value, "detach"):  # torch refuses what has a gradient
    value = value.detach()
  if not hasattr(value, "__array__") and hasattr(value, "numpy"):
    value = value.numpy()
  try:
    return np.asarray(value)
  except (RuntimeError, TypeError):  # torch's bfloat16, and what is on a GPU
    if not hasattr(value, "__dlpack__"):
      raise
    return jnp.from_dlpack(value)
