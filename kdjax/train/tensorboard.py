"""TensorBoard's scalars, written where they are asked for.

tensorboardX writes in a thread of its own: on a full disk that thread dies with
a traceback, and whoever waits for its queue waits for ever.
"""

import os
import socket
import time
from pathlib import Path

from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from kdjax.core.errors import StorageError

SECONDS = 120.0


class Scalars(SummaryWriter):
  """tensorboardX's writer, without its thread.

  Example:
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> scalars = Scalars(folder)
    >>> scalars.add_scalar("student/loss", 0.5, 1)
    >>> scalars.close()
    >>> b"student/loss" in next(folder.iterdir()).read_bytes()
    True
  """

  def __init__(self, folder: Path, *, seconds: float = SECONDS):
    """Makes the file.

    Args:
      seconds: after how many what was written is handed to the system.
    """
    self._folder, self._seconds = folder, seconds
    super().__init__(str(folder))

  def _get_file_writer(self):
    if self.file_writer is None:
      self.file_writer = _File(self._folder, self._seconds)
      self.all_writers = {str(self._folder): self.file_writer}
    return self.file_writer


class _File:
  """One file of events."""

  def __init__(self, folder: Path, seconds: float):
    name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
    # A run that goes on within the second does not overwrite what was there.
    self._path = folder / f"{name}.{os.getpid()}"
    self._flushed, self._seconds = time.monotonic(), seconds
    self._file = None
    self._guarded(self._open)

  def get_logdir(self) -> str:
    return str(self._path.parent)

  def add_summary(self, summary, step=None, walltime=None) -> None:
    event = Event(summary=summary, step=step, wall_time=walltime or time.time())
    self._guarded(self._write, event)

  def flush(self) -> None:
    """Is called before `close`, which must also follow where this would fail."""

  def close(self) -> None:
    self._guarded(self._file.close)

  def _open(self) -> None:
    self._path.parent.mkdir(parents=True, exist_ok=True)
    self._file = RecordWriter(str(self._path))
    self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
    self._file.flush()

  def _write(self, event: Event) -> None:
    self._file.write(event.SerializeToString())
    if time.monotonic() - self._flushed > self._seconds:
      self._file.flush()
      self._flushed = time.monotonic()

  def _guarded(self, do, *arguments) -> None:
    try:
      do(*arguments)
    except OSError as error:
      raise StorageError(
        f"cannot write {self._path}: {error.strerror or error}"
      ) from error
