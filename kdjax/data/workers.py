"""Worker processes that decode images, where threads are not enough.

Not grain's: those are made anew for every iterator, here for every portion of
an epoch, want absl's flags parsed, and outlive a run that is killed. These live
as long as the training, and end when their pipe does, whatever ended the run.
"""

import atexit
import contextlib
import multiprocessing
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

import numpy as np

from kdjax.core.errors import InfrastructureError, KdjaxError
from kdjax.data.dataset import Images

# Long enough for a process that has died to be buried.
_PATIENCE_SECONDS = 2


@contextlib.contextmanager
def open_workers(
  images: Images,
  read: Callable[[Images, Sequence[int], np.ndarray], None],
  count: int,
) -> Iterator[Callable[[Sequence[int], np.ndarray], None]]:
  """Starts processes that read images.

  Args:
    images: picklable; every process gets a copy.
    read: importable by name: (images, examples, array to fill) -> None.
    count: how many processes, >= 1.

  Yields:
    A function (examples, array to fill) that has a process read; callable from
    several threads, of which as many as there are processes are served at once.
    It raises what reading raises, and an InfrastructureError if the process
    dies.
  """
  # Spawned: a fork would copy jax's locks, but not the threads that hold them.
  context = multiprocessing.get_context("spawn")
  free: queue.SimpleQueue = queue.SimpleQueue()
  workers: list[tuple] = []

  def end():
    for _, connection in workers:
      connection.close()
    for process, _ in workers:
      _bury(process)

  # For a training that nobody runs to its end: multiprocessing would wait for
  # the processes.
  atexit.register(end)
  try:
    for _ in range(count):
      workers.append(_start(context, images, read))
      free.put(workers[-1])
    yield lambda examples, out: _ask(free, examples, out)
  finally:
    atexit.unregister(end)
    end()


def _start(context, images: Images, read: Callable):
  ours, theirs = context.Pipe()
  process = context.Process(
    target=_serve, args=(images, read, theirs), name="kdjax data worker"
  )
  process.start()
  theirs.close()  # so that its end is the pipe's
  return process, ours


def _bury(process) -> None:
  process.join(_PATIENCE_SECONDS)
  if process.is_alive():  # it waits for storage that does not answer
    process.kill()
    process.join()


def _ask(free: queue.SimpleQueue, examples, out: np.ndarray) -> None:
  process, connection = worker = free.get()
  try:
    connection.send((tuple(map(int, examples)), out.shape, out.dtype))
    answer = connection.recv()
    if answer is None:
      connection.recv_bytes_into(out.reshape(-1).view(np.uint8))
  except (EOFError, OSError) as error:
    process.join(_PATIENCE_SECONDS)
    raise InfrastructureError(
      f"data worker {process.pid} died ({_cause(process.exitcode)}) while it"
      f" read example {examples[0]} and {len(examples) - 1} others; each worker"
      " takes some 200 MB of memory: lower --data_workers if it ran out"
    ) from error
  finally:
    free.put(worker)
  if answer is not None:
    raise answer


def _cause(status: int | None) -> str:
  if status is None or status >= 0:
    return f"exit status {status}"
  return signal.Signals(-status).name


def _serve(images: Images, read: Callable, connection: Connection) -> None:
  """Reads what is asked for until nobody is there to ask; a worker's life."""
  # Ctrl-C and a scheduler's SIGTERM reach every process of a run, which goes on
  # until it has saved: it needs its workers until then.
  for kind in (signal.SIGINT, signal.SIGTERM):
    signal.signal(kind, signal.SIG_IGN)
  with contextlib.suppress(EOFError, OSError):
    while True:
      examples, shape, dtype = connection.recv()
      out = np.empty(shape, dtype)
      try:
        read(images, examples, out)
      except KdjaxError as error:
        connection.send(error)
        continue
      connection.send(None)
      connection.send_bytes(out.reshape(-1).view(np.uint8))
