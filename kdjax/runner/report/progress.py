"""Loss, score, speed and time left: a bar on a terminal, elsewhere lines."""

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol, TextIO

from kdjax.runner.report import formats, reading
from kdjax.train.devices import processes

# Seconds from a line to the next: the longer a phase takes, the more.
LEAST, MOST, SHARE = 5.0, 60.0, 1 / 12


class Advance(Protocol):
  """Called when epochs are done, with their loss (a number, or one a seed).

  `score` is the latest measured, in words. With `epochs` 0 it is a sign of life
  within an epoch.
  """

  def __call__(
    self, loss: Any = None, *, epochs: int = 1, score: str | None = None
  ) -> None: ...


def compiling(description: str) -> None:
  """Says that a phase begins with compiling, which shows nothing itself."""
  say(f"{description}: compiling")


def say(text: str) -> None:
  """Says what takes a while now, on stderr; of several processes the first."""
  print(text, file=_stream(), flush=True)


@contextlib.contextmanager
def progress(
  total_epochs: int,
  description: str,
  examples_per_epoch: int = 0,
  *,
  counted: str = "examples",
  done: int = 0,
  unit: str = "epoch",
  stream: TextIO | None = None,
) -> Iterator[Advance]:
  """Shows how far a phase has come: a bar on a terminal, elsewhere lines.

  A line comes after 5 seconds, and then ever more rarely, at least each minute
  in which an epoch ends; another when all is over.

  Args:
    examples_per_epoch: of all seeds together; 0 leaves the speed out.
    counted: what they are.
  """
  stream = _stream() if stream is None else stream
  speed = examples_per_epoch, counted
  phase = _Phase(description, speed, total_epochs, done, unit)
  display = _bar(phase, stream) if stream.isatty() else _lines(stream)
  with display as update:

    def advance(loss=None, *, epochs=1, score=None) -> None:
      phase.advance(loss, epochs, score)
      update(epochs, phase)

    yield advance
  print(phase.summary(), file=stream, flush=True)


def _stream() -> TextIO:
  return sys.stderr if processes.is_first() else io.StringIO()


class _Phase:
  """Counts epochs and time."""

  def __init__(
    self,
    description: str,
    speed: tuple[int, str],
    total: int,
    done: int,
    unit: str,
  ):
    self.description, self.total, self.done = description, total, done
    (self._examples, self._counted), self._unit = speed, unit
    self._epochs = done
    self._loss = self._score = None
    self._start = self._last = time.perf_counter()
    self._seconds = None
    self._compiled = False

  def advance(self, loss: Any, epochs: int, score: str | None) -> None:
    self._epochs += epochs
    if epochs:
      now = time.perf_counter()
      # Of the latest epochs alone: the first one holds the compilation.
      self._compiled = self._seconds is not None
      self._seconds = max(now - self._last, 1e-9) / epochs
      self._last = now
    values = reading.numbers(loss)
    self._loss = float(values.mean()) if values.size else None
    self._score = score or self._score

  def scores(self) -> list[str]:
    parts = []
    if self._loss is not None:
      parts.append(f"loss {self._loss:.4f}")
    if self._score is not None:
      parts.append(self._score)
    return parts

  def status(self) -> str:
    parts = self.scores()
    if self._examples and self._seconds:
      parts.append(self._speed(self._examples / self._seconds))
    return ", ".join(parts)

  def line(self, ended: bool) -> str:
    place = self._unit if ended else f"in {self._unit}"
    number = self._epochs + (not ended)
    text = f"{self.description}: {place} {number} of {self.total}"
    remaining = self.total - self._epochs
    parts = [text, self.status()]
    if self._seconds and remaining > 0:
      prefix = "" if self._compiled else "at most "
      parts.append(
        f"{prefix}{formats.duration(remaining * self._seconds)} left"
      )
    return ", ".join(filter(None, parts))

  def summary(self) -> str:
    seconds = time.perf_counter() - self._start
    epochs = self._epochs - self.done
    line = (
      f"{self.description}: {epochs} {self._unit}{'s' * (epochs != 1)}"
      f" in {formats.duration(seconds)}"
    )
    if self._examples and epochs:
      line += f", {self._speed(self._examples * epochs / max(seconds, 1e-9))}"
    return ", ".join([line, *self.scores()])

  def _speed(self, a_second: float) -> str:
    return f"{formats.count(a_second)} {self._counted} a second"


@contextlib.contextmanager
def _lines(stream: TextIO) -> Iterator[Any]:
  start = last = time.perf_counter()

  def update(epochs: int, phase: _Phase) -> None:
    nonlocal last
    now = time.perf_counter()
    if now - last >= min(MOST, max(LEAST, SHARE * (now - start))):
      last = now
      print(phase.line(ended=epochs > 0), file=stream, flush=True)

  yield update


@contextlib.contextmanager
def _bar(phase: _Phase, stream: TextIO) -> Iterator[Any]:
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
    task = bar.add_task(
      phase.description, total=phase.total, completed=phase.done, status=""
    )
    yield lambda epochs, phase: bar.update(
      task, advance=epochs, status=phase.status()
    )
