"""The comparison of methods: equal tries, fresh seeds, and what it leaves."""

import numpy as np
import pytest
from job_contract import check_results, run_killed_at_the_end

import launch
from kdjax.runner.config import Experiment, options
from kdjax.runner.jobs.compare import candidates, training
from kdjax.runner.jobs.compare.build import read_methods
from kdjax.runner.pipeline import build
from kdjax.tasks import classification, embedding

pytestmark = pytest.mark.usefixtures("quick_runs")

TINY = (
  "--dataset=digits", "--teacher=mlp(16)", "--student=mlp(8)",
  "--teacher_epochs=1", "--epochs=2", "--seeds=2", "--batch_size=64",
  "--teacher_batch_size=64", "--images=200", "--search_rates=0.01",
  "--search_weights=1", "--search_smoothing=0.1", "--search_seeds=2",
)  # fmt: skip


@pytest.mark.parametrize(
  ("rates", "count", "expected"),
  [
    ((0.01,), 1, [0.01]),
    ((0.01, 0.03), 2, [0.01, 0.03]),
    ((0.03,), 3, [0.01, 0.03, 0.09]),
    ((0.01, 0.03), 6, 0.01 / 3 * 27 ** (np.arange(6) / 5)),
  ],
)
def test_control_rates(rates, count, expected):
  np.testing.assert_allclose(candidates.control_rates(rates, count), expected)


@pytest.mark.parametrize(
  ("name", "task", "says"),
  [
    ("kd", classification(3), None),
    ("rkd", embedding(3), None),
    (
      "kd",
      embedding(3),
      "reads scores of classes or scores of yes and no; the",
    ),
    ("srd", embedding(3), "has kd, which reads scores of classes or scores of"),
  ],
)
def test_why_a_method_is_left_out(name, task, says):
  reason = candidates.misfit_of(name, read_methods([name])[name], task)
  assert (reason is None) == (says is None)
  assert says is None or reason.startswith(says)


def test_every_arm_has_as_many_tries():
  flags = {
    name.removeprefix("--"): value
    for name, value in (flag.split("=") for flag in TINY[:9])
  }
  experiment = options.with_flags(Experiment(), flags | {"validation": "0.2"})
  setup = build.prepare(experiment)
  found = candidates.make_candidates(
    setup.experiment, setup, read_methods(["rkd"])
  )
  assert list(found.arms) == ["baseline", "label_smoothing", "kd", "rkd"]
  assert {len(grid) for grid in found.grids.values()} == {6}
  for name, arm in found.arms.items():
    # Each setting is a cell once, in the seed's own place.
    cells = {tuple(cell.items()) for cell in found.grids[name]}
    assert len(cells) == 6
    assert arm.loader == "transfer"
  assert found.loaders["transfer"].steps == 200 // 64


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["kdd"], ["method 'kdd'", "'kd'"]),
    (["all", "fitnet"], ["method 'fitnet'", "'fitnets'"]),
    (["attention_transfer"], ["attention_transfer does not fit", "maps"]),
    (
      ["rkd", "--search_weights=1,10"],
      ["--search_smoothing", "--search_weights"],
    ),
    (["rkd", "--images=5000"], ["5000"]),
    (["rkd", "--search_rates=0"], ["--search_rates=0", "> 0"]),
  ],
  ids=lambda value: " ".join(value),
)
def test_bad_input(arguments, said, capsys, tmp_path):
  workdir = tmp_path / "run"
  call = ["launch.py", "compare", *TINY, *arguments, f"--workdir={workdir}"]
  assert launch.main(call) == 2
  message = capsys.readouterr().err
  assert all(part in message for part in said), message
  assert not workdir.exists()


def test_a_comparison_leaves_its_table(capsys, tmp_path):
  workdir = tmp_path / "run"
  text = run_killed_at_the_end(
    capsys, "compare", "rkd", *TINY, "--nopreflight", workdir=workdir
  )
  assert "Shown to help" in text
  # By hand: 4 arms, of each 1 cell of 2 seeds, then 2 seeds more.
  assert "compare: a teacher, then 8 trainings of 16 networks" in text
  assert "1 of 4 arms in " in text and "3 of 4 arms" in text
  results = check_results(workdir, "compare")
  assert set(results["methods"]) == {"kd", "rkd"}
  assert results["student"]["method"] in results["methods"]
  assert len(results["student"]["digest"]) == 2
  assert results["methods"]["rkd"]["objective"] == "ce:1.0 + rkd:1.0"
  arms = [results["baseline"], *results["controls"].values()]
  for arm in [*arms, *results["methods"].values()]:
    assert len(arm["test_accuracy"]) == 2 and arm["test_examples"] == 355
    assert len(arm["cells"]) == 1 and len(arm["cells"][0]["accuracy"]) == 2
  versus = results["methods"]["rkd"]["versus_kd"]
  assert versus["pairs"] == 2 and "holm_p_value" in versus
  assert "versus_kd" not in results["methods"]["kd"]
  page = (workdir / "report.html").read_text()
  assert "Against baseline" in page and "rkd" in page


def test_the_best_cell_is_the_most_accurate_with_a_finite_loss(monkeypatch):
  """Four cells of one seed: the best lost its loss, two tie on accuracy."""
  right, wrong = [9.0, 0.0], [0.0, 9.0]
  unsure = [1.0, 0.0]
  logits = np.array(
    [[right, right], [right, wrong], [unsure, unsure], [right, right]]
  )
  monkeypatch.setattr(training, "_predict", lambda *_: logits)

  class Parts:
    class student:
      task = classification(2)

    class score_split:
      labels = np.array([0, 0])

  grid = [{"learning_rate": x} for x in (1.0, 2.0, 3.0, 4.0)]
  losses = np.array([np.nan, 0.1, 0.1, 0.1])
  best, cells = training._choose(Parts, grid, None, losses)
  assert best == 3
  assert [cell["accuracy"] for cell in cells] == [[0.0], [0.5], [1.0], [1.0]]
