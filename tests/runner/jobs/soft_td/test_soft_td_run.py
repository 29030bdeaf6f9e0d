"""`launch.py soft_td` from flags to results.json."""

import json

import numpy as np
import pytest
from job_contract import check_results, run_killed_at_the_end

import launch
from kdjax.runner.jobs.soft_td import build as soft_build
from kdjax.runner.jobs.soft_td import training
from kdjax.runner.report import overview

TINY = (
  "--dataset=digits", "--teacher=mlp(16)",
  "--student=mlp(8)", "--teacher_epochs=4", "--epochs=3", "--seeds=2",
  "--batch_size=64", "--teacher_batch_size=64", "--labels=200", "--sources=2",
  "--rounds=2", "--search_rates=0.01,0.03", "--augment=none",
  "--teacher_augment=none",
)  # fmt: skip

BAD = [
  (["--beta=1.5"], ["--beta=1.5", "[0, 1]"]),
  (["--beta=-0.1"], ["--beta=-0.1"]),
  (["--beta=nan"], ["--beta=nan"]),
  (["--rounds=0"], ["--rounds=0", ">= 1"]),
  (["--sources=0"], ["--sources=0", ">= 1"]),
  (["--patience=0"], ["--patience=0"]),
  (["--regulariser=l1"], ["'l1'", "kd, l2"]),
  (["--regulariser_weight=-1"], ["--regulariser_weight=-1", ">= 0"]),
  (["--pseudo_labels=firm"], ["'firm'", "hard, soft"]),
  (["--next_sources=last"], ["'last'", "all, latest"]),
  (["--soft_labels_from=nowhere.npy"], ["nowhere.npy", "cannot be read"]),
  (
    ["--teacher_from=nowhere"],
    ["--teacher_from=nowhere: soft_td has no such flag"],
  ),
  (["--distillation=fitnets"], ["--distillation=fitnets", "has no such flag"]),
  (["--temperature=linear(4, 1, 9)"], ["--temperature=linear", "number"]),
  (["--labels=5000"], ["5000"]),
  (["twice"], ["twice"]),
]


def run(*arguments):
  return launch.main(["launch.py", "soft_td", *TINY, *arguments])


def fails(capsys, tmp_path, *arguments):
  """Runs the launcher on bad input and returns what it said."""
  workdir = tmp_path / "run"
  assert run(f"--workdir={workdir}", *arguments) == 2
  captured = capsys.readouterr()
  assert "Traceback" not in captured.err
  assert 1 <= len(captured.err.strip().splitlines()) <= 3
  assert not workdir.exists()
  return captured.err


@pytest.mark.parametrize(
  ("arguments", "said"), BAD, ids=[" ".join(case[0]) for case in BAD]
)
def test_bad_input(arguments, said, capsys, tmp_path):
  message = fails(capsys, tmp_path, *arguments)
  assert all(part in message for part in said), message


def test_infeasible_soft_labels_name_the_example(capsys, tmp_path):
  rows = np.full((1442, 10), 0.1)
  rows[17] = 0.2
  np.save(tmp_path / "soft.npy", rows)
  message = fails(capsys, tmp_path, f"--soft_labels_from={tmp_path}/soft.npy")
  assert "example 17 sums to 2, not to 1" in message
  assert "--project_simplex" in message
  np.save(tmp_path / "soft.npy", rows[:9])
  message = fails(capsys, tmp_path, f"--soft_labels_from={tmp_path}/soft.npy")
  assert "(1442, 10)" in message and "(9, 10)" in message


def test_stored_tables_are_found_by_place():
  tables = np.arange(24.0).reshape(2, 4, 3)
  logits = training.side_by_side(tables).arrays.answers
  assert logits.shape == (4, 6)
  np.testing.assert_array_equal(logits.reshape(4, 2, 3)[:, 1], tables[1])


