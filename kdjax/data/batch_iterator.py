"""An iterator of batches over what a user has, whose place can be kept."""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from kdjax.core.arguments import check_key, misfit
from kdjax.core.errors import UserError
from kdjax.data.batch_entries import complete, count_rows, to_arrays
from kdjax.data.batch_sources import Source, open_source
from kdjax.data.fingerprint import fingerprint_arrays


def open_batches(
  batches: Any,
  *,
  batch_size: int | None = None,
  key: jax.Array | int | None = None,
  default_size: int | None = None,
) -> "BatchIterator":
  """Makes an iterator of batches of what a user has.

  Args:
    batches: one of
      a mapping of whole arrays, (N, ...) each: needs `batch_size`;
      a Hugging Face data set, or a table of pandas, polars or pyarrow: likewise;
      an iterable of mappings of arrays, (B, ...) each, read once a pass, such as
        a list, a torch DataLoader or a tf.data.Dataset; an iterator has one pass;
      a grain data set or DataLoader, whose iterator's place is kept;
      a function that returns one of these, called once a pass; with the number
        of the pass, from 0, where it takes an argument;
      what this function has returned, as it is.
    batch_size: examples a batch, of what is not in batches yet.
    key: of the order of such examples, anew for every pass; None keeps them in
      theirs. `jax.random.key(seed)` and `seed` give the same order, which is
      that of `kdjax.data.batches`.
    default_size: the batch size where it is None and needed, or all examples if
      those are fewer.

  Returns:
    The iterator; a loop over it is one pass. See `BatchIterator`.

  Raises:
    UserError: here or while it is read, in one line that names the entry.

  Example:
    >>> arrays = {"image": np.zeros((5, 8)), "label": np.arange(5)}
    >>> for batch in open_batches(arrays, batch_size=3):
    ...   print(batch["label"], batch["weight"])
    [0 1 2] [1. 1. 1.]
    [3 4 0] [1. 1. 0.]
  """
  if isinstance(batches, BatchIterator):
    return batches
  source = open_source(batches, batch_size, _seed(key), default_size)
  return BatchIterator(source)


