"""Notices what a process cannot say itself: that it is gone, or stuck.

Every process of a run writes a beat on a board that all can read, and looks at
the others' beats. Whoever ends says so there as well, so that nobody waits for
it. Nothing here needs jax.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

# What ends a process only when process 0 ends too: done, and stopped on request.
TOGETHER = (0, 75)
BEATS, ENDS = "kdjax/beats/", "kdjax/ends/"


class Board(Protocol):
  """What all processes can read and write."""

  def write(self, key: str, value: str) -> None:
    """Puts a value in the place of an earlier one."""

  def read(self, folder: str) -> dict[str, str]:
    """Returns all values whose keys begin so, by the rest of the key."""

  def answers(self) -> bool:
    """Says whether it is there at all, without waiting for long."""


class Verdict(NamedTuple):
  """Why the run is over.

  Attributes:
    status: exit status.
    line: one line for people; "" where there is nothing to say.
    process: whose end this is; None where it was found out from outside.
  """

  status: int
  line: str
  process: int | None = None


class Watchdog:
  """The beats and ends of all processes, as one of them sees them."""

  def __init__(
    self,
    board: Board,
    process: int,
    count: int,
    *,
    heartbeat_timeout: float,
    step_timeout: float,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Begins to watch.

    Args:
      heartbeat_timeout: seconds after which a silent process is lost.
      step_timeout: seconds after which steps that do not end are stuck.
      clock: () -> seconds.
    """
    self.process, self.count = process, count
    # The board is in process 0: of many processes each beats less often.
    self.period = min(max(1.0, count / 64), heartbeat_timeout / 4)
    self.ends: dict[int, Verdict] = {}
    self._board, self._clock = board, clock
    self._heartbeat, self._step = heartbeat_timeout, step_timeout
    self._number = 0
    self._begun: float | None = None
    self._last = clock()
    self._refused = 0
    self._beats: dict[int, dict[str, Any]] = {}
    self._heard = dict.fromkeys(range(count), clock())
    self._failures = 0

  def tick(self) -> None:
    """Notes that steps begin, those before being over."""
    self._begun = self._clock()

  def rest(self) -> None:
    """Notes that no step runs, so that none can be late."""
    self._begun = None

  def talk(self) -> None:
    """Writes a beat, and reads all others'; a broken board is noted."""
    self._number += 1
    beat = {"number": self._number, "busy": self._begun is not None}
    try:
      self._board.write(f"{BEATS}{self.process}", json.dumps(beat))
      beats, ends = self._board.read(BEATS), self._board.read(ENDS)
    except Exception:  # the client's errors are jax's own, of no public type
      self._failures += 1
      return
    self._failures = 0
    self._last = self._clock()
    for key, text in beats.items():
      number, latest = int(key), json.loads(text)
      if latest != self._beats.get(number):
        self._beats[number], self._heard[number] = latest, self._last
    for key, text in ends.items():
      self.ends.setdefault(int(key), Verdict(*json.loads(text)))

  def knock(self) -> None:
    """Sees whether the board is there: to read what is gone can take long."""
    self._refused = 0 if self._board.answers() else self._refused + 1

  def end(self, verdict: Verdict) -> None:
    """Says on the board that this process ends."""
    self.ends[self.process] = verdict
    try:
      self._board.write(f"{ENDS}{self.process}", json.dumps(verdict))
    except Exception:  # nobody is left to read it
      self._failures += 1

  def silent(self, seconds: float) -> list[int]:
    """Lists the processes that have neither ended nor been heard of."""
    now = self._clock()
    if now - self._last > seconds or self._broken():
      # Without the board nothing can be said of anybody but its owner.
      return [0]
    return [
      number
      for number, heard in self._heard.items()
      if number not in (self.process, *self.ends) and now - heard > seconds
    ]

  def judge(self, patience: float | None = None) -> Verdict | None:
    """Says whether the run is over for this process.

    Args:
      patience: seconds of silence that end a process; by default those of the
        heartbeat.

    Returns:
      Why it is over; None while it is not.
    """
    for number, end in sorted(self.ends.items()):
      if number != self.process and end.status not in TOGETHER:
        return end
    patience = self._heartbeat if patience is None else patience
    lost = self.silent(patience)
    if lost:
      how = "cannot be reached" if self._broken() else "gives no sign of life"
      return Verdict(
        70,
        f"{self._names(lost)} {how}; the run is over, and the same command goes"
        " on from its last checkpoint",
      )
    begun = self._begun
    if begun is None or self._clock() - begun <= self._step:
      return None
    others = {
      number: beat
      for number, beat in self._beats.items()
      if number != self.process
    }
    # Process 0 may be measuring or saving, while the others wait in a step.
    if not all(beat["busy"] for beat in others.values()):
      return None
    late = self.silent(4 * self.period)
    who = self._names(late) if late else f"the {self.count} processes"
    return Verdict(
      70,
      f"{who} did not end a step within --step_timeout={self._step:g} seconds;"
      " the run is over, and the same command goes on from its last checkpoint",
    )

  def watch(self, over: Callable[[Verdict], None]) -> None:
    """Begins to talk and to judge, each in a thread of its own.

    Args:
      over: is called, in such a thread, once the run is over.
    """

    def talk():
      while not self._broken():
        self.talk()
        time.sleep(self.period / (4 if self._failures else 1))

    def judge():
      # A board that does not answer must not keep anybody from judging.
      while (verdict := self.judge()) is None:
        time.sleep(self.period / 2)
        self.knock()
      over(verdict)

    for one in (talk, judge):
      threading.Thread(target=one, daemon=True, name=one.__name__).start()

  def _broken(self) -> bool:
    """Whether process 0, which keeps the board, is gone; one call may fail."""
    return self._failures > 1 or self._refused > 1

  def _names(self, processes: list[int]) -> str:
    several = "processes" if len(processes) > 1 else "process"
    numbers = ", ".join(map(str, sorted(processes)[:5]))
    more = ", ..." if len(processes) > 5 else ""
    return f"{several} {numbers}{more} of {self.count}"


# Those that watch this process: one, or none where a run has one process only.
_watching: list[Watchdog] = []


def active() -> Watchdog | None:
  """Returns what watches this process.

  Returns:
    None where a run has one process only.

  Example:
    >>> print(active())
    None
  """
  return _watching[0] if _watching else None


def install(watchdog: Watchdog) -> None:
  """Makes a watchdog that of this process, for as long as it lives."""
  if _watching:
    raise RuntimeError("this process is watched already")
  _watching.append(watchdog)


def watch_loop(steps: Iterable[Any]) -> Iterator[Any]:
  """Has the watchdog, if there is one, time what a loop does."""
  with watch_block() as tick:
    for one in steps:
      yield one
      tick()


@contextmanager
def watch_block() -> Iterator[Callable[[], None]]:
  """Has the watchdog, if there is one, time what is done inside.

  Yields:
    What to call when a part of it is over, and the next one begins.

  Example:
    >>> with watch_block() as tick:
    ...   tick()
  """
  watchdog = active()
  if watchdog is None:
    yield lambda: None
    return
  watchdog.tick()
  try:
    yield watchdog.tick
  finally:
    watchdog.rest()
