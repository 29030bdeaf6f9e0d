import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.data import Dataset, Split, check, summary
from kdjax.data.check import check_image


def make(train=None, test=None, **changes):
  def split(images=None, labels=None):
    images = np.zeros((5, 4, 4, 1), np.float32) if images is None else images
    labels = [0, 1, 2, 0, 1] if labels is None else labels
    return Split(images, np.asarray(labels, dtype))

  dtype = changes.pop("dtype", np.int32)
  good = Dataset("toy", 3, ("a", "b", "c"), (4, 4, 1), split(), split())
  return good._replace(
    train=split(**(train or {})), test=split(**(test or {})), **changes
  )


def with_value(value, example=3):
  images = np.zeros((5, 4, 4, 1), np.float32)
  images[example, 1, 2] = value
  return {"images": images}


class Lazy:
  def __init__(self, images):
    self.images = images

  def __len__(self):
    return len(self.images)

  def __getitem__(self, index):
    return self.images[index]


def test_good_data_passes():
  assert check(make()) is None
  assert (
    check(make(train={"images": Lazy(np.zeros((5, 4, 4, 1), np.uint8))}))
    is None
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"train": {"labels": [0, 1, 3, 0, 1]}}, "train split: example 2 has label 3; labels must be 0 to 2"),
    ({"test": {"labels": [0, 1, 2, -1, -1]}}, r"test split: example 3 has label -1.*\(2 of 5"),
    ({"train": {"labels": []}}, "no example"),
    ({"train": {"labels": [0, 1]}}, "5 images but 2 labels"),
    ({"dtype": np.int64}, "int64"),
    ({"train": with_value(np.nan)}, "train split: example 3 holds NaN"),
    ({"test": with_value(np.inf, 0)}, "test split: example 0 holds NaN or inf"),
    ({"train": {"images": np.zeros((5, 4, 4), np.uint8)}}, r"\(N, H, W, C\), got \(5, 4, 4\)"),
    ({"train": {"images": np.zeros((5, 4, 4, 1), np.int64)}}, "got int64"),
    ({"test": {"images": np.zeros((5, 4, 6, 1), np.uint8)}}, r"test split: images have shape \(4, 6, 1\) where \(4, 4, 1\)"),
    ({"train": {"images": Lazy(np.zeros((5, 4, 6, 1), np.uint8))}}, r"example 0 has shape \(4, 6, 1\)"),
    ({"class_names": ("a",)}, "1 class names for 3 classes"),
  ],
)  # fmt: skip
def test_refuses(changes, message):
  with pytest.raises(UserError, match=message):
    check(make(**changes))


NUMBER = Task(
  "number", "values", None, None, None, None, None, metrics={}, score="rmse"
)


@pytest.mark.parametrize(
  ("labels", "dtype", "message"),
  [
    ([0.5, -7, 1e6, 0, 0], np.float32, None),
    (np.zeros((5, 2)), np.float32, None),
    ([0, 900, -3, 0, 0], np.int32, None),
    ([0, 0, np.nan, 0, 0], np.float32, "example 2 has a target that is no nu"),
    ([0.5] * 5, np.float64, "float32 or int32, got float64"),
    ([0.5, 1.5], np.float32, "5 images but 2 labels"),
  ],
)
def test_targets_of_another_task(labels, dtype, message):
  found = make(train={"labels": labels}, dtype=dtype, task=NUMBER)
  if message is None:
    assert check(found) is None
    assert "task number" in summary(found)
  else:
    with pytest.raises(UserError, match=message):
      check(found)


def test_finds_the_example_beyond_the_first_chunk():
  images = np.zeros((2500, 2, 2, 1), np.float32)
  images[2047, 0, 0] = np.nan
  split = Split(images, np.zeros(2500, np.int32))
  with pytest.raises(UserError, match="example 2047 holds NaN"):
    check(Dataset("toy", 1, ("a",), (2, 2, 1), split, split))


@pytest.mark.parametrize(
  ("image", "message"),
  [
    (np.zeros((4, 5, 1), np.uint8), "example 8 has shape"),
    (np.full((4, 4, 1), np.nan, np.float32), "example 8 holds NaN"),
    (np.zeros((4, 4, 1), np.float64), "got float64"),
  ],
)
def test_check_image_refuses(image, message):
  with pytest.raises(UserError, match=message):
    check_image(image, (4, 4, 1), "toy, train split", 8)
