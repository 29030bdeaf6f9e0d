"""The bar on a terminal, the line elsewhere."""

import io
import re

import pytest

from kdjax.runner.report import progress as progress_module
from kdjax.runner.report.progress import progress


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_quiet_but_for_the_line_at_the_end():
  stream = io.StringIO()
  with progress(3, "student", 4000, stream=stream) as advance:
    advance(loss=0.9)
    advance(loss=[0.2, 0.4], epochs=2)
    assert stream.getvalue() == ""
  assert re.fullmatch(
    r"student: 3 epochs in \d+ ms, [\d,]+ examples a second, loss 0\.3000\n",
    stream.getvalue(),
  )


def test_terminal_gets_a_bar_that_is_cleared(monkeypatch):
  monkeypatch.setenv("TERM", "xterm")
  monkeypatch.setenv("COLUMNS", "100")
  stream = Terminal()
  with progress(2, "student [x]", 4000, stream=stream) as advance:
    advance(loss=0.5)
    advance(loss=0.25)
  shown = stream.getvalue()
  for expected in (
    "student [x]",
    "2/2",
    "loss 0.2500",
    "examples a second",
    "left",
  ):
    assert expected in shown
  assert shown.splitlines()[-1].startswith("\x1b")  # the bar gives way
  assert "student [x]: 2 epochs in" in shown


def test_no_loss_no_speed():
  stream = io.StringIO()
  with progress(1, "teacher", stream=stream) as advance:
    advance()
  assert re.fullmatch(r"teacher: 1 epoch in \d+ ms\n", stream.getvalue())


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
def test_an_error_passes_and_no_end_is_claimed(make):
  stream = make()
  with (
    pytest.raises(RuntimeError, match="lost"),
    progress(2, "student", stream=stream) as advance,
  ):
    advance(loss=0.5)
    raise RuntimeError("lost")
  assert "epochs in" not in stream.getvalue()
  assert "epoch in" not in stream.getvalue()


@pytest.fixture
def clock(monkeypatch):
  """clock[0] is the time that the progress sees."""
  now = [100.0]
  monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now[0])
  return now


def test_a_line_every_so_many_seconds_where_the_output_is_no_terminal(clock):
  stream = io.StringIO()
  with progress(4, "student", 100, stream=stream) as advance:
    for seconds in (20.0, 1.0, 4.0):
      clock[0] += seconds
      advance([0.4, 0.6], score="error 4.50 %")
    clock[0] += 5.0
    advance(0.25)
  assert stream.getvalue().splitlines() == [
    "student: epoch 1 of 4, loss 0.5000, error 4.50 %, 5 examples a second, at most"
    " 1 min 0 s left",
    "student: epoch 3 of 4, loss 0.5000, error 4.50 %, 25 examples a second, 4.0 s left",
    "student: epoch 4 of 4, loss 0.2500, error 4.50 %, 20 examples a second",
    "student: 4 epochs in 30.0 s, 13 examples a second, loss 0.2500, error 4.50 %",
  ]


def test_short_epochs_get_no_line_each_and_long_phases_ever_fewer(clock):
  stream = io.StringIO()
  with progress(36000, "student", stream=stream) as advance:
    for _ in range(36000):
      clock[0] += 0.1
      advance(0.5)
  # Every 5 s in the first minute, then ever more rarely, each minute at last.
  assert 60 < len(stream.getvalue().splitlines()) < 90


def test_a_long_epoch_shows_signs_of_life_within(clock):
  stream = io.StringIO()
  with progress(2, "teacher", 100, stream=stream) as advance:
    clock[0] += 6.0
    advance(0.75, epochs=0)
    clock[0] += 4.0
    advance(0.5)
  assert stream.getvalue().splitlines() == [
    "teacher: in epoch 1 of 2, loss 0.7500",
    "teacher: 1 epoch in 10.0 s, 10 examples a second, loss 0.5000",
  ]


def test_what_was_done_before_counts_for_the_place_and_not_for_the_speed(clock):
  stream = io.StringIO()
  with progress(10, "student", 100, done=8, stream=stream) as advance:
    clock[0] += 10.0
    advance(0.5)
    clock[0] += 10.0
    advance(0.5)
  assert stream.getvalue().splitlines() == [
    "student: epoch 9 of 10, loss 0.5000, 10 examples a second, at most 10.0 s left",
    "student: epoch 10 of 10, loss 0.5000, 10 examples a second",
    "student: 2 epochs in 20.0 s, 10 examples a second, loss 0.5000",
  ]


def test_other_units_than_epochs(clock):
  stream = io.StringIO()
  with progress(3, "cache", unit="file", stream=stream) as advance:
    clock[0] += 6.0
    advance()
  assert stream.getvalue().splitlines() == [
    "cache: file 1 of 3, at most 12.0 s left", "cache: 1 file in 6.0 s",
  ]  # fmt: skip
