"""The task of docs/tasks.md through the commands, from a plugin to the page."""

import json
import sys

import numpy as np
import pytest
from documented_code import code_of, page
from job_contract import check_results, run_killed_at_the_end

import launch
from kdjax import tasks
from kdjax.core import plugins
from kdjax.data.registry import MAKERS as DATA_SETS

pytestmark = pytest.mark.usefixtures("quick_runs")

DATA = '''

from kdjax.data import Dataset, Split
from kdjax.data.registry import register as data_set


@data_set("sums")
def sums() -> Dataset:
  """Images with ten times their mean."""

  def split(count, seed):
    images = np.random.default_rng(seed).uniform(size=(count, 4, 4, 1))
    images = images.astype(np.float32)
    return Split(images, 10 * images.mean((1, 2, 3)))

  return Dataset(
    "sums", 1, ("sum",), (4, 4, 1), split(96, 0), split(40, 1), task=number()
  )
'''
TEACHER = (
  "--teacher=mlp(16)", "--teacher_epochs=2", "--teacher_batch_size=32",
)  # fmt: skip
STUDENT = (
  "--student=mlp(4)", "--epochs=2", "--batch_size=32", "--seeds=2",
)  # fmt: skip
TITLE = "root mean squared error"


@pytest.fixture
def sums(tmp_path, monkeypatch):
  """Flags of the page's task with data; what they leave behind is removed."""
  monkeypatch.setattr(plugins, "_DIGESTS", {})
  monkeypatch.setattr(sys, "path", [*sys.path])
  tables = [(table, dict(table)) for table in (DATA_SETS, tasks.MAKERS)]
  file = tmp_path / "own_task.py"
  file.write_text(code_of(page("tasks.md")) + DATA)
  yield (f"--plugins={file}", "--dataset=sums")
  sys.modules.pop("own_task", None)
  for table, before in tables:
    table.clear()
    table.update(before)


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--distillation=kd"], ["task 'number'", "kd reads", "fit are", "rkd"]),
    (["--distillation=fitnets"], ["'number'", "kd reads categories"]),
    (
      ["compare", "dist", "--batch_size=32"],
      ["dist does not fit", "task 'number'"],
    ),
    (["--shuffled_teacher"], ["--shuffled_teacher", "'number' are values"]),
    (["--transfer_dataset=noise_images"], ["--transfer_dataset=noise_images"]),
    (["soft_td"], ["soft_td: it is for tasks whose answers are categories"]),
    (["synthesise"], ["synthesise: it is for tasks"]),
  ],
  ids=lambda value: " ".join(value),
)
def test_what_is_for_classes_is_refused(
  sums, arguments, said, capsys, tmp_path
):
  workdir = tmp_path / "run"
  call = ["launch.py", *arguments, *sums, f"--workdir={workdir}"]
  assert launch.main(call) == 2
  message = capsys.readouterr().err
  assert all(part in message for part in said), message
  assert not workdir.exists()


def test_it_is_listed(sums, capsys):
  assert launch.main(["launch.py", "list", "tasks", sums[0]]) == 0
  shown = capsys.readouterr().out
  for row in (
    "tasks (Dataset(..., task=...))", "classification(classes",
    "regression(outputs=1", "One number, or several, for each example.",
    "number(inputs='x', target='y')",
  ):  # fmt: skip
    assert row in shown


@pytest.mark.slow
def test_a_number_is_distilled_and_its_page_says_so(sums, capsys, tmp_path):
  workdir = tmp_path / "run"
  text = run_killed_at_the_end(
    capsys, "distill", *sums, *TEACHER, *STUDENT, workdir=workdir
  )
  assert "sums: 96 train, 40 test images, task number" in text
  results = check_results(workdir, "distill")
  assert results["task"] == "number" and results["controls"] == {}
  assert results["experiment"]["distillation"]["distillation"] == "logit_mse"
  for name, count in (("teacher", 1), ("student", 2), ("baseline", 2)):
    assert len(results[name]["test_rmse"]) == count
    assert results[name]["test_examples"] == 40
    assert "test_accuracy" not in results[name]
  shown = (workdir / "report.html").read_text()
  assert f"Test {TITLE}" in shown and "Test error" not in shown
  assert "Negative: the student errs less." in shown
  assert "lower is better" in shown


