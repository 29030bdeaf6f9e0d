import json
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from kdjax.core.errors import StorageError, UserError
from kdjax.data import load, resident

kinds = tfds.features


def tensor(*shape, dtype=np.uint8):
  return kinds.Tensor(shape=shape, dtype=dtype)


def features(image, label=None, **more):
  label = label or kinds.ClassLabel(names=["cat", "dog"])
  return {"image": image, "label": label, **more}


def rows(*images, labels=None):
  labels = labels or [number % 2 for number in range(len(images))]
  return [
    {"image": image, "label": label}
    for image, label in zip(images, labels, strict=True)
  ]


def grey(value, *shape, dtype=np.uint8):
  return np.full(shape or (4, 5, 1), value, dtype)


def change(path, **fields):
  """Writes other fields into a description."""
  file = path / "dataset_info.json"
  file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_opens_a_prepared_directory(prepare):
  path = prepare(features(tensor(4, 5, 1)), rows(grey(7), grey(9), grey(8)))
  dataset = load(str(path))
  assert dataset.class_names == ("cat", "dog")
  assert dataset.image_shape == (4, 5, 1)
  assert dataset.train.images[:, 0, 0, 0].tolist() == [7, 9, 8]
  assert dataset.test.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", ["toy", "toy:1.0.0"])
def test_opens_by_name_without_the_builder_code(prepare, tmp_path, name):
  prepare(features(tensor(4, 5, 1)), rows(grey(7), grey(9)))
  dataset = load(name, data_dir=str(tmp_path))
  assert len(dataset.train.labels) == 2


def test_opens_a_prepared_standard_set(prepare, png, tmp_path):
  # As a colleague with TensorFlow would have left it.
  path = prepare(
    features(kinds.Image(shape=(32, 32, 3)), kinds.ClassLabel(num_classes=10)),
    rows(*[png(grey(v, 32, 32, 3)) for v in (1, 2)]),
    name="cifar10",
    version="3.0.2",
  )
  assert path.parts[-2:] == ("cifar10", "3.0.2")
  dataset = load("cifar10", data_dir=str(tmp_path))
  assert dataset.image_shape == (32, 32, 3)
  assert dataset.train.images[:, 0, 0, 0].tolist() == [1, 2]


def test_slices(prepare):
  ten = rows(*[grey(v) for v in range(10)])
  path = prepare(features(tensor(4, 5, 1)), {"train": ten})
  dataset = load(str(path), train_split="train[:80%]", test_split="train[80%:]")
  assert dataset.train.images[:, 0, 0, 0].tolist() == list(range(8))
  assert dataset.test.images[:, 0, 0, 0].tolist() == [8, 9]


def test_lazy_is_the_same_and_pickles(prepare):
  path = prepare(features(tensor(4, 5, 1)), rows(grey(7), grey(9)))
  held = load(str(path)).train
  lazy = load(str(path), resident_bytes=79).train  # 4 images of 20 bytes
  assert resident(held) and not resident(lazy)
  assert resident(load(str(path), resident_bytes=80).train)
  again = pickle.loads(pickle.dumps(lazy.images))
  for images in (lazy.images, again):
    assert len(images) == 2
    np.testing.assert_array_equal(np.stack([images[0], images[1]]), held.images)


def test_labels_of_lazy_images_are_read_without_decoding(prepare):
  # The second file is no image: only asking for it may fail.
  from io import BytesIO

  from PIL import Image

  file = BytesIO()
  Image.fromarray(grey(3, 4, 4)).save(file, "PNG")
  path = prepare(
    features(kinds.Image(shape=(4, 4, 1))),
    rows(file.getvalue(), b"no image", file.getvalue()),
  )
  dataset = load(str(path), resident_bytes=0)
  assert dataset.train.labels.tolist() == [0, 1, 0]
  assert dataset.train.images[2][0, 0, 0] == 3
  # Named with its file; storage's fault once the training runs.
  message = "example 1 of .*toy-train.array_record-00000.*: UnidentifiedImage"
  with pytest.raises(StorageError, match=message):
    dataset.train.images[1]
  with pytest.raises(UserError, match="split 'train': cannot read example 1"):
    load(str(path))


def test_grey_images_get_a_channel_axis(prepare):
  path = prepare(features(tensor(4, 5)), rows(grey(1, 4, 5), grey(2, 4, 5)))
  assert load(str(path)).image_shape == (4, 5, 1)


