"""Runs that are killed at random moments end as if they never had been."""

import random
import signal

import pytest

from benchmarks import kill_test


@pytest.mark.slow
def test_ten_kills_leave_no_trace(tmp_path, monkeypatch):
  """A hundred are in benchmarks/results/kill_test.json."""
  # The run sees one device, as from the shell.
  monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
  found = kill_test.kill(tmp_path, 10, signal.SIGKILL, random.Random(0))
  assert found["kills"] == 10
  assert found["different"] == found["failed_restarts"] == 0
