"""Runs that are killed at random moments end as if they never had been."""

import random
import signal

import pytest

from benchmarks import kill_test


@pytest.mark.slow
@pytest.mark.parametrize(
  ("run", "kills"),
  [("distill", 3), pytest.param("on_policy", 2, marks=pytest.mark.exhaustive)],
)
def test_kills_leave_no_trace(tmp_path, monkeypatch, run, kills):
  """More are in benchmarks/results: kill_test.json, kill_test_on_policy.json."""
  # The run sees one device, as from the shell.
  monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
  number = signal.SIGKILL
  found = kill_test.kill(tmp_path, kills, number, random.Random(0), run=run)
  assert found["kills"] == kills
  assert found["different"] == found["failed_restarts"] == 0
