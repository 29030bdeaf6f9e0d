"""What is told of a training while it runs: rows in a file, scalars, a line."""

import json
import math
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from kdjax.core.arguments import check_path
from kdjax.core.errors import StorageError
from kdjax.core.task import Task
from kdjax.train.step_loop import Event

Callback = Callable[[Event], None]


def jsonl(path: str | Path) -> Callback:
  """Makes a callback that appends every row of metrics to a file, as JSON.

  A training that goes on from a checkpoint, or begins anew, replaces the rows of
  the steps that it takes again.

  Args:
    path: the file; made, with its folder, when the first row comes.

  Returns:
    The callback, for `distill(callbacks=[...])`. nan becomes null.

  Example:
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rows.jsonl"
    >>> write = jsonl(path)
    >>> write(Event(1, 9, True, {"epoch": 1, "step": 9, "loss": 0.5}, None, 1, 9))
    >>> print(path.read_text())
    {"epoch": 1, "step": 9, "loss": 0.5}
  """
  check_path("path", path)
  path, has_lines = Path(path), False

  def write(event: Event) -> None:
    nonlocal has_lines
    line = json.dumps(_without_nan(event.row), allow_nan=False) + "\n"
    try:
      if not has_lines:
        _rewind(path, event.step)
        has_lines = True
      with path.open("a", encoding="utf-8") as file:
        file.write(line)
    except OSError as error:
      raise StorageError(
        f"cannot write {path}: {error.strerror or error}"
      ) from error

  return write


def tensorboard(folder: str | Path) -> Callback:
  """Makes a callback that writes every number of a row as TensorBoard's scalar.

  Needs the package tensorboardX; TensorBoard itself only reads.

  Args:
    folder: made when the first row comes.

  Returns:
    The callback, for `distill(callbacks=[...])`.

  Example:
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write = tensorboard(folder)
    >>> write(Event(1, 9, True, {"epoch": 1, "step": 9, "loss": 0.5}, None, 1, 9))
    >>> len(list(folder.iterdir()))
    1
  """
  check_path("folder", folder)
  files: list[Any] = []

  def write(event: Event) -> None:
    if not files:
      # tensorboardX takes its time to be imported.
      from kdjax.train.tensorboard import Scalars

      files.append(Scalars(Path(folder), seconds=0.0))
      weakref.finalize(write, files[0].close)
    for name, value in event.row.items():
      if name not in ("epoch", "step"):
        files[0].add_scalar(name, value, event.step)

  return write


def progress_line(
  task: Task, *, stream: TextIO | None = None, anywhere: bool = False
) -> Callback:
  """Makes a callback that shows how far a training has come, on stderr.

  Args:
    task: how it tells of its score.
    stream: where to; stderr by default.
    anywhere: whether a line comes for each row also where it is no terminal; on
      one a single line is written anew.
  """
  stream = stream or sys.stderr
  if not (anywhere or stream.isatty()):
    return lambda event: None
  starts: list[tuple[int, float]] = []

  def show(event: Event) -> None:
    text, now = _progress_text(task, event), time.monotonic()
    # The first steps hold the compilation.
    if not starts:
      starts.append((event.step, now))
    first, start = starts[0]
    if event.steps and event.step > first:
      seconds = (event.steps - event.step) / (event.step - first)
      text += f", {seconds * (now - start):.0f} s left"
    last = event.ended and event.step == event.steps
    # The line's rest is erased.
    before, after = ("\r\x1b[K", "\n" * last) if stream.isatty() else ("", "\n")
    print(f"{before}{text}", end=after, file=stream, flush=True)

  return show


def _progress_text(task: Task, event: Event) -> str:
  of = f" of {event.epochs}" if event.epochs else ""
  text = f"distill: epoch {event.epoch}{of}, step {event.step}"
  if event.steps:
    text += f" of {event.steps}"
  text += f", loss {event.row.get('loss', math.nan):.4f}"
  for name in (f"test_{task.score}", f"train_{task.score}"):
    if name in event.row:
      return (
        f"{text}, {name[:5].rstrip('_')} {task.words.told(event.row[name])}"
      )
  return text


def _rewind(path: Path, step: int) -> None:
  """Makes the file's folder, and drops the rows that come again."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if not path.exists():
    return
  lines = []
  for line in path.read_text(encoding="utf-8").splitlines():
    try:
      row = json.loads(line)
      if row["step"] >= step:
        break
    except (ValueError, KeyError, TypeError):  # a row half written
      break
    lines.append(line + "\n")
  path.write_text("".join(lines), encoding="utf-8")


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
  return {
    name: None
    if isinstance(value, float) and not math.isfinite(value)
    else value
    for name, value in row.items()
  }
