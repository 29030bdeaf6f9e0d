"""Benchmarks take turns and compare round by round."""

import json
import sys

import pytest

from benchmarks import timing


def test_runs_take_turns_in_alternating_order():
  seen, now = [], iter(range(100))
  times = timing.interleaved(
    {name: lambda name=name: seen.append(name) for name in "ab"},
    rounds=2,
    clock=lambda: next(now),
  )
  assert "".join(seen) == "baabba"
  assert times == {"a": [1, 1], "b": [1, 1]}


@pytest.mark.parametrize(
  "of, over, expected",
  [
    ([2.0, 4.0, 9.0], [1.0, 4.0, 3.0], (1.5, 2.0, 2.5)),
    ([3.0], [2.0], (1.5, 1.5, 1.5)),
  ],
)
def test_ratios_pair_the_rounds(of, over, expected):
  found = timing.ratio({"a": of, "b": over}, "a", "b")
  assert (found["low"], found["median"], found["high"]) == expected


def test_what_is_written_says_where_it_was_made(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(
    sys, "argv", ["/some/where/losses.py", "--quick", "--output=x"]
  )
  file = tmp_path / "new" / "found.json"
  timing.write(timing.machine(), file)
  found = json.loads(file.read_text())
  assert found == json.loads(capsys.readouterr().out)
  assert found["command"] == "python -m benchmarks.losses --quick"
  assert found["processors"] > 0 and "cpu" in found["device"]
  with pytest.raises(ValueError, match="JSON"):
    timing.write({"ratio": float("nan")}, None)
