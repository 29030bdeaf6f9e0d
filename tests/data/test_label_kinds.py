"""Labels are read as a task needs them: classes, yes and no, or numbers."""

import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.runner.config import Data
from kdjax.runner.config import options as settings
from kdjax.runner.pipeline import dataset
from kdjax.runner.report import reading

NAN = np.nan
ROWS = [[i, i % 3] for i in range(12)]
# The columns of a table, what they hold in each row, settings of table(...), the
# kind, and what the first labels and their names are.
READ = [
  (["y"], [0.5, "", "nan", -2e3], "label='y'", "values", [[0.5], [NAN], [NAN], [-2000]]),
  (["label"], [1, 0, 1, 1], "", "values", [[1], [0], [1], [1]]),
  (["label"], [1, 0, 1, 1], "", "binary", [[1], [0], [1], [1]]),
  (["label"], [1, 0, 1, 1], "", "categories", [1, 0, 1, 1]),
  (["label"], [1, 0, 1, 1], "", None, [1, 0, 1, 1]),
  (["label_a", "label_b"], [1, 0, 1, 1], "", "values", [[1, 1], [0, 0], [1, 1], [1, 1]]),
  (["label_a", "label_b"], [1, 0, 1, 1], "", None, [[1, 1], [0, 0], [1, 1], [1, 1]]),
  (["a", "b"], [1, 0.5, 1, 2], "label=('b', 'a')", "embedding",
   [[1, 1], [0.5, 0.5], [1, 1], [2, 2]]),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "cells", "more", "kind", "want"), READ)
def test_tables(tmp_path, columns, cells, more, kind, want):
  cells = [cells[i] if i < len(cells) else i % 2 for i in range(12)]
  head = ",".join(["x", "z", *columns, "split"])
  rows = [
    ",".join(
      map(str, [*row, *([one] * len(columns)), "test" if i > 9 else "train"])
    )
    for i, (row, one) in enumerate(zip(ROWS, cells, strict=True))
  ]
  (path := tmp_path / "t.csv").write_text("\n".join([head, *rows]))
  opened = data.load(f"table({str(path)!r}, {more})", label_kind=kind)
  labels = opened.train.labels
  np.testing.assert_array_equal(labels[:4], np.array(want, labels.dtype))
  numbers = kind in ("values", "embedding")
  assert labels.dtype == (np.float32 if numbers else np.int32)
  assert labels.ndim == (1 if np.ndim(want) == 1 else 2)
  assert opened.image_shape == (1, 2, 1)


@pytest.mark.parametrize(
  ("y", "kind", "want"),
  [
    (np.arange(12) / 2, "values", (12, 1)),
    (np.arange(12)[:, None], "values", (12, 1)),
    (np.arange(24).reshape(12, 2) / 2, "values", (12, 2)),
    (np.arange(12) % 2, "binary", (12, 1)),
    (np.arange(12) % 2, "categories", (12,)),
  ],
)
def test_arrays(tmp_path, y, kind, want):
  np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).random((12, 3)), y=y)
  opened = data.load(str(tmp_path / "t.npz"), label_kind=kind)
  parts = [opened.train.labels, opened.test.labels]
  assert np.concatenate(parts).shape == want
  assert opened.classes == len(opened.class_names)
  together = np.sort(np.concatenate(parts), axis=0).reshape(-1)
  np.testing.assert_array_equal(together, np.sort(y, axis=0).reshape(-1))


def test_a_list_of_images_with_a_number_each(folder):
  path = folder({f"{i}.png": np.full((4, 4), i) for i in range(10)})
  rows = [f"{i}.png,{i / 4}" for i in range(10)]
  (path / "t.csv").write_text("\n".join(["image,label", *rows]))
  opened = data.load(str(path / "t.csv"), label_kind="values")
  for split in (opened.train, opened.test):
    np.testing.assert_array_equal(
      split.images[:, 0, 0, 0] / 4, split.labels[:, 0]
    )


def test_what_labels_cannot_be_is_refused():
  with pytest.raises(
    UserError, match="answers that are categories, and the task's"
  ):
    data.load("digits", label_kind="values")


def test_a_float_label_says_the_way_out(tmp_path):
  rows = [f"{i},{i / 4}" for i in range(12)]
  (path := tmp_path / "t.csv").write_text("\n".join(["x,label", *rows]))
  with pytest.raises(UserError, match="names, and --task=regression predicts"):
    data.load(str(path))
  opened = dataset.open_stored(
    Data(dataset=str(path), task="regression(huber=2)")
  )
  assert dataset.task_of(opened).name == "regression"
  assert dataset.classes_of(opened) is None and opened.classes == 1


@pytest.mark.parametrize(
  ("stored", "task"),
  [
    ({"cache": {"task": "images"}}, None),
    ({"cache": {"task": "lm"}}, "lm"),
    ({"data": {"task": "regression"}}, "regression"),
    ({}, None),
  ],
)
def test_stored_settings_of_older_runs(stored, task):
  assert settings.from_dict(stored).data.task == task


def test_reports_make_the_task_with_its_settings():
  results = {"task": "regression"}
  with_text = {
    **results,
    "experiment": {"data": {"task": "regression(huber=1)"}},
  }
  assert reading.score_of(results) == reading.score_of(with_text)
  assert reading.score_of(with_text).better == -1