def check_shape_of_results(results):
  """Everybody who was trained, at the best of the same rates."""
  for arm in (results["student"], results["baseline"]):
    assert len(arm["test_accuracy"]) == len(arm["digest"]) == 2
    assert arm["test_examples"] == 355
  assert len(results["teacher"]["test_accuracy"]) == 4
  controls = {"reference", "one_round", "label_smoothing"}
  assert set(results["controls"]) == controls
  tried = [results["student"], results["baseline"]]
  for arm in [*tried, *results["controls"].values()]:
    # The same rates for all, the best one by the held-out images first.
    assert {cell["learning_rate"] for cell in arm["cells"]} == {0.01, 0.03}
    means = [np.mean(cell["validation_loss"]) for cell in arm["cells"]]
    assert means == sorted(means)
    assert arm["settings"] == {
      "learning_rate": arm["cells"][0]["learning_rate"]
    }
  compared = [one["control"] for one in results["comparisons"]]
  assert compared == ["baseline", "reference", "one_round", "label_smoothing"]


@pytest.mark.slow
def test_a_run_leaves_its_rounds(tmp_path, quick_runs, capsys):
  rows = np.full((1442, 10), 0.2)
  np.savez(tmp_path / "soft.npz", soft_labels=rows)
  workdir = tmp_path / "run"
  text = run_killed_at_the_end(
    capsys, "soft_td", *TINY, f"--soft_labels_from={tmp_path}/soft.npz",
    "--project_simplex", "--regulariser=l2", "--beta=1", "--patience=2",
    workdir=workdir,
  )  # fmt: skip
  results = check_results(workdir, "soft_td")
  rows = (workdir / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(row)["round"] for row in rows] == [1, 2]
  check_shape_of_results(results)
  rounds = results["rounds"]
  # Two sources and the file, then the student too.
  assert [one["sources"] for one in rounds] == [3, 4]
  for one in rounds:
    assert len(one["validation_loss"]) == 2
    effective = np.array(one["effective_sample_size"])
    assert ((effective >= 1) & (effective <= one["sources"])).all()
    assert (np.array(one["least_effective_sample_size"]) <= effective).all()
  summary = results["soft_td"]
  assert (summary["labelled"], summary["validation"]) == (200, 288)
  assert summary["transfer"] == 1442 - 288
  assert summary["epochs_of_controls"] == 6
  losses = np.array([one["validation_loss"] for one in rounds])
  assert summary["best_round"] == (losses.argmin(axis=0) + 1).tolist()
  assert "Effective sources" in text
  page = (workdir / "report.html").read_text()
  assert "Soft labels&#39; error" in page and "355 test examples" in page
  text = overview.overview({"soft_td": results})
  assert "| Round | Sources |" in text and "[soft_td](#soft_td)" in text


@pytest.mark.slow
def test_one_source_and_one_round_are_plain_distillation(tmp_path, bare_runs):
  """beta, pseudo-labels and rounds change nothing where there is one source."""
  workdir = tmp_path / "run"
  assert run(f"--workdir={workdir}", "--sources=1", "--rounds=1") == 0
  results = json.loads((workdir / "results.json").read_text())
  # Alike but for rounding: they are of different programs.
  plain = pytest.approx(
    results["controls"]["reference"]["negative_log_likelihood"]
  )
  assert results["student"]["negative_log_likelihood"] == plain
  assert results["controls"]["one_round"]["negative_log_likelihood"] == plain


def test_sources_see_labelled_examples_only():
  flags = [flag.removeprefix("--").split("=", 1) for flag in TINY]
  from kdjax.runner.config import Experiment, options

  setup = soft_build.make_setup(options.with_flags(Experiment(), dict(flags)))
  shown = soft_build.examples_of(setup.sources.loaders["labels"])
  loaders = setup.base.student.loaders
  labelled = soft_build.examples_of(loaders[setup.labelled])
  np.testing.assert_array_equal(shown, labelled)
  assert len(shown) == 200 and set(shown) < set(setup.transfer)
  hidden = loaders["transfer"].targets
  assert (hidden[labelled] >= 0).all() and (hidden >= 0).sum() == 200
  assert len(setup.sources.arms["teacher"].settings["seed"]) == 4
