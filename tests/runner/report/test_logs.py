"""The record of a run survives what happens to runs."""

import dataclasses
import json
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core import spec
from kdjax.core.errors import StorageError
from kdjax.runner.report import logs


@dataclasses.dataclass(frozen=True)
class Settings:
  model: spec.Spec
  rates: tuple


@pytest.mark.parametrize(
  ("value", "expected"),
  [
    (float("nan"), None),
    (float("inf"), None),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (np.array([1.0, np.nan]), [1.0, None]),
    (jnp.ones((2,), jnp.bfloat16), [1.0, 1.0]),
    (True, True),
    ((1, "a"), [1, "a"]),
    ({64: {2, 1}}, {"64": [1, 2]}),
    (pathlib.Path("a/b"), "a/b"),
    (spec.parse("mlp(hidden=(100,))"), "mlp(hidden=(100,))"),
    (spec.parse_sum("kd:0.9")[0], "kd:0.9"),
    (
      Settings(spec.parse("vgg"), (0.1, float("nan"))),
      {"model": "vgg", "rates": [0.1, None]},
    ),
  ],
)
def test_to_plain(value, expected):
  plain = logs.to_plain(value)
  assert plain == expected
  assert type(plain) is type(expected)
  json.dumps(plain, allow_nan=False)


def test_to_plain_names_what_it_cannot_write():
  with pytest.raises(TypeError, match="function has no form in JSON"):
    logs.to_plain({"a": [test_to_plain]})


def test_every_row_can_be_read_at_once(tmp_path):
  with logs.RunLog(tmp_path) as log:
    for epoch in (1, 2, 3):
      row = {"network": "student", "epoch": epoch, "step": epoch, "loss": [0.5]}
      log.write(row)
      lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
      assert len(lines) == epoch
      assert json.loads(lines[-1]) == row


def test_nan_becomes_null(tmp_path):
  with logs.RunLog(tmp_path) as log:
    log.write({"network": "student", "step": 1, "loss": [float("nan"), 1.0]})
  assert logs.read_history(tmp_path)[0]["loss"] == [None, 1.0]


def test_resumed_run_appends_and_drops_a_torn_row(tmp_path):
  with logs.RunLog(tmp_path) as log:
    log.write({"network": "student", "epoch": 1, "loss": 0.5})
    log.write({"network": "student", "epoch": 2, "loss": 0.4})
  file = tmp_path / "metrics.jsonl"
  file.write_text(file.read_text() + '{"network": "stu')
  assert [row["epoch"] for row in logs.read_history(tmp_path)] == [1, 2]
  with logs.RunLog(tmp_path) as log:
    log.write({"network": "student", "epoch": 2, "loss": 0.3})
    log.write({"network": "student", "epoch": 3, "loss": 0.2})
  rows = logs.read_history(tmp_path)
  assert [(row["epoch"], row["loss"]) for row in rows] == [
    (1, 0.5),
    (2, 0.3),
    (3, 0.2),
  ]


def test_read_history_names_a_damaged_line(tmp_path):
  assert logs.read_history(tmp_path) == []
  (tmp_path / "metrics.jsonl").write_text('{"a": 1}\n{"a": \n{"a": 2}\n')
  with pytest.raises(StorageError, match="line 2"):
    logs.read_history(tmp_path)


def test_tensorboard_gets_the_mean_over_seeds(tmp_path, monkeypatch):
  written = []
  monkeypatch.setattr(
    "tensorboardX.SummaryWriter.add_scalar",
    lambda self, tag, value, step: written.append((tag, value, step)),
  )
  with logs.RunLog(tmp_path) as log:
    log.write(
      {
        "network": "student",
        "epoch": 2,
        "step": 64,
        "loss": [0.25, 0.75],
        "test_accuracy": [0.5, None],
        "images_per_second": 10.0,
        "bad": [float("nan")],
      }
    )
  assert written == [
    ("student/loss", 0.5, 64),
    ("student/test_accuracy", 0.5, 64),
    ("student/images_per_second", 10.0, 64),
  ]


def test_tensorboard_file_is_written(tmp_path):
  with logs.RunLog(tmp_path) as log:
    log.write({"network": "student", "step": 1, "loss": [0.5]})
  (events,) = (tmp_path / "tensorboard").iterdir()
  assert b"student/loss" in events.read_bytes()


def test_run_log_says_where_it_cannot_write(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(StorageError, match="cannot log to"):
    logs.RunLog(tmp_path / "file")


def test_write_json(tmp_path):
  path = logs.write_json(tmp_path / "new" / "results.json", {"a": [np.nan, 1]})
  assert json.loads(path.read_text()) == {"a": [None, 1]}
  assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
  ("broken", "value", "error"),
  [
    ("replace", {"a": 2}, StorageError),
    ("fsync", {"a": 2}, StorageError),
    (None, {"a": object()}, TypeError),
  ],
)
def test_failed_write_leaves_the_old_file(
  tmp_path, monkeypatch, broken, value, error
):
  path = logs.write_json(tmp_path / "results.json", {"a": 1})

  def fail(*_):
    raise OSError("disk full")

  if broken:
    monkeypatch.setattr(os, broken, fail)
  with pytest.raises(error):
    logs.write_json(path, value)
  assert json.loads(path.read_text()) == {"a": 1}
  assert list(tmp_path.iterdir()) == [path]
