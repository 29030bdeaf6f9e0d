"""What measuring a run says and leaves behind."""

import numpy as np

from kdjax.runner.pipeline import measure


def test_latencies_are_announced_and_note_their_rounds(capsys):
  calls = {
    batch: {name: lambda batch=batch: np.zeros(batch) for name in ("a", "b")}
    for batch in (1, 64)
  }
  found = measure.clock(calls)
  assert found.keys() == {"a", "b"}
  for one in found.values():
    assert one["latency_rounds"] == {"1": 50, "64": 50}
    assert all(value >= 0 for value in one["latency_ms"].values())
  said = capsys.readouterr().err
  assert "measuring latency" in said and "--nolatency" in said
