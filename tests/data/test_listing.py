"""What of a folder is a class, a split, or neither."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image, features

from kdjax.core.errors import UserError
from kdjax.data import load, summary
from kdjax.data.listing import _SUFFIXES


@pytest.fixture
def tree(tmp_path):
  """tree(names) -> a directory of these images, texts and (a/) folders."""

  def tree(names):
    for number, name in enumerate(names):
      file = tmp_path / "set" / name
      (file if name.endswith("/") else file.parent).mkdir(
        parents=True, exist_ok=True
      )
      if name.endswith(".png"):
        Image.new("L", (4, 4), number % 250).save(file)
      elif not name.endswith("/"):
        file.write_text("no image")
    return str(tmp_path / "set")

  return tree


def flat(names="ab", each=5, within=""):
  return [f"{c}/{within}{n}.png" for c in names for n in range(each)]


def split(*folders, names="ab", each=2):
  return [f"{f}/{name}" for f in folders for name in flat(names, each)]


# Name: files, and the line without the data set's name.
OPENED = {
  "flat": (flat(), "8 train, 2 test images, 2 classes"),
  "split": (split("train", "test"), "4 train, 4 test images, 2 classes"),
  "one test image of one class": (
    [*split("train"), "test/a/0.png"],
    "4 train, 1 test image, 2 classes; no test image of b",
  ),
  "what an archive and a system leave": (
    [*flat(), "__MACOSX/a/._0.png", ".git/0.png", "@eaDir/0.png", "a/.DS_Store"],
    "8 train, 2 test images, 2 classes; 3 folders left out"
    " (.git, @eaDir, __MACOSX)",
  ),
  "suffixes that nobody reads": (
    [*flat(), "a/0.heic", "b/1.HEIC", "b/notes.txt"],
    "8 train, 2 test images, 2 classes; 3 files skipped (.heic, .txt)",
  ),
  "images that are in no class": (
    [*flat(), "0.png", "README", "b/more/0.png", "b/more/deep/1.png"],
    "8 train, 2 test images, 2 classes; 4 files skipped (in no class, in"
    " sub-folders, without a suffix)",
  ),
  "a folder beside the splits": (
    [*split("train", "test"), "extra/a/0.png"],
    "4 train, 4 test images, 2 classes; not used: extra/",
  ),
  "test and val": (
    [*split("train", "test"), *split("val", each=1)],
    "4 train, 4 test images, 2 classes; not used: val/",
  ),
  "a test folder without labels": (
    [*split("train", "val"), "test/0.png"],
    "4 train, 4 test images, 2 classes; not used: test/",
  ),
  "a kind of vehicle": (
    flat(("car", "train")), "8 train, 2 test images, 2 classes",
  ),
  "classes that are called as splits are": (
    flat(("valid", "invalid")), "8 train, 2 test images, 2 classes",
  ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "line"), OPENED.values(), ids=OPENED)
def test_what_is_opened_is_said_in_a_line(tree, files, line):
  path = tree(files)
  assert summary(load(path)) == f"{path}: {line}"


@pytest.mark.parametrize("held", ["val", "valid", "validation", "Test", "VAL"])
@pytest.mark.parametrize("train", ["train", "Train"])
def test_the_layout_of_imagenet_is_read(tree, train, held):
  dataset = load(tree(split(train) + split(held, each=3)))
  assert len(dataset.train.labels) == 4 and len(dataset.test.labels) == 6
  assert dataset.class_names == ("a", "b")


REFUSED = {
  "images of a class in a sub-folder": (
    [*flat("b"), *flat("a", within="images/")],
    "class 'a' in a/ itself, but 5 images in a/images/: move them up",
  ),
  "images of a class further below": (
    [*flat("b"), *flat("a", within="x/y/")], "5 images in a/x/y/",
  ),
  "as Tiny ImageNet has them": (
    [f"train/{name}" for name in flat(within="images/")] + ["val/images/0.png"],
    "train image of class 'a' .* 5 images in a/images/",
  ),
  "a folder around the classes": (
    [f"photos/{name}" for name in flat()], "or give .*set/photos",
  ),
  "a class of unread suffixes": (
    [*flat(), "c/0.heic", "c/1.heic"],
    r"class 'c': its 2 files \(.heic\) cannot be read, but .png .* can",
  ),
  "a class without files": ([*flat(), "c/"], "class 'c': its folder is empty"),
  "a class without training images": (
    [*split("train", "test"), "train/c/"], "no train image of class 'c'",
  ),
  "a class whose test images cannot be read": (
    [*split("train"), *split("test", names="a"), "test/b/0.txt"],
    r"no test image of class 'b': its 1 file \(.txt\) cannot be read",
  ),
  "a class too small to be divided": (
    [*flat(), *flat("c", each=4)],
    "no test image of class 'c', which has 4 images; .* at least 5",
  ),
  "a class of the test images alone": (
    [*split("train"), *split("test", names="abc")],
    "test/c is no class of train/, which has a, b",
  ),
  "two folders for one split": (
    split("train", "val", "validation"), "has val/ and validation/: which",
  ),
  "splits that hold images": (
    flat(("train", "test")), "train/ has no class directories",
  ),
  "validation images without labels": (
    [*split("train"), "val/0.png"], "val/ has no class directories",
  ),
  "images without folders": (["0.png", "1.png"], "; 2 images in no class"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_folders_that_are_no_classes_are_refused_by_name(tree, files, message):
  with pytest.raises(UserError, match=message) as raised:
    load(tree(files))
  assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
  ("suffix", "kind"),
  [
    ("PNG", None), ("ppm", None), ("pgm", None), ("pbm", "PPM"), ("tif", None),
    ("webp", None), ("jfif", "JPEG"), ("gif", None), ("bmp", None),
    ("avif", None), ("jp2", None), ("tga", None), ("pcx", None), ("qoi", None),
  ],
)  # fmt: skip
def test_what_pillow_reads_is_read(tmp_path, suffix, kind):
  if suffix == "avif" and not features.check("avif"):
    pytest.skip("this Pillow reads none")
  for number in range(10):
    file = tmp_path / "ab"[number % 2] / f"{number}.{suffix}"
    file.parent.mkdir(exist_ok=True)
    mode = {"pbm": "1", "pgm": "L"}.get(suffix, "RGB")
    Image.new(mode, (8, 8), "white").save(file, kind)
  dataset = load(str(tmp_path))
  assert len(dataset.train.labels) + len(dataset.test.labels) == 10
  assert (dataset.train.images >= 253).all()


@pytest.mark.parametrize(
  "name", ["photos (1)", "a(b)", "image_folder(x)", "a'b"]
)
def test_a_directory_that_exists_wins_over_a_call(tree, monkeypatch, name):
  path = tree([f"{name}/{file}" for file in flat()])
  assert len(load(f"{path}/{name}").train.labels) == 8
  if "(" in name:  # other names without a separator are TFDS's
    monkeypatch.chdir(path)
    assert len(load(name).train.labels) == 8


def test_a_folder_that_is_given_without_a_separator(tree, monkeypatch):
  monkeypatch.chdir(tree([f"mine/{file}" for file in flat()]))
  with pytest.raises(UserError, match="did you mean --dataset=./mine"):
    load("mine")


def test_files_stay_in_their_split_when_others_are_added(tree):
  # Of a to j, sha256 puts c, d, f and j into the first fifth; of 0 to 9, 8, 9.
  letters = [f"x/{letter}.png" for letter in "abcdefghij"]
  few, more = letters + flat("y"), letters + flat("y", each=10)
  before, after = load(tree(few)), load(tree(more))
  pixels = lambda split: split.images[split.labels == 0, 0, 0, 0]  # noqa: E731
  assert pixels(before.test).tolist() == [2, 3, 5, 9]
  np.testing.assert_array_equal(pixels(before.test), pixels(after.test))
  # 4 is nearest to the fifth, until there is one within.
  assert before.test.images[before.test.labels == 1].shape[0] == 1
  assert after.test.images[after.test.labels == 1].shape[0] == 2


@pytest.mark.parametrize("place", ["a/pipe.png", "pipe"])
def test_a_pipe_is_no_image_and_not_waited_for(tree, place):
  folder = tree(flat())
  os.mkfifo(f"{folder}/{place}")
  assert "1 file skipped (no file)" in summary(load(folder))


def test_the_page_names_what_is_read():
  page = pathlib.Path(__file__).parents[2] / "docs" / "data.md"
  text = page.read_text()
  listed = text[text.index("- Read are `") :].split("`")[1].split()
  assert listed == list(_SUFFIXES)
  assert f"{2 * Image.MAX_IMAGE_PIXELS:,} pixels" in text
