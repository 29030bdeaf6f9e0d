"""The best epochs: chosen by what may choose, kept as networks one can use."""

import json

import numpy as np
import pytest

import launch
from kdjax import data
from kdjax.core import storage
from kdjax.core.errors import UserError
from kdjax.runner.config import Experiment, Run
from kdjax.runner.pipeline import best_epochs, pretrained
from kdjax.tasks import classification

pytestmark = pytest.mark.usefixtures("quick_runs")


def keep(folder, metric, values, count=2):
  """Keeps the epochs of a log with these values, from 1 on."""
  kept = best_epochs.Best(folder / "best", count, metric, {"model": "mlp(8)"})
  for epoch, value in enumerate(values, start=1):
    row = {"network": "student", "epoch": epoch, "loss": [1.0]} | (
      {"test_accuracy": [value, value]}
      if metric == "validation_accuracy"
      else {metric: [value, value]}
    )
    networks = {"params": {"kernel": np.full((2, 3), epoch, np.float32)}}
    if value is None:
      row = {"network": "student", "epoch": epoch, "loss": [1.0]}
    best_epochs.keep(kept, epoch, networks, row)
  return sorted(int(x.name[-4:]) for x in kept.folder.glob("epoch_*"))


@pytest.mark.parametrize(
  ("metric", "values", "kept"),
  [
    ("validation_accuracy", [0.1, 0.5, 0.3, 0.4], [2, 4]),
    ("validation_accuracy", [0.9, 0.5, 0.3, 0.9], [1, 4]),
    ("validation_accuracy", [0.5, 0.5, 0.5], [1, 2]),
    ("validation_accuracy", [0.5, None, 0.4, None], [1, 3]),
    ("train_accuracy", [0.1, 0.2, 0.3], [2, 3]),
    ("loss", [3.0, 1.0, 2.0, float("nan")], [2, 3]),
  ],
)
def test_the_best_stay(tmp_path, metric, values, kept):
  assert keep(tmp_path, metric, values) == kept
  # A run that goes on from the beginning comes to the same.
  assert keep(tmp_path, metric, values) == kept


@pytest.mark.parametrize(
  ("named", "metric"),
  [
    ({}, "validation_rmse"),
    ({"best_metric": "loss"}, "loss"),
    ({"best_metric": "train_rmse"}, "train_rmse"),
  ],
)
def test_the_score_of_another_task_chooses_where_none_is_named(
  tmp_path, named, metric
):
  task = classification(2)._replace(score="rmse", better=-1)
  experiment = Experiment(run=Run(keep_best=1, **named))
  kept = best_epochs.best_to_keep(experiment, tmp_path, {}, task)
  assert (kept.metric, kept.better) == (metric, -1)


@pytest.mark.parametrize(
  ("better", "kept"), [(1, "epoch_0002"), (-1, "epoch_0003")]
)
def test_the_best_of_another_score(tmp_path, better, kept):
  best = best_epochs.Best(
    tmp_path, 1, "validation_rmse", {}, score="rmse", better=better
  )
  for epoch, value in enumerate([2.0, 3.0, 1.0], start=1):
    networks = {"params": {"kernel": np.zeros((1, 2), np.float32)}}
    row = {"epoch": epoch, "test_rmse": [value]}
    best_epochs.keep(best, epoch, networks, row)
  assert [file.name for file in tmp_path.iterdir()] == [kept]


def test_kept_networks_can_be_used(tmp_path):
  keep(tmp_path, "loss", [2.0, 1.0], count=1)
  folder = tmp_path / "best" / "epoch_0002" / "seed_1"
  note = storage.read_note(folder)
  assert (note["epoch"], note["loss"], note["model"]) == (2, 1.0, "mlp(8)")
  kernel = storage.load_variables(folder, note)["params"]["kernel"]
  assert kernel.tolist() == [2.0] * 3


def test_a_metric_that_is_not_logged_is_named(tmp_path):
  kept = best_epochs.Best(tmp_path, 1, "f1", {})
  row = {"epoch": 1, "loss": [1.0], "test_accuracy": [0.5], "kd": [0.1]}
  with pytest.raises(UserError, match="f1: .* but loss, kd"):
    best_epochs.keep(kept, 1, {}, row)


@pytest.mark.slow
# Weights of 1e28 give logits that are infinite.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_passes_over_bad_steps_and_keeps_its_best(tmp_path, capsys):
  """Too large a rate stops a run; with --nan=skip it goes on, and says so."""
  flags = [
    "launch.py", "--accelerator=cpu", "--dataset=digits", "--teacher=mlp(8)",
    "--student=mlp(6)", "--teacher_epochs=1", "--epochs=2", "--seeds=2",
    "--batch_size=256", "--teacher_batch_size=256", "--nocontrols",
    "--optimizer=sgd", "--learning_rate=1e30", "--checkpoint_minutes=0",
    "--checkpoint_steps=2", "--keep_best=1", "--validation=0.2",
    f"--workdir={tmp_path / 'run'}",
  ]  # fmt: skip
  assert launch.main(flags) == 3
  said = capsys.readouterr().err.splitlines()[-1]
  assert "not finite" in said and "--nan=skip" in said
  assert launch.main([*flags, "--nan=skip", "--nan_patience=99"]) == 0
  captured = capsys.readouterr()
  assert "do not count (--nan=skip)" in captured.err
  assert "steps of the student" in captured.out
  found = json.loads((tmp_path / "run" / "results.json").read_text())
  assert min(found["lost_steps"]["student"]) > 0
  (kept,) = (tmp_path / "run" / "best").iterdir()
  teacher = pretrained.find(
    str(kept / "seed_1"), "auto", data.load("digits"), 0.2
  )
  assert teacher.load()["params"]["head"]["kernel"].shape == (6, 10)
