"""`launch.py quantify`: what it leaves behind, and what bad input says."""

import json

import pytest
from job_contract import check_results, run_killed_at_the_end

import launch
from kdjax.core.errors import UserError
from kdjax.runner.config import (
  Experiment,
  options,
)
from kdjax.runner.config.experiments import load_experiment
from kdjax.runner.jobs.knowledge.build import prepare
from kdjax.runner.jobs.knowledge.resume import Keeper
from kdjax.train.devices import memory

TINY = (
  "--student=mlp(6, 5)", "--teacher_epochs=2", "--epochs=2", "--seeds=2",
  "--batch_size=16", "--teacher_batch_size=16", "--explained_images=8",
  "--grid=4", "--compared_images=1", "--label_epochs=1", "--tap=stage_0",
  "--train_split=train", "--teacher_split=train", "--probes=8",
  "--threshold=0.1",
)  # fmt: skip


@pytest.mark.slow
def test_run_keeps_the_contract(toy, tmp_path, capsys):
  flags = [*TINY, f"--dataset={toy}"]
  text = run_killed_at_the_end(
    capsys, "quantify", *flags, workdir=tmp_path / "one"
  )
  assert "N_fg, foreground concepts ↑" in text and "hypotheses" in text
  found = check_results(tmp_path / "one", "quantify")
  for name, size in (("teacher", 1), ("student", 2), ("baseline", 2)):
    one = found[name]
    assert len(one["test_accuracy"]) == len(one["digest"]) == size
    assert one["model"] == "mlp(6, 5)" and one["test_examples"] == 32
    assert all(len(values) == size for values in one["metrics"].values())
    assert len(one["training"][0]["n_fg"]) == 3  # initialisation, two epochs
    assert one["training"][0]["distance"][0] == 0.0
  assert [row["metric"] for row in found["quantify"]["comparisons"]][:3] == [
    "n_fg", "n_bg", "lambda",
  ]  # fmt: skip
  # All of them were there when it went on.
  assert found["quantify"]["checkpoints"]["computed"] == 0
  assert found["quantify"]["checkpoints"]["reused"] >= 10
  page = (tmp_path / "one" / "report.html").read_text()
  assert page.count("data:image/") == 5 and "D_var" in page
  figures = {file.name for file in (tmp_path / "one" / "figures").iterdir()}
  assert {"entropies.png", "concepts.png", "thresholds.png"} <= figures


def killed(monkeypatch, training, epoch, *, halfway):
  """Ends the run where it writes an epoch: halfway, or just after."""
  whole = Keeper.save

  def save(self, name, number, *rest):
    if (name, number) != (training, epoch):
      return whole(self, name, number, *rest)
    if halfway:
      (self._folder / name / f"{number:06d}" / "variables").mkdir(parents=True)
    else:
      whole(self, name, number, *rest)
    raise KeyboardInterrupt

  monkeypatch.setattr(Keeper, "save", save)


@pytest.mark.slow
def test_killed_runs_end_as_undisturbed_ones(toy, tmp_path, bare_runs, capsys):
  shared = [
    *TINY, f"--dataset={toy}", "--epochs=3", "--label_epochs=2",
    "--student=mlp(6, 5, dropout=0.1)", "--augment=crop(1)",
  ]  # fmt: skip

  def run(name, earlier=None, *, flags=()):
    flags = [*shared, *flags, f"--workdir={tmp_path / name}"]
    flags += [f"--quantify_from={tmp_path / earlier}"] if earlier else []
    return launch.main(["launch.py", "quantify", *flags])

  assert run("undisturbed") == 0
  for name, earlier, place, halfway in (
    ("one", None, ("teacher", 1), False),
    ("two", "one", ("students", 2), True),
    ("three", "two", ("students", 2), False),
    ("four", "three", ("labels", 1), False),
  ):
    with pytest.MonkeyPatch.context() as patch:
      killed(patch, *place, halfway=halfway)
      assert run(name, earlier) == 130
  assert run("five", "four") == 0
  first, last = (
    json.loads((tmp_path / name / "results.json").read_text())
    for name in ("undisturbed", "five")
  )
  for name in ("teacher", "student", "baseline"):
    assert last[name] == first[name]
  assert last["quantify"]["checkpoints"]["computed"] == 0
  assert last["quantify"]["comparisons"] == first["quantify"]["comparisons"]
  # Other settings are another run.
  capsys.readouterr()
  assert run("six", "four", flags=["--grid=8", "--learning_rate=0.1"]) == 2
  text = capsys.readouterr().err
  assert "grid (4, now 8)" in text and "learning_rate (None, now 0.1)" in text


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["now"], ["quantify", "'now'"]),
    (["--estimator=jacobi"], ["--estimator", "'jacobi'", "'jacobian'"]),
    (["--grid=1"], ["--grid=1", ">= 2"]),
    (["--teacher=mlp(3)"], ["--teacher=mlp(3)", "one architecture"]),
    (["--teacher_from=x"], ["--teacher_from"]),
    (["--tap=stage_0:up"], ["stage_0:up"]),
    (["--dataset=digits", "--train_split=train", "--teacher_split=none"],
     ["'digits'", "where it is"]),
  ],
)  # fmt: skip
def test_bad_input(flags, words, capsys):
  assert launch.main(["launch.py", "quantify", *flags]) == 2
  text = capsys.readouterr().err
  assert all(word in text for word in words), text
  assert len(text.splitlines()) <= 3


def test_needs_a_model(toy):
  experiment = options.with_flags(Experiment(), {"dataset": toy})
  with pytest.raises(UserError, match="--student='lenet'"):
    prepare(experiment)


FULL_SCALE = [
  "concepts/birds", "concepts/birds_resnet", "concepts/voc",
  "concepts/voc_resnet",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SCALE)
def test_full_scale_settings_fit_together(toy, name, monkeypatch):
  """Networks, taps and data by their shapes; nothing is computed."""
  monkeypatch.setattr(memory, "host_memory", lambda: None)
  experiment = options.with_flags(
    load_experiment(name),
    {"dataset": toy, "test_split": "test", "explained_images": "2",
     "image_size": "64", "batch_size": "16", "teacher_batch_size": "16"},
  )  # fmt: skip
  options.check(experiment)
  made = prepare(experiment)
  assert made.on_object.shape == (2, 16, 16)


@pytest.mark.slow
def test_full_scale_takes_two_steps(toy, tmp_path, bare_runs):
  """The authors' settings on a net and images that a laptop can bear."""
  flags = [
    "--experiment=concepts/birds", "--student=mlp(4, 3)", "--tap=stage_0",
    "--weights=stage_0", f"--dataset={toy}", "--image_size=16", "--epochs=1",
    "--teacher_epochs=1", "--label_epochs=1", "--batch_size=16",
    "--teacher_batch_size=16", "--seeds=1", "--explained_images=2",
    f"--workdir={tmp_path / 'run'}",
  ]  # fmt: skip
  assert launch.main(["launch.py", "quantify", *flags]) == 0
  found = json.loads((tmp_path / "run" / "results.json").read_text())
  assert found["quantify"]["estimator"] == "published"
