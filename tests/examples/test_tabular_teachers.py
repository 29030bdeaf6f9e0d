"""Trees teach a network: the code of the page, and the example through a run."""

import json
import subprocess
import sys

import numpy as np
import pytest
from documented_code import ROOT, code_of, page

import launch

pytestmark = pytest.mark.slow


def test_the_code_of_the_page_runs(capsys):
  code = code_of(page("tabular_teachers.md"))
  assert len(code.strip().splitlines()) <= 30
  names = {}
  exec(compile(code, "tabular_teachers.md", "exec"), names)
  capsys.readouterr()
  assert names["done"].metrics["accuracy"] > 0.9


@pytest.mark.usefixtures("quick_runs")
@pytest.mark.parametrize(
  ("dataset", "score", "least", "most"),
  [("diabetes", "rmse", 40, 90), ("breast_cancer", "accuracy", 0.85, 1)],
)
def test_stored_trees_teach(tmp_path, dataset, score, least, most):
  cache, workdir = tmp_path / "trees", tmp_path / "run"
  subprocess.run(
    [sys.executable, "-m", "examples.boosted_teacher", dataset, str(cache)],
    cwd=ROOT,
    check=True,
    capture_output=True,
  )
  call = [
    f"--dataset={dataset}", f"--teacher_cache={cache}", "--student=mlp(4)",
    "--epochs=10", "--batch_size=32", "--seeds=2", f"--workdir={workdir}",
  ]  # fmt: skip
  assert launch.main(["launch.py", *call]) == 0
  results = json.loads((workdir / "results.json").read_text())
  for name in ("teacher", "student", "baseline"):
    values = np.array(results[name][f"test_{score}"])
    assert ((least < values) & (values <= most)).all()
  assert results["teacher"]["model"].startswith("HistGradientBoosting")
