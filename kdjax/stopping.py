"""Asked to stop: SIGTERM and Ctrl-C end a run between two steps, saved."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAID = "stopping after this portion, to save it; once more ends at once"


@contextmanager
def on_request() -> Iterator[Callable[[], str | None]]:
  """Notes the first signal instead of dying of it; the second one ends at once.

  Outside of the main thread, which alone gets signals, nothing is changed.

  Yields:
    () -> name of the signal that came; None as long as none did.

  Example:
    >>> import os
    >>> with on_request() as asked:
    ...   os.kill(os.getpid(), signal.SIGTERM)
    ...   print(asked())
    SIGTERM
  """
  came = []

  def note(number, frame):
    came.append(signal.Signals(number).name)
    # Not by print: the signal may come in the middle of one.
    with contextlib.suppress(OSError):
      os.write(2, f"launch.py: {came[-1]}: {SAID}\n".encode())
    for one, handler in before.items():
      signal.signal(one, handler)

  if threading.current_thread() is not threading.main_thread():
    yield lambda: None
    return
  before = {number: signal.signal(number, note) for number in SIGNALS}
  try:
    yield lambda: came[0] if came else None
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
