"""Reading planned batches from disk, ahead of the training loop."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kdjax.core.errors import KdjaxError, StorageError, UserError
from kdjax.data.dataset import Images, Split, examples_at, resident
from kdjax.data.workers import open_workers

# What one thread or process reads at a time: several share a batch of large
# images, so that the first one is there soon.
PIECE_BYTES = 2 << 20

Reader = Callable[[np.ndarray], Iterator[np.ndarray]]


def stream(
  split: Split, indices: np.ndarray, *, buffer: int = 4
) -> Iterator[np.ndarray]:
  """Yields the images of planned batches, in their order.

  Images on disk are read by threads, several batches at a time; what comes out
  depends on the plan alone.

  Args:
    indices: (steps, B) example ids, as `batches` plans them.
    buffer: batches to hold ready, >= 1.

  Returns:
    An iterator over `steps` arrays (B, H, W, C) in the stored dtype.
  """
  with open_reader(split, buffer=buffer) as read:
    yield from read(indices)


@contextlib.contextmanager
def open_reader(
  split: Split, *, workers: int = 0, threads: int | None = None, buffer: int = 4
) -> Iterator[Reader]:
  """Opens what reads planned batches of a split, again and again.

  Args:
    workers: processes that read; 0 for threads of this one. Resident images
      need neither.
    threads: how many, without workers; as many as there are processors by
      default, 4 to 16.
    buffer: batches to hold ready, >= 1.

  Yields:
    A function: indices (steps, B) -> what `stream` returns.
  """
  if resident(split):
    yield lambda indices: (examples_at(split.images, row) for row in indices)
    return
  with contextlib.ExitStack() as ends:
    fill = lambda examples, out: _fill(split.images, examples, out)  # noqa: E731
    if workers:
      fill = ends.enter_context(open_workers(split.images, _fill, workers))
    many = workers or threads or _processors()
    yield lambda indices: _batches(split.images, indices, fill, many, buffer)


def read_ahead(
  fetch: Callable[[int], Any],
  steps: int,
  buffer: int,
  threads: int | None = None,
) -> Iterator[Any]:
  """Calls a function for step after step in threads, ahead of the caller.

  Args:
    fetch: step -> arrays.
    buffer: results to hold ready, >= 1.
    threads: how many; at most as many as results, and 16 by default.

  Returns:
    An iterator over the results, in the order of the steps.

  Example:
    >>> list(read_ahead(lambda step: 2 * step, steps=3, buffer=2))
    [0, 2, 4]
  """
  import grain

  options = grain.ReadOptions(
    num_threads=min(threads or 16, buffer), prefetch_buffer_size=buffer
  )
  batches = grain.MapDataset.range(steps).map(fetch)
  return iter(batches.to_iter_dataset(options))


def _batches(
  images: Images, indices: np.ndarray, fill: Callable, threads: int, buffer: int
) -> Iterator[np.ndarray]:
  """Has pieces of batches filled side by side, and yields whole ones."""
  steps, size = indices.shape
  if not steps:
    return
  first = _read(images, int(indices[0, 0]))
  pieces = min(size, -(-size * first.nbytes // PIECE_BYTES))
  edges = np.linspace(0, size, pieces + 1).astype(int)
  blocks: dict[int, np.ndarray] = {}

  def fetch(number):
    step, piece = divmod(number, pieces)
    rows = slice(edges[piece], edges[piece + 1])
    # Whichever thread is first makes the batch; one that comes at the same time
    # drops its own, unused and so never paged in.
    batch = blocks.setdefault(step, np.empty((size, *first.shape), first.dtype))
    fill(indices[step, rows], batch[rows])
    return step

  arrivals = read_ahead(fetch, steps * pieces, buffer * pieces, threads)
  for number, step in enumerate(arrivals):
    if (number + 1) % pieces == 0:
      yield blocks.pop(step)


def _fill(images: Images, examples: Sequence[int], out: np.ndarray) -> None:
  for place, example in enumerate(map(int, examples)):
    image = _read(images, example)
    if image.shape != out.shape[1:] or image.dtype != out.dtype:
      # Assigned, it would be repeated or rounded without a word.
      raise UserError(
        f"example {example} is {image.dtype} of shape {image.shape}, others"
        f" {out.dtype} of shape {out.shape[1:]}"
      )
    out[place] = image


def _read(images: Images, example: int) -> np.ndarray:
  try:
    return images[example]
  except KdjaxError as error:
    raise type(error)(f"example {example}: {error}") from error
  except Exception as error:  # storage fails in many ways
    raise StorageError(
      f"cannot read example {example}: {type(error).__name__}: {error}"
    ) from error


def _processors() -> int:
  return min(16, max(4, os.cpu_count() or 1))
