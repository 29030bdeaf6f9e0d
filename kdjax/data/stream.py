"""Reading planned batches from disk, ahead of the training loop."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kdjax.data.dataset import Split, resident
from kdjax.errors import KdjaxError, StorageError


def stream(
  split: Split, indices: np.ndarray, *, buffer: int = 4
) -> Iterator[np.ndarray]:
  """Yields the images of planned batches, in their order.

  Images on disk are read by threads, several batches at a time; what comes out
  depends on the plan alone.

  Args:
    split: images, resident or not.
    indices: (steps, B) example ids, as `batches` plans them.
    buffer: batches to hold ready, >= 1.

  Returns:
    An iterator over `steps` arrays (B, H, W, C) in the stored dtype.

  Raises:
    KdjaxError: while iterating, if an example cannot be read; names it.

  Example:
    >>> images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    >>> split = Split(images, np.zeros(3, np.int32))
    >>> [batch.ravel().tolist() for batch in stream(split, np.array([[2, 0]]))]
    [[2, 0]]
  """
  if resident(split):
    return (split.images[row] for row in indices)

  def fetch(step):
    return np.stack([_read(split, int(example)) for example in indices[step]])

  return read_ahead(fetch, len(indices), buffer)


def read_ahead(
  fetch: Callable[[int], Any], steps: int, buffer: int
) -> Iterator[Any]:
  """Calls a function for step after step in threads, ahead of the caller.

  Args:
    fetch: step -> arrays.
    steps: how many there are.
    buffer: results to hold ready, >= 1.

  Returns:
    An iterator over the results, in the order of the steps.

  Example:
    >>> list(read_ahead(lambda step: 2 * step, steps=3, buffer=2))
    [0, 2, 4]
  """
  import grain

  options = grain.ReadOptions(
    num_threads=min(16, buffer), prefetch_buffer_size=buffer
  )
  planned = grain.MapDataset.range(steps).map(fetch)
  return iter(planned.to_iter_dataset(options))


def _read(split: Split, example: int) -> np.ndarray:
  try:
    return split.images[example]
  except KdjaxError as error:
    raise type(error)(f"example {example}: {error}") from error
  except Exception as error:  # storage fails in many ways
    raise StorageError(
      f"cannot read example {example}: {type(error).__name__}: {error}"
    ) from error
