"""What a run opens, and what it says of it."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.runner.config import Data
from kdjax.runner.pipeline import dataset


def classes(names, each=5):
  return {
    f"{c}/{n}.png": np.full((4, 4), n) for c in names for n in range(each)
  }


def test_what_was_opened_is_printed(folder, capsys):
  path = folder(classes("ab"))
  (path / "a/notes.txt").write_text("no image")
  dataset.open_stored(Data(dataset=str(path)))
  line = f"{path}: 8 train, 2 test images, 2 classes; 1 file skipped (.txt)\n"
  assert capsys.readouterr().out == line


def test_prepared_sets_are_said_too(capsys):
  dataset.open_stored(Data(dataset="digits"))
  line = "digits: 1442 train, 355 test images, 10 classes\n"
  assert capsys.readouterr().out == line


@pytest.mark.parametrize("megabytes", [0, 1])
def test_one_class_is_refused(folder, capsys, megabytes):
  path = folder(classes(["only"]))
  with pytest.raises(UserError, match="all of one class, 'only'.* two classes"):
    dataset.open_stored(Data(dataset=str(path), resident_megabytes=megabytes))
  assert not capsys.readouterr().out


def test_training_images_of_one_class_are_refused(folder):
  with pytest.raises(UserError, match="training images of digits are .* '3'"):
    dataset.open_stored(Data(dataset="digits", train_split="train[:1]"))
