"""A bar with loss, images a second and time left; a line where no one watches."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

from kdjax.report import formats, reading


class Advance(Protocol):
  """Called when epochs are done, with their loss (a number, or one a seed)."""

  def __call__(self, loss: Any = None, *, epochs: int = 1) -> None: ...


@contextlib.contextmanager
def progress(
  total_epochs: int,
  description: str,
  images_per_epoch: int = 0,
  *,
  stream: TextIO | None = None,
) -> Iterator[Advance]:
  """Shows how far a phase has come, on a terminal; elsewhere only its end.

  Args:
    total_epochs: how many are to come.
    description: of the phase, such as "student".
    images_per_epoch: of all seeds together; 0 leaves the speed out.
    stream: where to write, by default stderr.

  Yields:
    The function to call after each epoch. The line at the end is written
    unless an exception ends the phase.

  Example:
    >>> with progress(2, "student", stream=sys.stdout) as advance:
    ...   advance(loss=0.5)
    ...   advance(loss=[0.2, 0.3])  # doctest: +ELLIPSIS
    student: 2 epochs in ..., loss 0.2500
  """
  stream = sys.stderr if stream is None else stream
  phase = _Phase(description, images_per_epoch)
  if stream.isatty():
    with _bar(total_epochs, description, stream) as update:

      def advance(loss: Any = None, *, epochs: int = 1) -> None:
        phase.advance(loss, epochs)
        update(epochs, phase.status())

      yield advance
  else:
    yield lambda loss=None, *, epochs=1: phase.advance(loss, epochs)
  print(phase.summary(), file=stream, flush=True)


class _Phase:
  """Counts epochs and time."""

  def __init__(self, description: str, images_per_epoch: int):
    self._description = description
    self._images = images_per_epoch
    self._epochs = 0
    self._loss = None
    self._start = self._last = time.perf_counter()
    self._speed = None

  def advance(self, loss: Any, epochs: int) -> None:
    now = time.perf_counter()
    self._epochs += epochs
    # Of the latest epochs alone: the first one holds the compilation.
    self._speed = self._images * epochs / max(now - self._last, 1e-9)
    self._last = now
    values = reading.numbers(loss)
    self._loss = float(values.mean()) if values.size else None

  def status(self) -> str:
    parts = []
    if self._loss is not None:
      parts.append(f"loss {self._loss:.4f}")
    if self._images and self._speed:
      parts.append(f"{formats.count(self._speed)} images/s")
    return ", ".join(parts)

  def summary(self) -> str:
    seconds = time.perf_counter() - self._start
    line = (
      f"{self._description}: {self._epochs} epoch{'s' * (self._epochs != 1)}"
      f" in {formats.duration(seconds)}"
    )
    if self._images and self._epochs:
      speed = self._images * self._epochs / max(seconds, 1e-9)
      line += f", {formats.count(speed)} images/s"
    if self._loss is not None:
      line += f", loss {self._loss:.4f}"
    return line


@contextlib.contextmanager
def _bar(total: int, description: str, stream: TextIO) -> Iterator[Any]:
  import rich.console
  from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
  )

  bar = Progress(
    TextColumn("{task.description}", markup=False),
    BarColumn(bar_width=None),
    MofNCompleteColumn(),
    TextColumn("{task.fields[status]}", markup=False),
    TimeRemainingColumn(),
    TextColumn("left"),
    console=rich.console.Console(file=stream),
    transient=True,
    expand=True,
  )
  with bar:
    task = bar.add_task(description, total=total, status="")
    yield lambda epochs, status: bar.update(task, advance=epochs, status=status)
