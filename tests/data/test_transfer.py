"""Transfer sets: behind the training set's images, in their shape."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data import Dataset, Split, open_transfer, resident, stream, summary
from kdjax.data.transfer import alike, stack

RNG = np.random.default_rng(0)
NAMES = tuple(map(str, range(10)))


def split(count, channels=1, dtype=np.uint8, side=4):
  images = RNG.integers(0, 256, (count, side, side, channels), np.uint8)
  if dtype == np.float32:
    images = (images / 255).astype(np.float32)
  return Split(images, np.arange(count, dtype=np.int32) % 10)


def dataset(side=28, channels=1, names=NAMES):
  train = split(10, channels, side=side)
  shape = train.images.shape[1:]
  return Dataset("mine", len(names), names, shape, train, train)


class Lazy:
  def __init__(self, images):
    self._images = images

  def __len__(self):
    return len(self._images)

  def __getitem__(self, index):
    return self._images[index]


WHITE, BLACK, RED = [255, 255, 255], [0, 0, 0], [255, 0, 0]


@pytest.mark.parametrize(
  ("pixel", "dtype", "channels", "wanted", "expected"),
  [
    ([7], np.uint8, 1, np.uint8, [7]),
    ([7], np.uint8, 3, np.uint8, [7, 7, 7]),
    (WHITE, np.uint8, 1, np.uint8, [255]),
    (BLACK, np.uint8, 1, np.uint8, [0]),
    (RED, np.uint8, 1, np.uint8, [76]),
    (RED, np.uint8, 3, np.float32, [1.0, 0.0, 0.0]),
    ([0.5], np.float32, 1, np.uint8, [128]),
    ([2.0], np.float32, 1, np.uint8, [255]),
    ([-0.5], np.float32, 3, np.float32, [-0.5, -0.5, -0.5]),
  ],
)
def test_channels_and_dtypes(pixel, dtype, channels, wanted, expected):
  image = np.array(pixel, dtype).reshape(1, 1, -1)
  found = alike(image, np.zeros((1, 1, channels), wanted))
  assert found.dtype == wanted
  np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)


@pytest.mark.parametrize("lazy", ["train", "other", "both", "too large"])
def test_streamed_images_are_the_resident_ones(lazy):
  train, other = split(5), split(4, channels=3)
  both = stack(train, other, resident_bytes=10**6)
  assert resident(both) and both.images.shape == (9, 4, 4, 1)
  parts = [
    part._replace(images=Lazy(part.images)) if lazy in (name, "both") else part
    for name, part in (("train", train), ("other", other))
  ]
  few = 10 if lazy == "too large" else 10**6
  streamed = stack(*parts, resident_bytes=few)
  assert not resident(streamed) and len(streamed.images) == 9
  np.testing.assert_array_equal(streamed.labels, both.labels)
  plan = np.array([[0, 8, 4], [5, 3, 7]])
  for got, want in zip(stream(streamed, plan), stream(both, plan), strict=True):
    np.testing.assert_array_equal(got, want)
    assert got.dtype == want.dtype


def test_the_training_set_comes_first():
  train, other = split(3), split(2)
  both = stack(train, other, resident_bytes=10**6)
  np.testing.assert_array_equal(both.images[:3], train.images)
  np.testing.assert_array_equal(both.images[3:], other.images)
  assert both.labels.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
  ("names", "labelled", "known"),
  [
    (NAMES, True, True),
    (NAMES, False, False),
    (tuple("abcdefghij"), True, False),
  ],
)
def test_labels_of_another_label_set_are_hidden(names, labelled, known):
  shown = open_transfer(
    "digits", dataset(names=names), split="train", labelled=labelled
  )
  assert shown.images.shape[1:] == (28, 28, 1)
  hidden = shown.labels[10:] == -1
  assert not hidden.any() if known else hidden.all()
  assert (shown.labels[:10] >= 0).all()


def test_images_that_are_not_square_need_the_same_shape():
  given = dataset()
  wide = Split(np.zeros((2, 28, 20, 1), np.uint8), np.zeros(2, np.int32))
  with pytest.raises(UserError, match="28 x 20 x 1.*--image_size"):
    open_transfer(
      "noise_images(2)",
      given._replace(train=wide),
      split="train",
      labelled=True,
    )


def test_what_is_opened_is_told():
  told = []
  open_transfer(
    "noise_images(2)",
    dataset(),
    split="train",
    labelled=True,
    opened=told.append,
  )
  assert list(map(summary, told)) == [
    "noise_images(2): 2 train, 100 test images, 1 class"
  ]
