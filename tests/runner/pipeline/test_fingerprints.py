"""What a stopped run must find again: each thing that may change is noted."""

from types import SimpleNamespace

import numpy as np
import pytest

from kdjax.data import Dataset, Split
from kdjax.models import read_model
from kdjax.runner.pipeline.fingerprints import of_setup
from kdjax.runner.pipeline.pretrained import SavedTeacher


def setup(changed=None, *, names=("cat", "dog"), teacher=None, cached=None):
  splits = []
  for name, count in (("shown", 3), ("scored", 2)):
    images = np.zeros((count, 4, 4, 1), np.uint8)
    images[0, 0, 0, 0] = name == changed
    labels = np.arange(count, dtype=np.int32) % 2
    splits.append(Split(images, labels))
  return SimpleNamespace(
    dataset=Dataset("photos", len(names), names, (4, 4, 1), *splits),
    train_split=splits[0],
    score_split=splits[1],
    saved_teacher=teacher,
    other_teachers=((None, teacher),) if teacher else (),
    cached=cached and SimpleNamespace(manifest=cached),
    start=None,
  )


def teacher(value):
  return SavedTeacher(
    read_model("mlp(2)"), lambda: {"params": {"bias": np.float32([value])}}
  )


@pytest.mark.parametrize(
  ("before", "now", "differing"),
  [
    (setup(), setup(), set()),
    (setup(), setup("shown"), {"sha256 of the training images"}),
    (setup(), setup("scored"), {"sha256 of the scored images"}),
    (setup(), setup(names=("cat", "cow")), {"class 1"}),
    (setup(teacher=teacher(0)), setup(teacher=teacher(1)),
     {"sha256 of teacher 0", "sha256 of teacher 1"}),
    (setup(cached={"shards": []}), setup(cached={"shards": [1]}),
     {"sha256 of the teacher cache"}),
  ],
)  # fmt: skip
def test_what_changed_is_told_apart(before, now, differing):
  one, other = of_setup(before), of_setup(now)
  assert {key for key in one | other if one.get(key) != other.get(key)} == (
    differing
  )
  assert one["number of training images"] == 3
  assert one["class 0"] == "cat" and one["shape of an image"] == "4x4x1"
