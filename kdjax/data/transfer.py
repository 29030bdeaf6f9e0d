"""Transfer sets: other images than the training set's, in the same shape."""

from collections.abc import Callable, Mapping

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset, Images, Split, resident
from kdjax.data.load import load

# How bright red, green and blue look (ITU-R 601), as Pillow turns them grey.
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def open_transfer(
  name: str,
  dataset: Dataset,
  *,
  split: str,
  labelled: bool,
  data_dir: str | None = None,
  resident_bytes: int = 2 << 30,
  background: str = "white",
  opened: Callable[[Dataset], object] = lambda other: None,
) -> Split:
  """Opens a transfer set and puts it behind a training set.

  Args:
    labelled: keep its labels, where its classes have the names of the data
      set's; else they are hidden.
    resident_bytes: keep the pixels of both in memory if they take no more.
    opened: is told the transfer set as it is stored.

  Returns:
    N training examples and M of the transfer set, with labels -1 where hidden;
    resident if both parts are and fit.
  """
  if isinstance(dataset.train.images, Mapping):
    raise UserError(
      f"--transfer_dataset={name}: it is for images, and the inputs of"
      f" {dataset.name} are {', '.join(dataset.train.images)}"
    )
  first = dataset.train.images[0]
  height, width, channels = first.shape
  size = height if height == width else None
  other = load(
    name,
    data_dir=data_dir,
    train_split=split,
    image_size=size,
    resident_bytes=resident_bytes,
    background=background,
  )
  opened(other)
  if other.train.labels.ndim > 1:
    raise UserError(
      f"--transfer_dataset={name}: its examples have several labels; it takes a set"
      " with one class an example"
    )
  shape = tuple(other.image_shape)
  if shape[:2] != (height, width) or not {shape[2], channels} <= {1, 3}:
    raise UserError(
      f"--transfer_dataset={name}: its images are {_written(shape)}, those of"
      f" {dataset.name} {_written(first.shape)};"
      " --image_size=SIZE makes all SIZE x SIZE, and 1 and 3 channels fit"
    )
  keeps_labels = labelled and other.class_names == dataset.class_names
  no_labels = np.full(len(other.train.labels), -1, np.int32)
  return stack(
    dataset.train,
    Split(
      other.train.images,
      other.train.labels if keeps_labels else no_labels,
      weight=other.train.weight,
    ),
    resident_bytes=resident_bytes,
  )


def stack(train: Split, other: Split, *, resident_bytes: int) -> Split:
  """Puts the examples of one split behind those of another.

  Grey images become colour ones with three equal channels, colour ones grey by
  how bright they look; bytes become floats in 0..1 where the first are floats,
  and floats bytes where those are.

  Args:
    train: N examples, which set channels and dtype.
    other: M examples of the same height and width.
  """
  labels = np.concatenate([train.labels, other.labels])
  weight = None
  if train.weight is not None or other.weight is not None:
    weight = np.concatenate([_weight_of(train), _weight_of(other)])
  first = train.images[0]
  fits = len(labels) * first.nbytes <= resident_bytes
  if fits and resident(train) and resident(other):
    images = alike(other.images, first)
    return Split(np.concatenate([train.images, images]), labels, weight=weight)
  return Split(_Stacked(train.images, other.images), labels, weight=weight)


def _weight_of(split: Split) -> np.ndarray:
  """How much each example counts."""
  ones = np.ones(len(split.labels), np.float32)
  return ones if split.weight is None else split.weight


def alike(images: np.ndarray, first: np.ndarray) -> np.ndarray:
  """Gives images the channels and the dtype of another one.

  Args:
    images: (..., C) uint8 0..255 or float32 0..1, C 1 or 3.
    first: (H, W, 1 or 3), likewise.

  Returns:
    (..., channels of first) in the dtype of first.
  """
  channels = first.shape[-1]
  if images.shape[-1] == channels and images.dtype == first.dtype:
    return images
  values = images.astype(np.float32)
  if images.shape[-1] == 3 and channels == 1:
    values = values @ _GREY[:, None]
  elif images.shape[-1] == 1 and channels == 3:
    values = np.repeat(values, 3, axis=-1)
  if images.dtype != np.uint8 and first.dtype == np.uint8:
    values = 255 * values.clip(0, 1)
  if first.dtype == np.uint8:
    return np.rint(values).astype(np.uint8)
  return values / 255 if images.dtype == np.uint8 else values


class _Stacked:
  """The images of two splits, one behind the other; read when asked for."""

  def __init__(self, train: Images, other: Images):
    self._parts, self._first = (train, other), train[0]

  def __len__(self) -> int:
    return sum(map(len, self._parts))

  def __getitem__(self, index: int) -> np.ndarray:
    train, other = self._parts
    if index < len(train):
      return train[index]
    return alike(other[index - len(train)], self._first)


def _written(shape: tuple[int, ...]) -> str:
  return " x ".join(map(str, shape))
