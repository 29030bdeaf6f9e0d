"""Small networks in one table: what is compared, measured, and said of it."""

import numpy as np
import pytest
from job_contract import check_results, run_killed_at_the_end

from kdjax.core.errors import UserError
from kdjax.runner.config import Compression, Experiment
from kdjax.runner.jobs.compress import measure, perturb, training
from kdjax.runner.report import compression_page, overview, text
from kdjax.tasks import classification

TASK = classification(2)


def test_disturbed_images():
  images = np.zeros((9, 20, 20, 1), np.uint8)
  images[:, 8:12, 8:12] = 200
  moved = perturb.shifted(images)
  # Nothing is lost inside, and everything has moved, by 2 of 20.
  assert (moved.sum((1, 2, 3)) == images.sum((1, 2, 3))).all()
  assert (moved != images).any((1, 2, 3)).all()
  assert not moved[:, :6].any() and not moved[:, 14:].any()
  noisy = perturb.noisy(np.full((2, 50, 50, 1), 128, np.uint8))
  assert abs(noisy.std() - perturb.NOISE * 255) < 3
  floats = perturb.noisy([np.full((4, 4, 1), 0.5, np.float32)] * 2)
  assert floats.dtype == np.float32 and floats.min() >= 0 and floats.max() <= 1


@pytest.mark.parametrize(
  ("points", "expected"),
  [
    ({"a": (1, 0.9), "b": (2, 0.8)}, ["a"]),
    ({"a": (1, 0.8), "b": (2, 0.9), "c": (3, 0.85)}, ["a", "b"]),
    ({"a": (1, 0.9), "b": (1, 0.9)}, ["a", "b"]),
    ({"a": (1, 0.9), "b": (1, 0.8)}, ["a"]),
  ],
)
def test_pareto_front(points, expected):
  found = {
    name: {"bytes": [size], "test_accuracy": [accuracy], "control": False}
    for name, (size, accuracy) in points.items()
  }
  found["control"] = {"bytes": [0], "test_accuracy": [1.0], "control": True}
  assert measure.front(found, TASK) == expected


@pytest.mark.parametrize(
  "compression",
  [Compression(), Compression(sparsity=0.5), Compression(quantization="w8")],
)
def test_needs_something_to_compare(compression):
  with pytest.raises(UserError, match="--sparsity"):
    training.variants(Experiment(compression=compression))


def entry(accuracy, size, control=False, **more):
  return {
    "test_accuracy": list(accuracy), "bytes": [size] * len(accuracy),
    "control": control, "parameters": 10, "nonzero": [5], "flops": None,
    "peak_bytes": None, "noise_accuracy": [0.5], "shift_accuracy": [0.5],
    "calibration_error": [0.1],
  } | more  # fmt: skip


def results(int8=0.9, pruned=(0.8, 0.82, 0.81)):
  plain = np.array([0.9, 0.91, 0.9])
  found = {
    "teacher": entry([0.95], 9000),
    "baseline": entry(plain - 0.02, 1000),
    "student": entry(plain, 1000),
    "int8": entry(plain * int8 / 0.9, 250),
    "pruned": entry(pruned, 240),
    "pruned_baseline": entry(np.array([0.79, 0.8, 0.795]), 240, True),
    "qad": entry(plain, 130),
    "qad_baseline": entry(plain - 0.01, 130, True),
  }
  table = {
    "rows": found, "comparisons": measure.compare(found, TASK),
    "front": measure.front(found, TASK), "quantization": "w4a8", "sparsity": 0.8,
    "noise": 0.2, "shift": 0.1,
  }  # fmt: skip
  return {"name": "x", "table": table}


def test_what_the_report_says():
  said = compression_page.notes(results())
  assert "keeps to 0.3 points" in said[0] and "25.0 %" in said[0]
  assert "helps" in said[2] or "not shown" in said[2]
  assert "DOES NOT" in compression_page.notes(results(int8=0.89))[0]
  worse = compression_page.notes(results(pruned=(0.7, 0.711, 0.705)))[1]
  assert "does harm: −8" in worse
  table, differences = text.tables(compression_page.table_makers(results()))
  marked = [row[0] for row in table.rows if row[0].endswith("•")]
  assert marked == ["Teacher •", "Student, learned in w4a8 •"]
  assert len(table.rows) == 6 and len(differences.rows) == 6
  assert {len(row) for row in table.rows} == {len(table.headers)}


@pytest.mark.slow
def test_a_whole_run(tmp_path, monkeypatch, capsys):
  import jax

  from kdjax import evaluate
  from kdjax.train.devices import placement

  monkeypatch.setattr(placement, "choose", lambda _: jax.local_devices()[:1])
  monkeypatch.setattr(
    evaluate, "latency", lambda calls: dict.fromkeys(calls, 1)
  )
  tiny = (
    "--dataset=digits", "--teacher=mlp(8)", "--student=mlp(16)", "--seeds=2",
    "--teacher_epochs=2", "--epochs=2", "--batch_size=64",
  )  # fmt: skip
  run_killed_at_the_end(capsys, "compress", *tiny, workdir=tmp_path / "run")
  found = check_results(tmp_path / "run", "compress")
  table = found["table"]["rows"]
  assert len(table) == 9 and found["table"]["front"]
  assert table["int8"]["bytes"][0] < 0.5 * table["student"]["bytes"][0]
  prunable = 64 * 16
  assert table["pruned"]["nonzero"][0] <= 1210 - 0.79 * prunable
  assert set(table["student"]["latency_ms"]) == set(compression_page.RUNTIMES)
  assert set(table["int8"]["latency_ms"]) == {"jax"}
  assert "compress" in overview.overview({"compression_table": found})
