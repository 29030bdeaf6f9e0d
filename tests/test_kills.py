"""Runs that are killed at random moments end as if they never had been."""

import pathlib
import random
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from benchmarks import kill_test  # noqa: E402  (beside the package)


@pytest.mark.slow
def test_ten_kills_leave_no_trace(tmp_path, monkeypatch):
  """A hundred are in benchmarks/results/kill_test.json."""
  # The run sees one device, as from the shell.
  monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
  found = kill_test.kill(tmp_path, 10, signal.SIGKILL, random.Random(0))
  assert found["kills"] == 10
  assert found["different"] == found["failed_restarts"] == 0
