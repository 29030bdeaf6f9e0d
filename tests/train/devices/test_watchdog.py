"""The watchdog, on a board of its own and with a clock that is set by hand."""

import json

import pytest

from kdjax.train.devices.watchdog import Verdict, Watchdog, watch_loop


class Board:
  def __init__(self):
    self.values, self.gone = {}, False

  def write(self, key, value):
    if self.gone:
      raise RuntimeError("UNAVAILABLE")
    self.values[key] = value

  def read(self, folder):
    if self.gone:
      raise RuntimeError("UNAVAILABLE")
    return {
      key.removeprefix(folder): value
      for key, value in self.values.items()
      if key.startswith(folder)
    }

  def answers(self):
    return not self.gone


class Time:
  now = 0.0

  def __call__(self):
    return self.now


def three():
  """Three processes at one board; heartbeats of 10 s, steps of 30 s."""
  board, clock = Board(), Time()
  return clock, [
    Watchdog(
      board, one, 3, heartbeat_timeout=10, step_timeout=30, clock=clock
    )
    for one in range(3)
  ]  # fmt: skip


def talk(clock, *dogs, seconds=1):
  """All who live beat, twice, so that each has seen the others' beats."""
  clock.now += seconds
  for _ in range(2):
    for dog in dogs:
      dog.talk()


def test_nobody_is_lost_who_is_heard_of():
  clock, dogs = three()
  for _ in range(50):
    talk(clock, *dogs)
  assert [dog.judge() for dog in dogs] == [None] * 3


def test_a_silent_process_is_named():
  clock, (first, second, lost) = three()
  talk(clock, first, second, lost)
  for _ in range(9):
    talk(clock, first, second)
    assert first.judge() is second.judge() is None
  assert first.judge(patience=4).status == 70
  for _ in range(3):
    talk(clock, first, second)
  for dog in (first, second):
    assert dog.judge().line.startswith("process 2 of 3 gives no sign of life")


def test_without_the_board_its_owner_is_lost():
  clock, (first, second, third) = three()
  talk(clock, first, second, third)
  second._board.gone = True
  for ask in (second.talk, third.knock):
    ask()
  assert second.judge() is third.judge() is None
  for ask in (second.talk, third.knock):
    ask()
  for dog in (second, third):
    assert "process 0 of 3 cannot be reached" in dog.judge().line
  # A board that does not even refuse.
  clock.now += 11
  assert "process 0 of 3 gives no sign" in first.judge().line


@pytest.mark.parametrize(
  ("status", "line", "ends"),
  [(4, "disk full", True), (70, "lost", True), (75, "", False), (0, "", False)],
)
def test_one_end_is_the_end_of_all_but_for_good_ends(status, line, ends):
  clock, (first, second, third) = three()
  second.end(Verdict(status, line, 1))
  talk(clock, first, second, third)
  expected = Verdict(status, line, 1) if ends else None
  assert first.judge() == third.judge() == expected
  # Whoever has ended is not missed.
  for _ in range(20):
    talk(clock, first, third)
  assert first.judge() == expected


@pytest.mark.parametrize(
  ("busy", "stopped", "said"),
  [
    # All wait for each other.
    ((True, True, True), (), "the 3 processes did not end a step within"),
    # One of them is not even heard of.
    ((True, True, True), (2,), "process 2 of 3 did not end a step within"),
    # Process 0 measures or saves; the others have to wait.
    ((False, True, True), (), None),
  ],
)
def test_a_step_that_does_not_end(busy, stopped, said):
  clock, dogs = three()
  for dog, one in zip(dogs, busy, strict=True):
    if one:
      dog.tick()
  for second in range(32):
    living = [d for d in dogs if second < 26 or d.process not in stopped]
    talk(clock, *living)
    if second < 29:
      assert dogs[1].judge() is None
  verdict = dogs[1].judge()
  assert verdict is None if said is None else said in verdict.line
  dogs[1].tick()
  assert dogs[1].judge() is None


def test_steps_are_timed_only_while_they_run(monkeypatch):
  clock, (dog, *_) = three()
  monkeypatch.setattr("kdjax.train.devices.watchdog._watching", [dog])
  for number in watch_loop(range(3)):
    assert dog.judge() is None
    clock.now += 20
    dog._last = clock.now
    dog._heard = dict.fromkeys(range(3), clock.now)
    assert number in range(3)
  clock.now += 5
  assert dog._begun is None


def test_a_beat_is_small_and_plain():
  _, (dog, *_) = three()
  dog.talk()
  (text,) = dog._board.values.values()
  assert json.loads(text) == {"number": 1, "busy": False}
