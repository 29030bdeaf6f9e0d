"""Where a run's time went: intervals within each other, and what is said of them."""

import importlib
import json
import sys

import jax
import pytest

from kdjax.core import timing
from kdjax.runner.report import profile
from kdjax.runner.report.profile import Interval, own_seconds


@pytest.mark.parametrize(
  ("spans", "own"),
  [
    pytest.param([], [], id="nothing"),
    pytest.param([(0, 2), (2, 5)], [2, 3], id="one after the other"),
    pytest.param([(1, 2), (0, 5)], [1, 4], id="one within another"),
    pytest.param([(1, 2), (3, 4), (0, 5)], [1, 1, 3], id="two within one"),
    pytest.param([(1, 2), (1, 4), (0, 5)], [1, 2, 2], id="three deep"),
    pytest.param(
      [(0, 1), (3, 4), (2, 5), (5, 7)], [1, 1, 2, 2], id="both side by side"
    ),
    pytest.param([(0.9, 4), (1, 5)], [3.1, 0.9], id="clocks a little apart"),
  ],
)
def test_own_seconds(spans, own):
  intervals = [Interval(end, end - start, "data") for start, end in spans]
  assert own_seconds(intervals) == pytest.approx(own)


def test_summary_adds_up_by_part_and_program():
  intervals = [
    Interval(1, 1, "imports"),
    Interval(3, 1, "tracing", "step"),
    Interval(5, 2, "compiling", "step"),
    Interval(9, 3, "compiling", "step"),
    Interval(9.5, 0.5, "tracing", "score"),
    Interval(11, 9, "steps"),
    Interval(12, 12, "other"),
  ]
  found = profile.summary(intervals)
  assert found["total"] == 12
  assert {name: x for name, x in found["seconds"].items() if x} == {
    "imports": 1, "tracing": 1.5, "compiling": 5, "steps": 2.5, "other": 2,
  }  # fmt: skip
  assert found["programs"] == [
    {"name": "step", "compiled": 2, "tracing": 1, "compiling": 5},
    {"name": "score", "compiled": 0, "tracing": 0.5, "compiling": 0},
  ]
  lines = [line.split() for line in profile.table(found).splitlines()]
  for expected in (
    ["steps", "2.5", "21%"],
    ["total", "12.0", "100%"],
    ["2", "programs", "compiled", "tracing", "compiling", "times"],
    ["step", "1.0", "5.0", "2"],
  ):
    assert expected in lines


def test_all_that_happens_is_heard_and_nothing_afterwards(
  tmp_path, monkeypatch
):
  (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(0.01)")
  monkeypatch.syspath_prepend(tmp_path)
  plain = __builtins__["__import__"]
  with profile.profiled() as intervals, timing.part("evaluation"):
    jax.jit(lambda x: x * 3.25 + 1, keep_unused=True)(2.0)
    importlib.import_module("slow_to_import")
    del sys.modules["slow_to_import"]
    exec("import slow_to_import")
  assert __builtins__["__import__"] is plain
  before = len(intervals)
  with timing.part("evaluation"):
    jax.jit(lambda x: x * 4.25 + 1)(2.0)
  assert len(intervals) == before
  found = profile.summary(intervals)
  assert all(
    found["seconds"][x] > 0 for x in ("tracing", "compiling", "evaluation")
  )
  assert found["seconds"]["imports"] >= 0.01
  assert {one["name"]: one["compiled"] for one in found["programs"]}[
    "<lambda>"
  ] == 1
  assert found["total"] == pytest.approx(intervals[-1].seconds)
  json.loads(profile.write(tmp_path, intervals) and (
    tmp_path / "profile.json").read_text())  # fmt: skip
