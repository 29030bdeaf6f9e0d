"""Folders and prepared sets with a class at every pixel."""

import io

import mask_folders
import numpy as np
import pytest
from PIL import Image

from kdjax import data
from kdjax.core.errors import UserError
from kdjax.data.images.class_masks import of_objects
from kdjax.data.images.mask_folder import nearest
from kdjax.data.subsets import by_name

SIZE = mask_folders.SIZE


def png(mask):
  """The bytes of a file: TFDS encodes arrays by TensorFlow alone."""
  file = io.BytesIO()
  Image.fromarray(mask).save(file, "PNG")
  return file.getvalue()


@pytest.mark.parametrize("mode", ["P", "L"])
def test_a_flat_folder_is_divided_by_a_hash_of_the_names(tmp_path, mode):
  dataset = data.load(str(mask_folders.write(tmp_path, mode=mode)))
  images, masks = mask_folders.examples(30)
  names = sorted(map(str, range(30)))
  is_test = by_name(names, np.zeros(30, np.int32))
  order = np.array(list(map(int, names)))
  for split, part in ((dataset.train, ~is_test), (dataset.test, is_test)):
    np.testing.assert_array_equal(split.labels, masks[order[part]])
    np.testing.assert_array_equal(split.images[..., 0], images[order[part]])
  assert dataset.train.labels.dtype == np.int16
  assert dataset.classes == 3 and dataset.class_names == ("0", "1", "2")
  assert "3 classes of pixels" in data.summary(dataset)


@pytest.mark.parametrize("parts", [("train", "test"), ("training", "val")])
def test_parts_of_their_own_and_names_of_classes(tmp_path, parts):
  mask_folders.write(tmp_path, 4, parts)
  (tmp_path / "classes.txt").write_text("sky\nred car\n\nroad\nnever\n")
  dataset = data.load(str(tmp_path))
  for split, seed in ((dataset.train, 0), (dataset.test, 1)):
    want = mask_folders.examples(4, seed=seed)[1]
    np.testing.assert_array_equal(split.labels, want)
  assert dataset.class_names == ("sky", "red car", "road", "never")
  assert dataset.notes == (
    "no training pixel of never",
    "no test pixel of never",
  )


def test_a_number_that_does_not_count_and_names_of_the_others(tmp_path):
  mask_folders.write(tmp_path, 4, ("train", "test"))
  (tmp_path / "classes.txt").write_text("car\nroad\n")
  dataset = data.load(f"mask_folder(path={str(tmp_path)!r}, ignore=0)")
  want = mask_folders.examples(4)[1].astype(int)
  want = np.where((want == 0) | (want == 255), 255, want - 1)
  np.testing.assert_array_equal(dataset.train.labels, want)
  assert dataset.class_names == ("car", "road")
  for wrong in ("-1", "256", "1.5"):
    with pytest.raises(UserError, match="ignore is a number of the masks"):
      data.load(f"mask_folder(path={str(tmp_path)!r}, ignore={wrong})")


def test_parts_below_images_and_masks(tmp_path):
  mask_folders.write(tmp_path / "flat", 3, ("train", "test"))
  for part in ("train", "test"):
    for kind in ("images", "masks"):
      target = tmp_path / "set" / kind / part
      target.parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / "flat" / part / kind).rename(target)
  dataset = data.load(str(tmp_path / "set"))
  want = mask_folders.examples(3)[1]
  np.testing.assert_array_equal(dataset.train.labels, want)


def test_images_are_read_as_needed_and_masks_are_scaled_by_the_nearest(
  tmp_path,
):
  mask_folders.write(tmp_path, 10)
  whole = data.load(str(tmp_path), image_size=6)
  lazy = data.load(str(tmp_path), image_size=6, resident_bytes=0)
  assert not data.resident(lazy.train)
  np.testing.assert_array_equal(lazy.train.labels, whole.train.labels)
  np.testing.assert_array_equal(lazy.train.images[0], whole.train.images[0])
  assert whole.train.labels.shape[1:] == (6, 6)
  # The middle 12 x 12 of 12 x 14; of every 2 x 2 the lower right one.
  masks = mask_folders.examples(10)[1][:, 1::2, 2:13:2]
  assert {one.tobytes() for one in whole.train.labels.astype(np.uint8)} <= {
    np.ascontiguousarray(one).tobytes() for one in masks
  }


def test_nearest_is_pillows():
  ids = np.random.default_rng(0).integers(0, 9, (9, 9)).astype(np.uint8)
  for size in (3, 4, 9, 13):
    want = Image.fromarray(ids).resize((size, size), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(nearest(ids, size), np.asarray(want))


def test_masks_lie_on_images_as_they_are_shown(tmp_path):
  mask_folders.write(tmp_path, 6, size=(12, 8))
  image = Image.open(tmp_path / "images" / "0.png")
  exif = image.getexif()
  exif[0x0112] = 6  # stored lying on its side
  image.transpose(Image.Transpose.ROTATE_90).save(
    tmp_path / "images" / "0.png", exif=exif
  )
  dataset = data.load(str(tmp_path))
  assert dataset.image_shape == (12, 8, 1)


@pytest.mark.parametrize("stored", ["tensor", "png"])
def test_a_set_that_tfds_has_prepared(prepare, stored):
  import tensorflow_datasets as tfds

  images, masks = mask_folders.examples(4)
  shape = (*SIZE, 1)
  plain = tfds.features.Tensor(shape=shape, dtype=np.uint8)
  kind, store = plain, lambda mask: mask[..., None]
  if stored == "png":
    kind, store = tfds.features.Image(shape=shape, encoding_format="png"), png
  folder = prepare(
    {"image": plain, "segmentation_mask": kind},
    [
      {"image": image[..., None], "segmentation_mask": store(mask)}
      for image, mask in zip(images, masks, strict=True)
    ],
  )
  dataset = data.load(f"tfds_masks({str(folder)!r})")
  np.testing.assert_array_equal(dataset.train.labels, masks)
  np.testing.assert_array_equal(dataset.test.images[..., 0], images)
  assert dataset.classes == 3
  others = data.load(f"tfds_masks({str(folder)!r}, ignore=1)")
  want = np.where(masks == 1, 255, np.where(masks == 2, 1, masks))
  np.testing.assert_array_equal(others.train.labels, want)
  assert others.class_names == ("0", "1")
  with pytest.raises(UserError, match="has not a feature 'depth'; it has"):
    data.load(f"tfds_masks({str(folder)!r}, mask='depth')")


def test_objects_become_classes_and_their_rim_does_not_count():
  masks = np.zeros((1, 5, 5), bool)
  masks[0, 2, 2] = True
  split = data.Split(np.zeros((1, 5, 5, 1), np.uint8), np.array([1]), masks)
  toy = data.Dataset("toy", 2, ("a", "b"), (5, 5, 1), split, split)
  labels = of_objects(toy).train.labels[0]
  assert labels[2, 2] == 2 and labels.sum() == 2
  ringed = of_objects(toy, rim=1).train.labels[0]
  assert (ringed == 255).sum() == 8 and ringed[2, 2] == 2 and ringed[0, 0] == 0
  with pytest.raises(UserError, match="rim is a whole number"):
    of_objects(toy, rim=-1)
