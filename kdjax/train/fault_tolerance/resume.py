"""A training that may be killed: what is kept of it, and how it goes on."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from kdjax.core.errors import PreemptedError, StorageError, warn
from kdjax.train.devices import processes, watchdog
from kdjax.train.epoch import Epoch, Sums
from kdjax.train.fault_tolerance import checkpoints, preemption
from kdjax.train.state import TrainState

FOLDER = "checkpoints"


class _CutShort(Exception):
  """Asked to stop within a portion, whose beginning is there."""


def cut() -> None:
  """Ends a portion early once SIGTERM or Ctrl-C came, before its next call.

  Several processes would have to agree on it: they go on to its end.
  """
  if preemption.came() and watchdog.active() is None:
    raise _CutShort


@contextmanager
def recoverable(
  folder: Path,
  initial: Callable[[], dict[str, TrainState]],
  *,
  minutes: float,
) -> Iterator[tuple[Epoch | None, Callable[..., None]]]:
  """Keeps checkpoints of a training, and finds where an earlier one stopped.

  A checkpoint that cannot be written is no reason to stop: it is reported, and
  tried again when the next one is due.

  Args:
    initial: () -> the states that the training would start from, for their
      form; called only if there is a checkpoint.

  Yields:
    Where to go on, or None; and what to call with all that the training yields,
    `last=True` with the end, so that a later stage's death does not cost it.
    It raises PreemptedError, all saved, once SIGTERM or Ctrl-C came.

  Raises:
    StorageError: if the folder cannot be used, if all checkpoints are damaged,
      or if the state could not be kept when the run was asked to stop.
  """
  series = checkpoints.open_series(folder) if processes.is_first() else None
  saved_at, before = time.monotonic(), None
  with preemption.on_request() as request:

    def stop(name: str, epoch: Epoch | None) -> NoReturn:
      if series is not None:
        if epoch is not None and epoch.step not in series.manager.all_steps():
          _save(series, epoch)
        checkpoints.wait(series)
      where = "at the start of this training"
      if epoch is not None:
        where = f"after step {epoch.step}, and saved"
      raise PreemptedError(
        f"{name}: stopped {where}; the same command with"
        f" --workdir={folder.parents[1]} goes on from there"
      ) from None

    def keep(epoch: Epoch, *, last: bool = False) -> None:
      nonlocal saved_at, before
      if name := _agreed(request()):
        stop(name, epoch)
      before = epoch
      if series is None:
        return
      if time.monotonic() - saved_at < 60 * minutes and not last:
        return
      try:
        _save(series, epoch)
      except StorageError as error:
        warn(f"{error}; the training goes on")
      saved_at = time.monotonic()

    try:
      before = _last_epoch(series, initial)
      yield before, keep
    except _CutShort:
      stop(request(), before)
    finally:
      if series is not None:
        _close(series)


@contextmanager
def forgetful() -> Iterator[tuple[None, Callable[..., None]]]:
  """Stands in for `recoverable` where nothing is kept.

  Yields:
    None, and a function that does nothing.

  Example:
    >>> with forgetful() as (start, keep):
    ...   print(start, keep(None, last=True))
    None None
  """
  yield None, lambda epoch, *, last=False: None


def _save(series: checkpoints.Series, epoch: Epoch) -> None:
  note = {
    "number": epoch.number,
    "ended": epoch.ended,
    "sums": _to_json(epoch.sums),
  }
  checkpoints.save(series, epoch.step, epoch.states, note)


def _close(series: checkpoints.Series) -> None:
  """Ends the series; what fails of it must not hide why the training ends."""
  try:
    checkpoints.close(series)
  except StorageError as error:
    warn(f"{error}; the last checkpoint that is whole stays")


def _agreed(name: str | None) -> str | None:
  """The signal that came to any of several processes: all stop together."""
  number = processes.largest(0 if name is None else signal.Signals[name])
  return signal.Signals(number).name if number else None


def _last_epoch(series: checkpoints.Series | None, initial) -> Epoch | None:
  """What was kept; of several processes the first reads it for all."""
  saved_epoch = states = None
  if series is not None and series.manager.all_steps():
    states = initial()
    checkpoint = checkpoints.restore(series, lambda note: states)
    for line in checkpoint.damaged:
      warn(f"{line}; the one before, of step {checkpoint.step}, is used")
    saved_epoch = (
      checkpoint.note | {"step": checkpoint.step},
      checkpoints.plain(checkpoint.tree),
    )
  saved_epoch = processes.broadcast(saved_epoch)
  if saved_epoch is None:
    return None
  note, arrays = saved_epoch
  return Epoch(
    number=note["number"],
    step=note["step"],
    ended=note["ended"],
    examples=0,
    states=checkpoints.in_form_of(
      arrays, initial() if states is None else states
    ),
    sums=_from_json(note["sums"]),
  )


def _to_json(sums: Sums) -> dict[str, Any]:
  """Numbers survive JSON unchanged; their types are noted."""
  return {
    arm: {
      name: [[str(x.dtype), np.asarray(x).tolist()] for x in pair]
      for name, pair in metrics.items()
    }
    for arm, metrics in sums.items()
  }


def _from_json(sums: dict[str, Any]) -> Sums:
  return {
    arm: {
      name: tuple(np.asarray(values, kind) for kind, values in pair)
      for name, pair in metrics.items()
    }
    for arm, metrics in sums.items()
  }


def lost_steps(history: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
  """Reads from a log how many steps did not count, since they were not finite.

  Returns:
    By network, the steps of each member; none where no bad step was met.
  """
  last = {
    row["network"]: row["lost_steps"] for row in history if "lost_steps" in row
  }
  return {name: steps for name, steps in last.items() if any(steps)}
