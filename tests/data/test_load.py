import pathlib
import subprocess
import sys

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data import available, load


def test_available_names_the_embedded_sets_first():
  assert list(available())[:2] == ["mnist5k", "digits"]
  assert all("\n" not in line for line in available().values())


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    ("./missing", {}, "'./missing': there is no such directory"),
    ("~/missing/too", {}, "no such directory"),
    ("image_folder(path='missing')", {}, "'missing': there is no such"),
    ("image_folder(dir='x')", {}, "takes .*path"),
    ("image_folder()", {}, "path"),
    ("image_folder(", {}, "cannot read"),
    ("imagefolder(path='x')", {}, "did you mean 'image_folder'"),
    ("digits", {"image_size": 0}, "--image_size must be at least 1, got 0"),
    ("digits", {"test_split": "nope"}, "no split 'nope'; it has"),
  ],
)
def test_refuses(data_dir, name, options, message):
  with pytest.raises(UserError, match=message):
    load(name, data_dir=data_dir, **options)


def test_a_folder_has_no_other_splits(folder):
  path = folder({f"a/{n}.png": np.zeros((4, 4)) for n in range(5)})
  with pytest.raises(UserError, match="--train_split and --test_split"):
    load(str(path), train_split="train[:50%]")


def test_versions_of_a_prepared_set_are_no_classes(data_dir):
  with pytest.raises(
    UserError, match=r"--dataset=.*digits/\d.\d.\d$"
  ) as raised:
    load(f"{data_dir}/digits")
  given = str(raised.value).rpartition("=")[2]
  assert load(given).classes == 10


def test_image_size(data_dir):
  dataset = load("digits", data_dir=data_dir, image_size=16)
  assert dataset.image_shape == (16, 16, 1)
  small = load("digits", data_dir=data_dir).train.images
  np.testing.assert_allclose(dataset.train.images.mean(), small.mean(), rtol=0.02)  # fmt: skip


def test_importing_the_room_is_light():
  program = (
    "import sys, kdjax.data\n"
    "heavy = {'tensorflow_datasets', 'grain', 'mlxtend', 'sklearn', 'flax',"
    " 'PIL'}\n"
    "print(*sorted(heavy & set(sys.modules)))"
  )
  output = subprocess.check_output([sys.executable, "-c", program], text=True)
  assert output.strip() == ""


@pytest.mark.parametrize(
  ("name", "there"),
  [
    ("{}/data.npy", True),
    ("{}/data.json", True),
    ("{}/notes", True),
    # Not there either, but no name of a set: a file was meant.
    ("train.json", False),
    ("digits.arrow", False),
  ],
)
def test_data_that_are_there_but_not_readable_say_what_can_be_read(
  name, there, tmp_path
):
  name = name.format(tmp_path)
  if there:
    pathlib.Path(name).write_bytes(b"1,2")
  with pytest.raises(UserError) as error:
    load(name)
  message = str(error.value)
  assert repr(name) in message and "DIR/CLASS/*.png" in message
  assert ".csv, .tsv, .jsonl, .parquet, .npz" in message
  assert "\n" not in message


@pytest.mark.parametrize("name", ["imdb_reviews", "ag_news_subset"])
def test_a_set_of_text_is_refused_before_it_is_prepared(name, tmp_path):
  with pytest.raises(UserError, match="text, sound, video and tables are not"):
    load(name, data_dir=str(tmp_path))
  assert not any(tmp_path.iterdir())


def test_a_folder_of_tables_says_that_they_cannot_be_read(tmp_path):
  (tmp_path / "train.csv").write_text("1,2")
  with pytest.raises(
    UserError, match=r"CLASS/\*.png; 1 file \(.csv\) cannot be"
  ):
    load(str(tmp_path))