class BatchIterator:
  """Batches of a source, pass after pass, as dictionaries of arrays.

  Every batch has the same entries; `weight` (B,), 0 for rows that fill a ragged
  batch up to the first one's size; `position` (B,) int32, the rows' places; and
  `index` (B,) int32, their places in the data: in the arrays, or else in the
  order in which this pass is read.

  A loop over it is one pass, or the rest of one. Its place is exact where batches
  are a function of the pass (arrays, functions, lists) and where they come from
  an iterator with `get_state` and `set_state`, as grain's do; other loaders are
  read again from the pass's beginning.

  Attributes:
    epoch: passes that are done.
    steps: batches in a pass; None where nobody can know.
    examples: in a pass; likewise.
  """

  def __init__(
    self, source: Source, change: Callable[[dict], dict] = lambda batch: batch
  ):
    """Begins at the first batch.

    Args:
      change: batch -> what is yielded in its place.
    """
    self._source, self._change = source, change
    self.steps, self.examples = source.steps, source.examples
    self.epoch, self._batch, self._rows, self._size = 0, 0, 0, None
    self._items, self._names = None, None

  def __iter__(self) -> Iterator[dict[str, Any]]:
    items = self._open()
    for item in items:
      batch = self._checked(item)
      self._batch += 1
      yield self._change(batch)
    if not self._batch:
      raise UserError(
        f"batches: there is no batch in epoch {self.epoch + 1}; a function must"
        " return a new iterable whenever it is called"
      )
    self.epoch, self._batch, self._rows = self.epoch + 1, 0, 0
    self._items = None

  def map(self, change: Callable[[dict], dict]) -> "BatchIterator":
    """Returns the same batches from their beginning, each of them changed.

    Example:
      >>> batches = open_batches([{"x": np.ones(2)}])
      >>> [batch["x"] for batch in batches.map(lambda x: x | {"x": 3 * x["x"]})]
      [array([3., 3.])]
    """
    before = self._change
    return BatchIterator(self._source, lambda batch: change(before(batch)))

  def fingerprint(self) -> str | None:
    """Returns the sha256 of arrays in memory; None of what is read in another way.

    Example:
      >>> batches = open_batches({"x": np.arange(6)}, batch_size=2)
      >>> batches.fingerprint()[:8]
      'c9886c5e'
    """
    arrays = self._source.arrays
    return None if arrays is None else fingerprint_arrays(arrays)

  def get_state(self) -> dict[str, Any]:
    """Returns the place behind the last batch, as values of JSON.

    Example:
      >>> batches = open_batches({"x": np.arange(6)}, batch_size=2, key=0)
      >>> first = next(iter(batches))
      >>> state = batches.get_state()
      >>> rest = [batch["x"].tolist() for batch in batches]
      >>> again = open_batches({"x": np.arange(6)}, batch_size=2, key=0)
      >>> again.set_state(state)
      >>> rest == [batch["x"].tolist() for batch in again]
      True
    """
    inner = None
    if self._batch and hasattr(self._items, "get_state"):
      inner = self._items.get_state()
      if isinstance(inner, bytes):
        inner = {"bytes": base64.b64encode(inner).decode()}
    return {
      "epoch": self.epoch,
      "batch": self._batch,
      "rows": self._rows,
      "size": self._size,
      "steps": self.steps,
      "iterator": inner,
    }

  def set_state(self, state: Mapping[str, Any]) -> None:
    """Goes to a place that `get_state` has returned.

    Args:
      state: the place, in the same batches.

    Raises:
      UserError: for what is no place, and if these are not the batches that it is
        in.
    """
    if (
      not isinstance(state, Mapping) or state.keys() != self.get_state().keys()
    ):
      raise misfit("state", "what get_state() has returned", state)
    if state["steps"] != self.steps:
      raise UserError(
        f"batches: the saved position counts {state['steps']} batches an epoch,"
        f" these are {self.steps}: continue with the same data and batch_size"
      )
    self.epoch, self._batch = state["epoch"], state["batch"]
    self._rows, self._size, self._items = state["rows"], state["size"], None
    if state["iterator"] is not None:
      self._items = self._source.read(self.epoch, 0)
      if not hasattr(self._items, "set_state"):
        raise UserError(
          "batches: the saved position is that of an iterator with set_state,"
          f" this is a {type(self._items).__name__}"
        )
      self._items.set_state(_decoded(state["iterator"]))

  def _open(self) -> Iterator[Any]:
    """The rest of this pass."""
    if self._source.once and self.epoch:
      raise UserError(
        "batches: an iterator is read once, and it has come to its end; give a"
        " function that makes one for every epoch"
      )
    if self._items is None:
      self._items = self._source.read(self.epoch, self._batch)
    return self._items

  def _checked(self, item: Any) -> dict[str, Any]:
    where = f"batches: batch {self._batch + 1} of epoch {self.epoch + 1}"
    item = to_arrays(item, where)
    names = self._names = self._names or set(item)
    for name in sorted(names ^ set(item)):
      there = "has no" if name in names else "alone has an"
      raise UserError(f"{where} {there} entry {name!r}; all must have the same")
    rows = count_rows(item, where)
    order = np.arange(self._rows, self._rows + rows, dtype=np.int32)
    self._rows += rows
    self._size = self._size or rows
    return complete({"index": order, **item}, self._size)


def _seed(key: jax.Array | int | None) -> int | None:
  if key is None or (isinstance(key, int) and not isinstance(key, bool)):
    return key
  check_key("key", key)
  if jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key):
    key = jax.random.key_data(key)
  return int.from_bytes(np.asarray(key).astype(">u4").tobytes(), "big")


def _decoded(state: Any) -> Any:
  if isinstance(state, Mapping) and set(state) == {"bytes"}:
    return base64.b64decode(state["bytes"])
  return state
