"""Asked to stop: a training ends between two steps, saved; all else at once."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kdjax.core.errors import program

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAID = "stopping after this portion, to save it; once more ends at once"
# A call that does not come back is not waited for any longer.
PATIENCE_SECONDS = 3.0
# What a command that is stopped leaves; and what came to a training, a list for
# each that goes on.
_left = ["stopped before anything was written; the same command starts again"]
_trainings: list[list[str]] = []


class Stopped(BaseException):
  """SIGTERM came where nothing is training; as Ctrl-C, it is no error."""

  exit_status = 75


def leaves(text: str) -> None:
  """Notes what a command leaves from now on if it is stopped."""
  _left[1:] = [text]


def came() -> str | None:
  """Returns the name of the signal that came to a training.

  Returns:
    None where none came, or nothing is training.
  """
  return next((training[0] for training in _trainings if training), None)


@contextmanager
def at_once() -> Iterator[None]:
  """Lets SIGTERM end what is done inside, but for trainings, with one line.

  It is raised in the main thread; where that is inside a call which does not
  come back within seconds, such as a compilation, the process ends from
  outside. Outside of the main thread nothing is changed.
  """
  if threading.current_thread() is not threading.main_thread():
    yield
    return

  def end(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Stopped(_line())

  del _left[1:]
  read_end, write_end = os.pipe()
  os.set_blocking(write_end, False)
  before = signal.signal(signal.SIGTERM, end)
  earlier = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
  waiting = threading.Thread(target=_wait, args=[read_end], daemon=True)
  waiting.start()
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)
    signal.set_wakeup_fd(earlier)
    os.close(write_end)


def _line() -> str:
  return f"SIGTERM: {_left[-1]}"


def _wait(read_end: int) -> None:
  """Ends the process some seconds after SIGTERM, if it has not ended itself."""
  with open(read_end, "rb", buffering=0) as pipe:
    while number := pipe.read(1):
      if number[0] != signal.SIGTERM or _trainings:
        continue
      # It is over sooner where the command has ended, and closed the pipe.
      ready, _, _ = select.select([pipe], [], [], PATIENCE_SECONDS)
      if not ready:
        os.write(2, f"{program()}: {_line()}\n".encode())
        os._exit(Stopped.exit_status)


@contextmanager
def on_request(
  speaker: str | None = None,
) -> Iterator[Callable[[], str | None]]:
  """Notes the first signal instead of dying of it; the second one ends at once.

  Outside of the main thread, which alone gets signals, nothing is changed.

  Args:
    speaker: who says so; by default the runner, as it was started.

  Yields:
    () -> name of the signal that came; None as long as none did.
  """
  came, who = [], speaker or program()

  def note(number, frame):
    came.append(signal.Signals(number).name)
    # Not by print: the signal may come in the middle of one.
    with contextlib.suppress(OSError):
      os.write(2, f"{who}: {came[-1]}: {SAID}\n".encode())
    for one, handler in before.items():
      # That of `at_once` would wait for what is computed.
      ends = one == signal.SIGINT or not callable(handler)
      signal.signal(one, handler if ends else signal.SIG_DFL)

  if threading.current_thread() is not threading.main_thread():
    yield lambda: None
    return
  before = {number: signal.signal(number, note) for number in SIGNALS}
  _trainings.append(came)
  try:
    yield lambda: came[0] if came else None
  finally:
    _trainings.pop()
    for number, handler in before.items():
      signal.signal(number, handler)
  # It came too late for the training's last look at it.
  if "SIGTERM" in came and callable(before[signal.SIGTERM]):
    os.kill(os.getpid(), signal.SIGTERM)
