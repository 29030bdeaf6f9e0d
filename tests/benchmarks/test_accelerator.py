"""The benchmark of one GPU or TPU, small, on the CPU."""

import json

import pytest

from benchmarks import accelerator


@pytest.mark.slow
def test_all_parts_run_small(tmp_path, monkeypatch):
  file = tmp_path / "found.json"
  command = ["accelerator.py", "--small", "--peak=1e12", f"--output={file}"]
  monkeypatch.setattr("sys.argv", command)
  accelerator.main()
  found = json.loads(file.read_text())
  assert all(found[part] for part in accelerator.PARTS)
  lines = {line["what"]: line for line in found["summary"]}
  assert sum(name.endswith(": MFU") for name in lines) == 3
  # The same loss and the same direction: what no device may miss.
  exact = [line for name, line in lines.items() if name.startswith("bfloat16")]
  assert exact and all(line["met"] for line in exact)
