"""Columns and arrays that say how much an example weighs, and of which group it is."""

import csv

import numpy as np
import pytest
from PIL import Image

from kdjax import data
from kdjax.data.dataset import Split
from kdjax.data.transfer import stack

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2)).astype(np.float32)
LABEL = np.arange(40) % 2
WEIGHT = np.where(np.arange(40) % 10 == 3, 0, 1 + np.arange(40) % 3).astype(
  np.float32
)
GROUP = np.array(["sea", "land", "air"])[np.arange(40) % 3]
SPLIT = np.where(np.arange(40) < 30, "train", "test")
COUNTS = WEIGHT > 0


def write(path, columns):
  with open(path, "w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows(
      [list(columns), *zip(*columns.values(), strict=True)]
    )
  return str(path)


def columns(**change):
  given = {
    "a": X[:, 0], "b": X[:, 1], "label": LABEL, "weight": WEIGHT,
    "group": GROUP, "split": SPLIT,
  }  # fmt: skip
  return {k: v for k, v in (given | change).items() if v is not None}


def load(path):
  return data.load(f"table(path={str(path)!r}, weight='weight', group='group')")


def check_weighed(dataset):
  assert dataset.group_names == ("air", "land", "sea")
  for split, mask in (
    (dataset.train, SPLIT == "train"),
    (dataset.test, SPLIT == "test"),
  ):
    np.testing.assert_array_equal(split.weight, WEIGHT[mask & COUNTS])
    np.testing.assert_array_equal(split.labels, LABEL[mask & COUNTS])
    names = np.array(dataset.group_names)[split.group]
    np.testing.assert_array_equal(names, GROUP[mask & COUNTS])
    assert len(split.images) == (mask & COUNTS).sum()
  says = data.summary(dataset)
  assert "4 examples of weight 0 left out" in says and "3 groups" in says


def test_columns_of_a_table(tmp_path):
  dataset = load(write(tmp_path / "t.csv", columns()))
  check_weighed(dataset)
  assert dataset.image_shape == (1, 2, 1)


def test_columns_of_another_name(tmp_path):
  path = write(
    tmp_path / "t.csv",
    columns(weight=None, group=None, how_much=WEIGHT, where=GROUP),
  )
  check_weighed(
    data.load(f"table(path={path!r}, weight='how_much', group='where')")
  )


def test_columns_that_are_inputs(tmp_path):
  dataset = data.load(write(tmp_path / "t.csv", columns(group=None)))
  assert dataset.image_shape == (1, 3, 1) and dataset.train.weight is None
  assert dataset.group_names == () and dataset.train.group is None


def test_columns_of_a_list_of_images(tmp_path):
  for i in range(40):
    Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / f"{i}.png")
  images = [f"{i}.png" for i in range(40)]
  path = write(tmp_path / "t.csv", columns(a=None, b=None, image=images))
  dataset = load(path)
  check_weighed(dataset)
  np.testing.assert_array_equal(
    dataset.train.images[:, 0, 0, 0], np.flatnonzero(COUNTS[:30])
  )


def test_arrays_of_one_split_and_of_two(tmp_path):
  path, halves = tmp_path / "t.npz", tmp_path / "h.npz"
  np.savez(path, x=X, y=LABEL, weight=WEIGHT, group=GROUP)
  dataset = load(path)
  total = sum(x.weight.sum() for x in (dataset.train, dataset.test))
  assert total == WEIGHT.sum() and dataset.train.group.dtype == np.int32
  train = SPLIT == "train"
  np.savez(
    halves,
    x_train=X[train], y_train=LABEL[train], weight_train=WEIGHT[train],
    train_group=GROUP[train], x_test=X[~train], y_test=LABEL[~train],
    weight_test=WEIGHT[~train], test_group=GROUP[~train],
  )  # fmt: skip
  check_weighed(load(halves))


def test_without_a_split_equal_weights_change_no_side(tmp_path):
  plain = data.load(
    write(tmp_path / "p.csv", columns(weight=None, group=None, split=None))
  )
  weighed = load(
    write(tmp_path / "w.csv", columns(weight=np.ones(40), split=None))
  )
  np.testing.assert_array_equal(plain.train.images, weighed.train.images)
  assert data.fingerprint(plain.train) == data.fingerprint(weighed.train)


def test_chosen_examples_keep_their_weights_and_groups(tmp_path):
  dataset = load(write(tmp_path / "t.csv", columns()))
  some = data.select(dataset.train, np.array([5, 2]))
  for name in ("weight", "group"):
    whole = getattr(dataset.train, name)
    np.testing.assert_array_equal(getattr(some, name), whole[[5, 2]])


def test_a_transfer_set_without_weights_weighs_one():
  images = np.zeros((3, 2, 2, 1), np.uint8)
  labels = np.zeros(3, np.int32)
  weight = np.float32([2, 3, 4])
  both = stack(
    Split(images, labels, weight=weight),
    Split(images, labels),
    resident_bytes=1 << 20,
  )
  assert both.weight.tolist() == [2, 3, 4, 1, 1, 1]
  plain = stack(
    Split(images, labels), Split(images, labels), resident_bytes=1 << 20
  )
  assert plain.weight is None


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"weight": np.ones(3, np.float32)}, "weights must be float32 of shape (4,)"),
    ({"weight": np.ones(4)}, "weights must be float32"),
    ({"weight": np.float32([1, 0, 1, 1])}, "example 1 has the weight 0"),
    ({"weight": np.float32([1, 1, 1, np.nan])}, "example 3 has the weight nan"),
    ({"group": np.zeros(4)}, "groups must be int32 of shape (4,)"),
    ({"group": np.int32([0, 1, 2, 0])}, "example 2 has the group 2; there are 2"),
  ],
)  # fmt: skip
def test_a_data_set_of_a_plugin_is_checked(change, says):
  split = Split(np.zeros((4, 2, 2, 1), np.uint8), np.int32([0, 1, 0, 1]))
  dataset = data.Dataset("mine", 2, ("a", "b"), (2, 2, 1), split, split)
  dataset = dataset._replace(
    test=split._replace(**change), group_names=("a", "b")
  )
  with pytest.raises(Exception, match="mine, test split") as error:
    data.check(dataset)
  assert says in str(error.value)


def test_a_label_may_be_called_weight(tmp_path):
  path = write(
    tmp_path / "t.csv", columns(label=None, weight=LABEL, group=None)
  )
  dataset = data.load(f"table(path={path!r}, label='weight')")
  assert dataset.classes == 2 and dataset.train.weight is None
