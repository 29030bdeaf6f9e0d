"""What a run opens, and what it says of it."""

from functools import partial

import numpy as np
import pytest
from small_texts import reviews, words, write_table

from kdjax.core.errors import UserError
from kdjax.data import Dataset, Split, text_set
from kdjax.data.registry import MAKERS
from kdjax.models.tokenizers import encode_texts
from kdjax.runner.config import Data
from kdjax.runner.pipeline import dataset
from kdjax.tasks import regression


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


def numbers(task, outputs=2, targets=(2,)):
  """Makes a data set of two numbers for each image."""
  split = Split(
    np.zeros((3, 4, 4, 1), np.float32), np.zeros((3, *targets), np.float32)
  )
  names = ("a", "b", "c")[:outputs]
  return Dataset("own", outputs, names, (4, 4, 1), split, split, task=task)


@pytest.mark.parametrize(
  ("made", "said"),
  [
    ({}, None),
    ({"outputs": 3}, r"answers \(1, 3\), .* 2 numbers a row"),
    ({"targets": (3,)}, r"targets of the shape \(1, 2\), .*\(1, 3\)"),
    # Reports make it anew by its name.
    ({"task": regression(2)._replace(name="own")}, "unknown task 'own'"),
  ],
)
def test_a_task_that_does_not_fit_its_data(made, said, monkeypatch, capsys):
  made = {"task": regression(2)} | made
  monkeypatch.setitem(MAKERS, "own", lambda: numbers(**made))
  if said is None:
    opened = dataset.open_stored(Data(dataset="own"))
    assert dataset.task_of(opened) is regression(2)
    assert dataset.classes_of(opened) is None
    train, held = dataset.hold_out(opened, 0.34)
    assert len(train) == 2 and len(held.labels) == 1
    assert "task regression" in capsys.readouterr().out
    return
  with pytest.raises(UserError, match=f"^--dataset=own: its task .*{said}"):
    dataset.open_stored(Data(dataset="own"))


@pytest.mark.parametrize("megabytes", [0, 1])
def test_one_class_is_refused(folder, capsys, megabytes):
  path = folder(classes(["only"]))
  with pytest.raises(UserError, match="all of one class, 'only'.* two classes"):
    dataset.open_stored(Data(dataset=str(path), resident_megabytes=megabytes))
  assert not capsys.readouterr().out


def test_training_images_of_one_class_are_refused(folder):
  with pytest.raises(UserError, match="training images of digits are .* '3'"):
    dataset.open_stored(Data(dataset="digits", train_split="train[:1]"))


def test_texts_are_held_out_as_images_are(tmp_path):
  path, tokenizer = write_table(tmp_path / "t.csv", reviews(60)), words()

  def encode(stored):
    tokens = text_set.encode(stored, partial(encode_texts, tokenizer), 32)
    return tokens._replace(tokenizer=tokenizer)

  texts = dataset.open_stored(Data(dataset=str(path)), encode=encode)
  assert dataset.task_of(texts).name == "text_classification"
  examples, held = dataset.hold_out(texts, 0.25)
  assert len(examples) + len(held.labels) == len(texts.train.labels)
  assert set(held.images) == {"tokens", "mask"}
  assert not set(texts.train.texts[examples]) & set(held.texts)
