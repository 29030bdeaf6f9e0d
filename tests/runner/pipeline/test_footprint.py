"""Small students, from the launcher to the results; and what is refused."""

import json
import pathlib

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[3]

import launch  # noqa: E402  (the launcher stands beside the package)
from kdjax.core import storage  # noqa: E402
from kdjax.runner.config import Compression  # noqa: E402
from kdjax.runner.pipeline import footprint  # noqa: E402
from kdjax.runner.report import compression_table  # noqa: E402

TINY = (
  "--dataset=digits", "--teacher=mlp(16)", "--student=mlp(8)", "--epochs=2",
  "--teacher_epochs=1", "--seeds=2", "--batch_size=64", "--nocontrols",
  "--teacher_batch_size=64",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("quick_runs")
def test_a_run_reads_back_what_it_saved(tmp_path):
  workdir = tmp_path / "run"
  arguments = [
    "--sparsity=0.75", "--quantization=w8a8", "--chain=mlp(12)",
    f"--workdir={workdir}",
  ]  # fmt: skip
  assert launch.main(["launch.py", *TINY, *arguments]) == 0
  found = json.loads((workdir / "results.json").read_text())
  small = found["compression"]
  assert small["stored_accuracy"] == found["student"]["test_accuracy"]
  assert small["sparsity"]["reached"] == 0.75 and small["sparsity"]["verified"]
  note = storage.read_note(workdir / "student")
  assert (note["quantization"], note["sparsity"]) == ("w8a8", 0.75)
  saved = storage.load_variables(workdir / "student", note)["params"]
  for kernel in saved["stage_0"]["dense"]["kernel"]:
    assert (kernel == 0).sum() == 384 and kernel.size == 512
  assert "Small students" in (workdir / "report.html").read_text()
  # Whoever teaches keeps its weights.
  folder = next(workdir.glob("assistant*"))
  assistant = storage.load_variables(folder, storage.read_note(folder))
  assert (assistant["params"]["stage_0"]["dense"]["kernel"] != 0).all()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--sparsity=1",), "sparsity=1.0: it must be in [0, 1)"),
    (("--sparsity=.5", "--pruning_begin=.5"), "less than --pruning_end=0.5"),
    (("--sparsity=.5", "--scheme=mean_teacher"), "measured=student"),
    (("--quantization=w4a8", "--student=lenet(2, 4, hidden=8)"), "take w8a8"),
    (("compare", "kd", "--sparsity=.5"), "compare has no such flag"),
  ],
)
def test_refused(arguments, message, tmp_path, capsys):
  workdir = tmp_path / "run"
  given = [*TINY, *arguments, f"--workdir={workdir}"]
  assert launch.main(["launch.py", *given]) == 2
  assert message in capsys.readouterr().err
  assert not workdir.exists()


@pytest.mark.parametrize(
  ("zeros", "asked", "structure", "verified"),
  [
    (6, 0.5, "weights", True),
    (5, 0.5, "weights", True),  # one weight a layer
    (4, 0.5, "weights", False),
    (8, 0.5, "channels", True),
    (3, 0.5, "channels", False),
  ],
)
def test_missed_zeros_are_told(zeros, asked, structure, verified):
  kernel = np.float32(zeros <= np.arange(12).reshape(3, 4).T)  # by column
  layers = {"stage_0": {"kernel": kernel[None]}}
  found = footprint.sparsity(
    {"params": layers},
    Compression(sparsity=asked, pruning_structure=structure),
  )
  assert found["verified"] == verified
  assert found["overall"] == found["layers"]["stage_0"] == zeros / 12
  shown = {"bytes": [1], "bytes_float32": 4, "sparsity": found}
  table = compression_table.compression_table({"compression": shown})
  assert ("NOT the 50.00 %" in str(table.rows)) != verified
