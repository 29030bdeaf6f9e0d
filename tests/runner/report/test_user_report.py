"""The report of networks that were trained outside of the runner."""

import json

import numpy as np
import pytest

import kdjax
from kdjax.core.errors import UserError
from kdjax.train.distill import Distilled

TASK = kdjax.tasks.text_classification(3)


def trained(*scores):
  return [
    Distilled(
      {"params": {"kernel": np.full((2, 3), score)}},
      {"accuracy": score, "negative_log_likelihood": 1 - score},
      [
        {
          "epoch": epoch,
          "step": 5 * epoch,
          "loss": 1 / epoch,
          "train_accuracy": score,
          "test_accuracy": score,
        }
        for epoch in (1, 2)
      ],
    )
    for score in scores
  ]


def test_own_networks_get_the_runners_report(tmp_path, capsys):
  page = kdjax.report(
    tmp_path / "mine",
    trained(0.9, 0.91, 0.92),
    baseline=trained(0.8, 0.82, 0.81),
    controls={"label_smoothing": trained(0.85, 0.84, 0.86)},
    teacher={"accuracy": 0.95},
    task=TASK,
    name="Three of mine",
    settings={"learning_rate": 0.003},
  )
  text = page.read_text()
  for part in (
    "Three of mine",
    "9.00",  # The student's error, and the baseline's.
    "19.00",
    "Label smoothing",
    "0.003",
    "data:image",
  ):
    assert part in text
  assert "left out" not in text + capsys.readouterr().err
  results = json.loads((tmp_path / "mine" / "results.json").read_text())
  assert results["student"]["test_accuracy"] == [0.9, 0.91, 0.92]
  assert results["student"]["parameters"] == 6
  assert [one["control"] for one in results["comparisons"]] == [
    "baseline",
    "label_smoothing",
  ]
  rows = (tmp_path / "mine" / "metrics.jsonl").read_text().splitlines()
  assert len(rows) == 6
  assert json.loads(rows[0])["loss"] == [1.0, 1.0, 1.0]


def test_a_student_alone_has_a_page(tmp_path, capsys):
  (student,) = trained(0.9)
  assert kdjax.report(tmp_path, student, task=TASK).exists()
  assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"baseline": trained(0.1)}, "baseline has 1 trainings, student has 2"),
    ({"student": [Distilled({}, {}, [])] * 2}, "no 'accuracy'.*score_on="),
    ({"task": TASK._replace(name="mine")}, "unknown task 'mine'"),
  ],
)
def test_misfits_end_in_one_line(tmp_path, options, words):
  known = {"student": trained(0.9, 0.8), "task": TASK}
  with pytest.raises(UserError, match=words):
    kdjax.report(tmp_path / "new", **known | options)
  assert not (tmp_path / "new").exists()
