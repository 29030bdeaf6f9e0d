"""Tables, lists of images and arrays with several yes/no labels."""

import csv

import numpy as np
import pytest
from PIL import Image

from kdjax import data

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.integers(0, 2, (40, 2))


def write(path, head, rows):
  with open(path, "w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([head, *rows])
  return str(path)


def rows_of(cells):
  return [[*x, *y] for x, y in zip(X.tolist(), cells, strict=True)]


HEAD = ["a", "b", "c", "label_red", "label_round"]


def everything(dataset):
  return np.concatenate([dataset.train.labels, dataset.test.labels])


def test_columns_that_begin_with_label_are_labels(tmp_path):
  dataset = data.load(write(tmp_path / "t.csv", HEAD, rows_of(Y.tolist())))
  assert dataset.class_names == ("red", "round") and dataset.classes == 2
  assert dataset.image_shape == (1, 3, 1) and dataset.task is None
  assert everything(dataset).shape == (40, 2)
  assert everything(dataset).dtype == np.int32
  assert sorted(everything(dataset).tolist()) == sorted(Y.tolist())
  assert 0 < len(dataset.test.labels) < 20
  assert "2 yes/no labels" in data.summary(dataset)


def test_named_columns_are_labels_and_the_others_inputs(tmp_path):
  head = ["a", "b", "c", "red", "round"]
  path = write(tmp_path / "t.csv", head, rows_of(Y.tolist()))
  dataset = data.load(f"table(path={path!r}, label=('round', 'red'))")
  assert dataset.class_names == ("round", "red")
  one = data.load(f"table(path={path!r}, label=('red',), leave_out='round')")
  assert one.class_names == ("red",) and one.image_shape == (1, 3, 1)
  np.testing.assert_array_equal(
    everything(one)[:, 0], everything(dataset)[:, 1]
  )


@pytest.mark.parametrize(
  ("cell", "means"),
  [
    *((one, 1) for one in (1, "1.0", "yes", "TRUE")),
    *((one, 0) for one in (0, "-0", "no", "False")),
    *((one, -1) for one in (-1, "", "nan", "-1.0")),
  ],
)
def test_what_a_cell_says(tmp_path, cell, means):
  cells = Y.tolist()
  cells[7][1] = cell
  head = [*HEAD, "split"]
  rows = [[*row, "train" if i < 30 else "test"]
          for i, row in enumerate(rows_of(cells))]  # fmt: skip
  dataset = data.load(write(tmp_path / "t.csv", head, rows))
  assert dataset.train.labels[7, 1] == means
  np.testing.assert_array_equal(dataset.test.labels, Y[30:])


def test_weights_of_yes_that_balance_the_labels(tmp_path):
  path = write(tmp_path / "t.csv", HEAD, rows_of(Y.tolist()))
  dataset = data.load(f"table(path={path!r}, positive_weight='balanced')")
  labels = dataset.train.labels
  want = tuple(((labels == 0).sum(0) / (labels == 1).sum(0)).tolist())
  assert dataset.positive_weight == want


@pytest.mark.parametrize("dtype", [np.int64, bool, np.float32, np.uint8])
def test_arrays(tmp_path, dtype):
  path = tmp_path / "t.npz"
  names = np.array(["red", "round"])
  np.savez(path, x=X, y=Y.astype(dtype), label_names=names)
  dataset = data.load(str(path))
  assert dataset.class_names == ("red", "round")
  assert sorted(everything(dataset).tolist()) == sorted(Y.tolist())


def test_arrays_that_are_divided_and_have_unknown_labels(tmp_path):
  marked = Y.astype(float)
  marked[3, 0] = np.nan
  path = tmp_path / "t.npz"
  parts = {"x_train": X[:30], "y_train": marked[:30]}
  np.savez(path, **parts, x_test=X[30:], y_test=marked[30:])
  dataset = data.load(str(path))
  assert dataset.class_names == ("0", "1")
  assert dataset.train.labels[3].tolist() == [-1, Y[3, 1]]
  np.testing.assert_array_equal(dataset.test.labels, Y[30:])


def test_a_list_of_images(tmp_path):
  rows = []
  for i, answers in enumerate(Y.tolist()):
    Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / f"{i}.png")
    rows.append([f"{i}.png", *answers])
  head = ["image", "label_red", "label_round"]
  dataset = data.load(write(tmp_path / "t.csv", head, rows))
  assert dataset.image_shape == (4, 4, 1)
  for split in (dataset.train, dataset.test):
    places = split.images[:, 0, 0, 0]
    np.testing.assert_array_equal(split.labels, Y[places])