def test_grey_files_among_colour_ones(prepare, png):
  mixed = rows(png(grey(9, 4, 4, 3)), png(grey(5, 4, 4)))
  path = prepare(features(kinds.Image(shape=(None, None, 3))), mixed)
  images = load(str(path)).train.images
  assert images.shape == (2, 4, 4, 3)
  assert (images[1] == 5).all()


def test_float_images(prepare):
  half = grey(0.5, 4, 5, 1, dtype=np.float32)
  path = prepare(features(tensor(4, 5, 1, dtype=np.float32)), rows(half, half))
  assert load(str(path)).train.images.dtype == np.float32


@pytest.mark.parametrize(
  ("more", "keys", "message"),
  [
    ({}, ("image", "label"), None),
    ({"extra": kinds.Scalar(np.int64)}, None, None),
    ({"other": tensor(4, 5, 1)}, ("image", "label"), None),
    ({"other": tensor(4, 5, 1)}, None, "one image and one ClassLabel.*other"),
    ({"kind": kinds.ClassLabel(num_classes=3)}, None, "one image and one"),
  ],
)
def test_finds_the_keys(prepare, more, keys, message):
  filler = {"extra": 3, "other": grey(0), "kind": 1}
  examples = [
    {**row, **{key: filler[key] for key in more}}
    for row in rows(grey(1), grey(2))
  ]
  path = prepare(features(tensor(4, 5, 1), **more), examples, keys=keys)
  if message is None:
    assert load(str(path)).train.images[1, 0, 0, 0] == 2
  else:
    with pytest.raises(UserError, match=message):
      load(str(path))


def test_a_regression_set_is_refused(prepare):
  label = kinds.Scalar(np.float32)
  path = prepare(features(tensor(4, 5, 1), label), rows(grey(1), labels=[0.5]))
  with pytest.raises(UserError, match="ClassLabel; its features: .*float32"):
    load(str(path))


VARYING = rows(grey(1, 4, 4, 1), grey(2, 6, 6, 1))


@pytest.mark.parametrize("resident_bytes", [0, 1 << 20])
def test_varying_sizes(prepare, resident_bytes):
  shape = (None, None, 1)
  any_size = kinds.Tensor(shape=shape, dtype=np.uint8, encoding="zlib")
  path = prepare(features(any_size), VARYING)
  with pytest.raises(UserError, match=r"example 1 .*\(6, 6, 1\).*image_size"):
    load(str(path), resident_bytes=resident_bytes).train.images[1]
  sized = load(str(path), image_size=3, resident_bytes=resident_bytes)
  assert sized.image_shape == (3, 3, 1)
  assert sized.train.images[1][0, 0, 0] == 2


@pytest.mark.parametrize(
  ("examples", "dtype", "message"),
  [
    (rows(grey(1), grey(2), labels=[0, -1]), np.uint8, "example 1 has label -1; labels must be 0 to 1"),
    (rows(grey(1), grey(np.nan, dtype=np.float32)), np.float32, "example 1 holds NaN"),
    (rows(grey(1), grey(1)), np.int64, "uint8 or float32, got int64"),
  ],
)  # fmt: skip
def test_bad_rows_are_named(prepare, examples, dtype, message):
  for row in examples:
    row["image"] = row["image"].astype(dtype)
  path = prepare(features(tensor(4, 5, 1, dtype=dtype)), examples)
  with pytest.raises(UserError, match=message):
    load(str(path))


def test_nan_in_a_lazy_image_is_found_when_read(prepare):
  bad = grey(np.nan, dtype=np.float32)
  good = np.zeros_like(bad)
  path = prepare(features(tensor(4, 5, 1, dtype=np.float32)), rows(good, bad))
  images = load(str(path), resident_bytes=0).train.images
  with pytest.raises(UserError, match="example 1 holds NaN"):
    images[1]


@pytest.mark.parametrize(
  ("splits", "message"),
  [
    (("train", "test"), "no split 'test'; it has train, and slices"),
    (("trian", "train"), "no split 'trian'"),
    (("train[:x]", "train"), r"no split 'train\[:x\]'"),
    (("train", "train[:0%]"), "no example"),
  ],
)
def test_missing_and_empty_splits(prepare, splits, message):
  path = prepare(
    features(tensor(4, 5, 1)), {"train": rows(grey(1), grey(2), grey(3))}
  )
  with pytest.raises(UserError, match=message):
    load(str(path), train_split=splits[0], test_split=splits[1])


