"""What batches can be read from, told by what it can do: no library is imported."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.arguments import check_whole
from kdjax.core.errors import UserError
from kdjax.data.batch_entries import count_rows, to_arrays
from kdjax.data.plan import batches as plan_batches
from kdjax.data.plan import steps_per_pass

# What an infinite data set of grain says of its length.
_ENDLESS = 2**62


class Source(NamedTuple):
  """Where batches come from.

  Attributes:
    read: (pass from 0, batches to leave out) -> the other items of this pass.
    steps: batches in a pass; None where they are not known.
    once: whether there is one pass alone.
    examples: how many there are; None where that is not known.
    arrays: all of them by name, where they are in memory.
  """

  read: Callable[[int, int], Iterator[Any]]
  steps: int | None = None
  once: bool = False
  examples: int | None = None
  arrays: Mapping[str, Any] | None = None


def open_source(
  batches: Any,
  batch_size: int | None = None,
  seed: int | None = None,
  default_size: int | None = None,
) -> Source:
  """Finds out how batches are read from what a user has.

  Args:
    batches: see `open_batches`.
    batch_size: of examples that are not in batches yet.
    seed: of their order; None for the order in which they are stored.
    default_size: the batch size where it is None, or all examples if those are
      fewer.

  Raises:
    UserError: for what no batches can be read from, with what to give.
  """
  if hasattr(batches, "with_format"):
    return _hugging_face(batches, batch_size, seed, default_size)
  if isinstance(batches, Mapping):
    return _whole_arrays(batches, batch_size, seed, default_size)
  names = getattr(batches, "column_names", getattr(batches, "columns", None))
  if names is not None:  # of pandas, polars, pyarrow
    columns = {str(name): batches[name] for name in names}
    return _whole_arrays(columns, batch_size, seed, default_size)
  if callable(batches):
    return _function(batches, batch_size, seed, default_size)
  if not hasattr(batches, "__iter__"):
    raise UserError(
      f"batches: nothing can be read from a {type(batches).__name__}; give a"
      " mapping of arrays, an iterable of mappings, a function that returns one,"
      " or a data set of grain, torch, tf.data or Hugging Face"
    )
  if batch_size is not None:
    raise UserError(
      f"batch_size={batch_size}: a {type(batches).__name__} yields batches of its"
      " own size; batch_size= is for mappings of whole arrays and data sets of"
      " Hugging Face"
    )
  if hasattr(batches, "to_iter_dataset"):
    return _grain_map(batches)
  once = iter(batches) is batches
  items = getattr(batches, "as_numpy_iterator", lambda: iter(batches))
  return Source(
    lambda number, start: _skip(items(), start), _length(batches), once
  )


def _whole_arrays(arrays, batch_size, seed, default_size) -> Source:
  arrays = to_arrays(arrays)
  take = lambda rows: jax.tree.map(lambda x: x[rows], arrays)  # noqa: E731
  count = count_rows(arrays)
  size = _size(batch_size, default_size, count, "a mapping of whole arrays")
  return _by_rows(take, count, size, seed)._replace(arrays=arrays)


def _hugging_face(dataset, batch_size, seed, default_size) -> Source:
  if isinstance(dataset, Mapping):
    raise UserError(
      f"batches: a {type(dataset).__name__} holds several data sets; give one of"
      f" them: {', '.join(map(repr, dataset))}"
    )
  arrays, count = dataset.with_format("numpy"), _length(dataset)
  content = "a data set of single examples"
  batch_size = _size(batch_size, default_size, count, content)
  if count is not None:
    take = lambda rows: dict(arrays[rows.tolist()])  # noqa: E731
    return _by_rows(take, count, batch_size, seed)

  def read(number, start):
    if hasattr(arrays, "set_epoch"):
      arrays.set_epoch(number)
    return _skip(arrays.iter(batch_size=batch_size), start)

  return Source(read)


def _by_rows(take, count, batch_size, seed) -> Source:
  """Of examples that are read by their places, which become `index`."""
  examples, steps = np.arange(count), steps_per_pass(count, batch_size)

  def read(number, start):
    first = number * steps
    plan = plan_batches(
      examples, batch_size, seed=seed, start=first + start, stop=first + steps
    )
    for rows, counts in zip(*plan, strict=True):
      item = {"index": rows, **take(rows)}
      yield item | {"weight": item.get("weight", 1) * counts}

  return Source(read, steps, examples=count)


def _function(function, batch_size, seed, default_size) -> Source:
  """Calls a function once a pass, with the pass's number where it takes one."""
  parameters = inspect.signature(function).parameters.values()
  takes = [
    one.name
    for one in parameters
    if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    and (one.default is one.empty or one.name == "epoch")
  ]
  if len(takes) > 1:
    raise UserError(
      f"batches: a function is called with the epoch's number alone, this one"
      f" takes {', '.join(takes)}"
    )

  def read(number, start):
    batches = function(*[number][: len(takes)])
    if batches is None or callable(batches):
      raise UserError(
        f"batches: the function returned a {type(batches).__name__}; it must return"
        " an iterable of mappings, or a mapping of arrays"
      )
    source = open_source(batches, batch_size, seed, default_size)
    return source.read(number, start)

  return Source(read)


def _grain_map(dataset) -> Source:
  """Of a grain.MapDataset, which shuffles anew for every repetition."""
  steps = _length(dataset)

  def read(number, start):
    rest = dataset
    if number and steps:
      rest = dataset.repeat(number + 1)[number * steps : (number + 1) * steps]
    return _skip(iter(rest.to_iter_dataset()), start)

  return Source(read, steps)


def _skip(items: Iterator, count: int) -> Iterator:
  # What keeps its own place must come out as it is.
  return itertools.islice(items, count, None) if count else iter(items)


def _length(batches: Any) -> int | None:
  try:
    length = len(batches)
  except (AttributeError, TypeError):  # has none; tf.data: not known
    return None
  return length if length < _ENDLESS else None


def _size(
  batch_size: int | None, default: int | None, count: int | None, what: str
) -> int:
  if batch_size is not None:
    return check_whole("batch_size", batch_size)
  if default is None:
    raise UserError(f"batches: {what} needs batch_size=")
  return default if count is None else min(default, max(count, 1))