@pytest.mark.slow
def test_a_network_of_numbers_is_exported_and_reproduced(
  sums, capsys, tmp_path, bare_runs
):
  workdir, exported = tmp_path / "run", tmp_path / "exported"
  run = [*sums, *TEACHER, *STUDENT, f"--workdir={workdir}"]
  assert launch.main(["launch.py", *run]) == 0
  words = ["export", f"--from={workdir}", "--format=stablehlo,safetensors"]
  call = ["launch.py", *words, sums[0], f"--workdir={exported}"]
  assert launch.main(call) == 0
  assert "same answers on all 136 images, outputs within" in (
    capsys.readouterr().out
  )
  results = json.loads((workdir / "results.json").read_text())
  card = json.loads((exported / "student" / "card.json").read_text())
  assert card["rmse"] == pytest.approx(card["reported_rmse"], rel=1e-4)
  assert card["reported_rmse"] == results["student"]["test_rmse"][0]
  shown = (exported / "student" / "MODEL_CARD.md").read_text()
  assert "- Output `outputs`: (batch, 1) float32." in shown
  assert "- Numbers, in this order: sum." in shown
  assert "classes" not in shown and TITLE.capitalize() in shown
  again = [
    "reproduce",
    str(workdir),
    sums[0],
    f"--workdir={tmp_path / 'again'}",
  ]
  assert launch.main(["launch.py", *again]) == 0
  assert f"{TITLE}" in capsys.readouterr().out


@pytest.mark.slow
def test_networks_of_numbers_are_made_small(sums, tmp_path):
  workdir = tmp_path / "run"
  method = ("--distillation=logit_mse", "--nolatency")
  call = ["compress", *sums, *TEACHER, *STUDENT, *method]
  assert launch.main(["launch.py", *call, f"--workdir={workdir}"]) == 0
  table = check_results(workdir, "compress")["table"]
  for row in table["rows"].values():
    for key in ("test_rmse", "noise_rmse", "shift_rmse"):
      assert np.isfinite(row[key]).all()
  least = min(
    (one for one in table["rows"] if not table["rows"][one]["control"]),
    key=lambda one: np.mean(table["rows"][one]["test_rmse"]),
  )
  assert least in table["front"]
  shown = (workdir / "report.html").read_text()
  assert f"Test {TITLE}" in shown and "accuracy" not in shown.lower().replace(
    "validation_accuracy", ""
  )
  assert "Negative: the first errs less." in shown


@pytest.mark.slow
def test_methods_are_compared_on_numbers(sums, capsys, tmp_path):
  workdir = tmp_path / "run"
  search = (
    "--search_rates=0.01", "--search_seeds=1", "--search_weights=1",
    "--search_smoothing=0.1",
  )  # fmt: skip
  run_killed_at_the_end(
    capsys, "compare", "logit_mse", "rkd", *sums, *TEACHER, *STUDENT, *search,
    workdir=workdir,
  )  # fmt: skip
  results = check_results(workdir, "compare")
  # Nothing that reads logits is the reference, and no labels are smoothed.
  assert set(results["methods"]) == {"logit_mse", "rkd"}
  assert results["controls"] == {}
  for entry in (results["baseline"], *results["methods"].values()):
    assert len(entry["test_rmse"]) == 2
    assert len(entry["cells"][0]["rmse"]) == 1
  best = results["student"]["method"]
  chosen = {
    name: one["cells"][0]["rmse"][0] for name, one in results["methods"].items()
  }
  assert chosen[best] == min(chosen.values())
  assert f"Test {TITLE}" in (workdir / "report.html").read_text()


@pytest.mark.slow
def test_a_cache_of_numbers_teaches(sums, tmp_path, bare_runs):
  cache, workdir = tmp_path / "cache", tmp_path / "run"
  for words in (
    ["cache", *sums, *TEACHER, f"--workdir={cache}"],
    [*sums, *STUDENT, f"--teacher_cache={cache}", f"--workdir={workdir}"],
  ):
    assert launch.main(["launch.py", *words]) == 0
  check_results(cache, "cache")
  results = check_results(workdir, "distill")
  assert len(results["teacher"]["test_rmse"]) == 1
  assert len(results["student"]["test_rmse"]) == 2