def test_more_rows_promised_than_there_are(prepare):
  path = prepare(features(tensor(4, 5, 1)), rows(grey(1), grey(2)))
  info = json.loads((path / "dataset_info.json").read_text())
  for split in info["splits"]:
    split["shardLengths"] = ["3"]
  change(path, splits=info["splits"])
  with pytest.raises(UserError, match="holds 2 rows.*promises 3.*tfds build"):
    load(str(path))


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "flipped"])
def test_damaged_files(prepare, damage):
  noise = np.random.default_rng(0).integers(0, 256, (9, 30, 30, 1), np.uint8)
  path = prepare(features(tensor(30, 30, 1)), rows(*noise))
  file = next(path.glob("*train*"))
  whole = file.read_bytes()
  if damage == "gone":
    file.unlink()
  elif damage == "flipped":
    middle = 1000  # inside the first rows; the file ends in padding
    file.write_bytes(
      whole[:middle]
      + bytes(byte ^ 255 for byte in whole[middle : middle + 99])
      + whole[middle + 99 :]
    )
  else:
    file.write_bytes(whole[: len(whole) // 2 if damage == "cut" else 0])
  with pytest.raises(UserError, match="toy.*train|split 'train'"):
    load(str(path))


def test_tfrecord_is_refused_with_the_way_out(prepare):
  path = prepare(features(tensor(4, 5, 1)), rows(grey(1), grey(2)))
  change(path, fileFormat="tfrecord")
  with pytest.raises(UserError, match="prepared as tfrecord.*array_record"):
    load(str(path))


def test_a_broken_description_is_one_line(prepare):
  path = prepare(features(tensor(4, 5, 1)), rows(grey(1), grey(2)))
  (path / "dataset_info.json").write_text("{")
  with pytest.raises(UserError, match="cannot open") as caught:
    load(str(path))
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("minst", "unknown data set 'minst'; did you mean 'mnist'"),
    ("mnist5", "did you mean 'mnist5k'"),
    ("tooy", "did you mean 'toy'"),
    ("zzzzzz", "unknown data set 'zzzzzz'. It is not"),
    ("", "unknown|cannot open"),
    ("a b", "unknown|cannot open"),
    ("mnist:9.9.9", "cannot open.*9.9.9"),
    ("cifar10/nothing", "cannot open.*nothing"),
  ],
)
def test_unknown_names(prepare, tmp_path, name, message):
  prepare(features(tensor(4, 5, 1)), rows(grey(1)))
  with pytest.raises(UserError, match=message) as caught:
    load(name, data_dir=str(tmp_path))
  assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("name", ["mnist", "cifar10", "imagenet2012"])
def test_standard_sets_need_tensorflow_to_prepare(tmp_path, name, monkeypatch):
  import importlib.util

  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    "find_spec",
    lambda module, *a: None if module == "tensorflow" else find(module, *a),
  )
  message = r"pip install 'kdjax\[tf\]'.*file_format='array_record'.*--data_dir"
  with pytest.raises(UserError, match=message):
    load(name, data_dir=str(tmp_path))
  assert list(tmp_path.iterdir()) == []


class KdjaxTestFails(tfds.core.GeneratorBasedBuilder):
  """A user's own builder whose download fails as it is told to."""

  VERSION = tfds.core.Version("1.0.0")
  error: Exception

  def _info(self):
    return tfds.core.DatasetInfo(builder=self)

  def _split_generators(self, dl_manager):
    raise self.error

  def _generate_examples(self):
    raise NotImplementedError


@pytest.mark.parametrize(
  ("error", "message"),
  [
    (ConnectionError("no route\nto host"), "cannot prepare.*ConnectionError: no route$"),
    (ModuleNotFoundError("no", name="tensorflow"), "needs TensorFlow"),
    (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "cannot prepare.*cv2"),
    (AssertionError("download it by hand"), "cannot prepare.*by hand"),
  ],
)  # fmt: skip
def test_failing_downloads(tmp_path, error, message, monkeypatch):
  monkeypatch.setattr(KdjaxTestFails, "error", error, raising=False)
  with pytest.raises(UserError, match=message):
    load("kdjax_test_fails", data_dir=str(tmp_path))
