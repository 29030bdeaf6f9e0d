"""Cluttered digits: masks where the ink is, textures that tell or do not."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data import load, select
from kdjax.data.images.cluttered_digits import SIZE, compose


def test_mask_is_the_ink():
  rng = np.random.default_rng(0)
  digit = np.zeros((28, 28, 1), np.uint8)
  digit[4:10, 5:8] = 255
  digit[20, 20] = 40  # below the threshold of 0.2
  image, mask = compose(digit, np.zeros((3, 28, 28, 1)), 3, rng)
  assert image.shape == (SIZE, SIZE, 1) and image.dtype == np.uint8
  assert mask.sum() == 18
  assert (image[..., 0][mask > 0] == 255).all()
  # The texture alone stays below its amplitude.
  assert image[..., 0][mask == 0].max() <= round(0.35 * 255)


def test_no_texture_is_black():
  digit = np.full((28, 28, 1), 255, np.uint8)
  image, mask = compose(digit, (), None, np.random.default_rng(0))
  np.testing.assert_array_equal(image[..., 0], 255 * mask)


def test_texture_tells_directions_apart():
  nothing = np.zeros((28, 28, 1), np.uint8)
  spectra = []
  for texture in range(10):
    rng = np.random.default_rng(texture)
    image, _ = compose(nothing, np.zeros((3, 28, 28, 1)), texture, rng)
    wave = np.abs(np.fft.rfft2(image[..., 0] - image.mean()))
    spectra.append(int(wave.argmax()))
  assert len(set(spectra)) == 10


@pytest.mark.slow
def test_splits(tmp_path):
  both = load("cluttered_digits", data_dir=str(tmp_path), masks=True)
  assert both.train.images.shape == (3000, SIZE, SIZE, 1)
  assert both.test.masks.shape == (1000, SIZE, SIZE)
  assert both.test.masks.dtype == bool
  assert (both.test.masks.sum((1, 2)) > 10).all()
  some = select(both.test, np.array([3, 1]))
  np.testing.assert_array_equal(some.masks, both.test.masks[[3, 1]])
  plain = load(
    "cluttered_digits", data_dir=str(tmp_path), train_split="spurious"
  )
  assert plain.train.masks is None and len(plain.train.labels) == 3000


FEATURES = {
  "mask": ("mask", lambda tfds: tfds.features.Tensor(shape=(4, 8), dtype=np.uint8)),
  "segmentation_mask": (
    "segmentation_mask", lambda tfds: tfds.features.Image(shape=(None, None, 1)),
  ),
  "bbox": ("bbox", lambda tfds: tfds.features.BBoxFeature()),
  "objects": (
    "objects",
    lambda tfds: tfds.features.Sequence({"bbox": tfds.features.BBoxFeature()}),
  ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("size", [None, 4])
def test_regions_of_prepared_sets(prepare, png, kind, size):
  import tensorflow_datasets as tfds

  key, make = FEATURES[kind]
  mask = np.zeros((4, 8), np.uint8)
  mask[1:3, 2:6] = 1
  box = tfds.features.BBox(ymin=0.25, xmin=0.25, ymax=0.75, xmax=0.75)
  small = tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=0.25, xmax=0.25)
  region = {
    "mask": mask,
    "segmentation_mask": png(mask),
    "bbox": box,
    "objects": [{"bbox": small}, {"bbox": box}],
  }[kind]
  row = {"image": png(np.zeros((4, 8, 3))), "label": 0, key: region}
  features = {
    "image": tfds.features.Image(shape=(None, None, 3)),
    "label": tfds.features.ClassLabel(num_classes=1),
    key: make(tfds),
  }
  directory = prepare(features, [row, row], keys=("image", "label"))
  found = load(str(directory), masks=True, image_size=size).test
  expected = mask > 0
  expected = expected if size is None else expected[:, 2:6]
  np.testing.assert_array_equal(found.masks, np.stack([expected] * 2))


def test_sets_without_regions(prepare, png, folder):
  import tensorflow_datasets as tfds

  features = {
    "image": tfds.features.Image(shape=(4, 4, 1)),
    "label": tfds.features.ClassLabel(num_classes=1),
  }
  rows = [{"image": png(np.zeros((4, 4))), "label": 0}]
  with pytest.raises(UserError, match="mask, segmentation_mask, bbox, objects"):
    load(str(prepare(features, rows)), masks=True)
  images = folder({"a/0.png": np.zeros((4, 4)), "b/0.png": np.zeros((4, 4))})
  with pytest.raises(UserError, match="where it is"):
    load(str(images), masks=True)


def test_the_largest_object_names_the_class(prepare, png):
  """As in VOC, where an image has several objects and no class of its own."""
  import tensorflow_datasets as tfds

  def box(size):
    return tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=size, xmax=0.5)

  features = {
    "image": tfds.features.Image(shape=(None, None, 3)),
    "labels": tfds.features.Sequence(tfds.features.ClassLabel(num_classes=3)),
    "objects": tfds.features.Sequence(
      {
        "bbox": tfds.features.BBoxFeature(),
        "label": tfds.features.ClassLabel(names=["cat", "dog", "cow"]),
      }
    ),
  }
  row = {
    "image": png(np.zeros((8, 4, 3))),
    "labels": [0, 2],
    "objects": [
      {"bbox": box(0.25), "label": 0},
      {"bbox": box(1.0), "label": 2},
    ],
  }
  found = load(str(prepare(features, [row])), masks=True)
  assert found.class_names == ("cat", "dog", "cow")
  assert found.test.labels.tolist() == [2]
  assert found.test.masks[0].sum() == 8 * 2


@pytest.mark.parametrize("kind", ["segmentation_mask", "bbox"])
def test_regions_are_turned_as_their_images_are(prepare, png, kind):
  import io

  import tensorflow_datasets as tfds
  from PIL import Image

  key, make = FEATURES[kind]
  mask = np.zeros((4, 8), np.uint8)
  mask[1:2, 2:6] = 1
  exif, file = Image.Exif(), io.BytesIO()
  exif[0x0112] = 6  # a quarter turn clockwise
  Image.fromarray(100 * mask).save(file, "PNG", exif=exif)
  box = tfds.features.BBox(ymin=0.25, xmin=0.25, ymax=0.5, xmax=0.75)
  features = {
    "image": tfds.features.Image(shape=(None, None, 1)),
    "label": tfds.features.ClassLabel(num_classes=2),
    key: make(tfds),
  }
  row = {
    "image": file.getvalue(),
    "label": 0,
    key: box if kind == "bbox" else png(mask),
  }
  directory = prepare(features, [row], keys=("image", "label"))
  found = load(str(directory), masks=True).test
  expected = np.rot90(mask, -1) > 0
  np.testing.assert_array_equal(found.images[0][..., 0] > 0, expected)
  np.testing.assert_array_equal(found.masks[0], expected)
