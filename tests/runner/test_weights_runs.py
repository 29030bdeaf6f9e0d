"""Weights of examples through the commands: a weight of 2 is a row that is there twice."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from killed_runs import killed_at

import launch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_runs")]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).round(4)
WEIGHT = RNG.integers(0, 4, 60)
IS_TEST = np.arange(60) >= 45
WEIGHT[IS_TEST] = 1
CLASS = (X @ RNG.normal(size=(4, 3))).argmax(1)
FACTS = (X @ RNG.normal(size=(4, 2)) > 0).astype(int)
NUMBER = (X @ RNG.normal(size=4)).round(4)
TEACHER = (
  "--teacher=mlp(8)",
  "--teacher_epochs=6",
  "--teacher_learning_rate=0.1",
)
STUDENT = (
  "--student=mlp(4)", "--epochs=6", "--learning_rate=0.1", "--seeds=1",
  "--baseline_learning_rate=0.1", "--nocontrols",
)  # fmt: skip


def write(path, places, labels, weight=None):
  """A table of some rows; and how many of them are for training."""
  head = [*"abcd", *labels, "split"] + ([] if weight is None else ["weight"])
  with open(path, "w", newline="", encoding="utf-8") as file:
    out = csv.writer(file)
    out.writerow(head)
    for i in places:
      row = [*X[i], *(labels[name][i] for name in labels)]
      row += ["test" if IS_TEST[i] else "train"]
      out.writerow(row if weight is None else [*row, weight[i]])
  return str(path)


def table(path):
  beside = {"w.csv": ", weight='weight'", "g.csv": ", group='group'"}
  beside = beside.get(Path(path).name, "")
  return f"--dataset=table(path={path!r}, standardise=False{beside})"


def run(folder, path, size, *flags):
  call = [table(path), *STUDENT, f"--batch_size={size}", *flags]
  if not any("--teacher_cache" in flag for flag in flags):
    call += [*TEACHER, f"--teacher_batch_size={size}"]
  assert launch.main(["launch.py", *call, f"--workdir={folder}"]) == 0
  return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize(
  ("labels", "flags", "score"),
  [
    ({"label": CLASS}, ("--distillation=kd",), "negative_log_likelihood"),
    ({"label_p": FACTS[:, 0], "label_q": FACTS[:, 1]},
     ("--distillation=binary_kd",), "negative_log_likelihood"),
    # Targets' mean and deviation would be those of the rows as they are stored.
    ({"label": NUMBER}, ("--task=regression(target_mean=0, target_scale=1)",),
     "test_rmse"),
  ],
  ids=["classification", "multilabel", "regression"],
)  # fmt: skip
def test_weighs_as_if_repeated(tmp_path, bare_runs, labels, flags, score):
  """With the whole set in a batch, so that both see the same ones."""
  repeated = np.repeat(np.arange(60), WEIGHT)
  one = run(
    tmp_path / "weighed",
    write(tmp_path / "w.csv", range(60), labels, WEIGHT),
    int((WEIGHT[~IS_TEST] > 0).sum()),
    *flags,
  )
  other = run(
    tmp_path / "repeated",
    write(tmp_path / "r.csv", repeated, labels),
    int(WEIGHT[~IS_TEST].sum()),
    *flags,
  )
  plain = run(
    tmp_path / "plain",
    write(tmp_path / "p.csv", np.flatnonzero(WEIGHT), labels),
    int((WEIGHT[~IS_TEST] > 0).sum()),
    *flags,
  )
  for name in ("teacher", "student", "baseline"):
    assert one[name][score] == pytest.approx(other[name][score], rel=1e-4)
    assert one[name][score] != pytest.approx(plain[name][score], rel=1e-3)


def measured(folder, path, *flags):
  results = run(folder, path, 16, *flags)
  return {name: results[name] for name in ("student", "baseline")}


def test_caches_and_stops_change_nothing(tmp_path, bare_runs, monkeypatch):
  path = write(tmp_path / "w.csv", range(60), {"label": CLASS}, WEIGHT)
  live = measured(tmp_path / "live", path)
  cache = tmp_path / "cache"
  call = [
    table(path),
    *TEACHER,
    "--teacher_batch_size=16",
    f"--workdir={cache}",
  ]
  assert launch.main(["launch.py", "cache", *call]) == 0
  cached = measured(tmp_path / "cached", path, f"--teacher_cache={cache}")
  assert cached["baseline"]["digest"] == live["baseline"]["digest"]
  # Answers are kept in few bits.
  (one,), (other,) = (
    x["student"]["negative_log_likelihood"] for x in (cached, live)
  )
  assert one == pytest.approx(other, rel=1e-3)
  with killed_at(monkeypatch, 3), pytest.raises(AssertionError):
    measured(tmp_path / "stopped", path)
  again = measured(tmp_path / "stopped", path)
  for name, entry in live.items():
    assert again[name]["digest"] == entry["digest"]


def test_groups_are_scored_apart(tmp_path):
  head = [*"abcd", "label", "group"]
  path = tmp_path / "g.csv"
  groups = np.array(["day", "night", "dusk"])[np.arange(60) % 3]
  with open(path, "w", newline="", encoding="utf-8") as file:
    rows = [[*x, y, g] for x, y, g in zip(X, CLASS, groups, strict=True)]
    csv.writer(file).writerows([head, *rows])
  results = run(tmp_path / "run", str(path), 16)
  assert results["group_names"] == ["day", "dusk", "night"]
  assert results["class_names"] == sorted({*map(str, CLASS)})
  for name in ("teacher", "student", "baseline"):
    entry = results[name]
    by_group = entry["per_group"]
    counts = np.array(by_group["examples"])
    assert counts.sum() == entry["test_examples"]
    mean = np.dot(counts, by_group["accuracy"]) / counts.sum()
    assert mean == pytest.approx(np.mean(entry["test_accuracy"]))
    assert min(by_group["accuracy"]) == entry["worst_group_accuracy"][0]
    assert entry["worst_class_accuracy"][0] <= entry["balanced_accuracy"][0]
  shown = (tmp_path / "run" / "report.html").read_text()
  assert "dusk" in shown and "Worst group" in shown and "Worst class" in shown
