"""The bar on a terminal, the line elsewhere."""

import io
import re

import pytest

from kdjax.report.progress import progress


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
    r"student: 3 epochs in \d+ ms, [\d,]+ images/s, loss 0\.3000\n",
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
  for expected in ("student [x]", "2/2", "loss 0.2500", "images/s", "left"):
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
