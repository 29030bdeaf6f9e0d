"""The entries of a batch, as users have it, and what is refused of them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import UserError

# Entries of one number an example.
_NUMBERS = ("weight", "index", "position")


def example_entries(item: Mapping[str, Any]) -> dict[str, Any]:
  """Takes out of a user's batch what is one number an example, by name.

  Example:
    >>> list(example_entries({"image": np.zeros((2, 4)), "index": np.arange(2)}))
    ['index']
  """
  return {name: item[name] for name in _NUMBERS if name in item}


def check_lengths(batch: Any, item: Mapping[str, Any]) -> None:
  """Refuses arrays that do not have one row an example.

  Args:
    batch: the Batch that a task has made of the item.

  Raises:
    UserError: names the entry, and both shapes.

  Example:
    >>> from kdjax.core.task import batch_of
    >>> item = {"image": jnp.zeros((6, 2)), "label": jnp.zeros(5, int)}
    >>> check_lengths(batch_of(item["image"], item["label"]), item)
    Traceback (most recent call last):
    kdjax.core.errors.UserError: batch: entry 'image' has the shape (6, 2), \
'label' (5,); each has one row an example
  """
  names = {id(x): name for name, x in item.items()}
  first = jax.tree.leaves(batch.inputs)[0]
  for path, x in jax.tree_util.tree_leaves_with_path(batch._asdict()):
    (part, *_), shape, dtype = path, jnp.shape(x), jnp.result_type(x)
    name = names.get(id(x), jax.tree_util.keystr(path, simple=True))
    if shape[:1] != jnp.shape(first)[:1]:
      raise UserError(
        f"batch: entry {names.get(id(first), 'inputs')!r} has the shape"
        f" {jnp.shape(first)}, {name!r} {shape}; each has one row an example"
      )
    whole = part.key == "weight" or jnp.issubdtype(dtype, jnp.integer)
    if part.key in _NUMBERS and not (whole and len(shape) == 1):
      expected_kind = "number" if part.key == "weight" else "whole number"
      raise UserError(
        f"batch: entry {name!r} has the shape {shape} and the type {dtype}; it is"
        f" one {expected_kind} an example"
      )


def check_nan(batch: Any, item: Any) -> None:
  """Refuses nan among what a network is given.

  Args:
    batch: the Batch that a task has made of the item. Arrays of NumPy are looked
      into: what lies on a device would have to be waited for.

  Raises:
    UserError: names the entry and the row.

  Example:
    >>> from kdjax.core.task import batch_of
    >>> item = {"image": np.array([[0.0], [np.nan]])}
    >>> check_nan(batch_of(item["image"]), item)
    Traceback (most recent call last):
    kdjax.core.errors.UserError: batch: entry 'image' has nan in it, first in row 1
  """
  inputs = {id(x) for x in jax.tree.leaves(batch.inputs)}
  for path, x in jax.tree_util.tree_leaves_with_path(item):
    looked_at = isinstance(x, np.ndarray) and id(x) in inputs
    if not looked_at or not jnp.issubdtype(x.dtype, jnp.floating):
      continue
    # A sum is nan where one number is: cheaper than a mask of all.
    with np.errstate(all="ignore"):
      suspicious = np.isnan(x.sum())
    if suspicious and (nan := np.isnan(x)).any():
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      raise UserError(
        f"batch: entry {name!r} has nan in it, first in row"
        f" {int(np.argwhere(nan)[0, 0])}"
      )
