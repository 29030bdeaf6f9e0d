"""The examples of one TFDS split: images decoded on demand, and labels."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kdjax.core.errors import StorageError, UserError
from kdjax.data.check import check_image
from kdjax.data.dataset import opening
from kdjax.data.images import pixels
from kdjax.data.images.regions import OBJECTS, largest
from kdjax.data.whole import first_line


class Keys(NamedTuple):
  """Which features of a data set are the image and the label."""

  image: str
  label: str


def find_keys(info: Any, name: str) -> Keys:
  """Finds the image and the label among a data set's features.

  Returns:
    The supervised keys if they are an image and a class, else the only image
    and the only class there are; without any class, "objects" for the class of
    an image's largest object.
  """
  from tensorflow_datasets import features as kinds

  features = info.features
  if isinstance(features, kinds.FeaturesDict):
    images = [k for k, f in features.items() if is_image(f)]
    labels = [k for k, f in features.items() if isinstance(f, kinds.ClassLabel)]
    pair = info.supervised_keys
    if pair and len(pair) == 2 and pair[0] in images and pair[1] in labels:
      return Keys(*pair)
    if len(images) == len(labels) == 1:
      return Keys(images[0], labels[0])
    if len(images) == 1 and not labels and _has_classes(features):
      return Keys(images[0], OBJECTS)
  text = " ".join(str(features).split())
  raise UserError(
    f"data set {name!r}: text, sound, video and tables are not read, an example"
    " must have one image and one ClassLabel; its features:"
    f" {text[:300]}"
  )


def class_label(features: Any, key: str) -> Any:
  """Returns the feature that names the classes."""
  feature = features[key]
  return feature.feature["label"] if key == OBJECTS else feature


class TfdsImages:
  """The images of one split; each is decoded when it is asked for.

  Args:
    source: TFDS data source that returns serialised examples.
    shards: the files that hold the rows, in order, with the number of each.
  """

  def __init__(
    self,
    source: Any,
    feature: Any,
    key: str,
    size: int | None,
    where: str,
    shards: Sequence[tuple[str, int]] = (),
    background: tuple[int, int, int] = pixels.WHITE,
  ):
    from tensorflow_datasets import decode, features

    self._source, self._key, self._size = source, key, size
    self._where, self._shards = where, shards
    self._background = background
    self._reader = features.FeaturesDict({key: feature})
    # Files are decoded here rather than by TFDS, which leaves grey and CMYK
    # files in data sets of colour images as they are.
    files = isinstance(feature, features.Image) and feature.np_dtype == np.uint8
    self._decoders = {key: decode.SkipDecoding()} if files else None
    channels = feature.shape[-1] if len(feature.shape) == 3 else 1
    self._channels = channels if channels is not None else 3
    with opening():
      self._shape = self._read(0).shape

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> np.ndarray:
    image = self._read(index)
    check_image(image, self._shape, self._where, index)
    return image

  def _read(self, index: int) -> np.ndarray:
    try:
      row = self._source[index]
      if not row:  # all that is left of it where a file was cut off
        raise ValueError("there is nothing of it in the file")
      value = self._reader.deserialize_example_np(row, decoders=self._decoders)
      value = value[self._key]
      if self._decoders:
        return pixels.decode(
          io.BytesIO(value),
          self._channels,
          self._size,
          background=self._background,
        )
    except Exception as error:  # damaged rows raise anything
      raise StorageError(
        f"{self._where}: cannot read example {index}{self._shard(index)}:"
        f" {first_line(error)}"
      ) from error
    image = pixels.with_channel_axis(np.asarray(value))
    return image if self._size is None else pixels.resize(image, self._size)

  def _shard(self, index: int) -> str:
    """Names the file that holds an example."""
    for path, rows in self._shards:
      if index < rows:
        return f" of {path}"
      index -= rows
    return ""


def read_labels(source: Any, feature: Any, key: str, where: str) -> np.ndarray:
  """Reads the labels of one split; the images are not decoded for it.

  Args:
    source: TFDS data source of N serialised examples.

  Returns:
    (N,) int32.
  """
  from tensorflow_datasets import features

  reader = features.FeaturesDict({key: feature})
  labels = np.empty(len(source), np.int32)
  for index in range(len(source)):
    try:
      value = reader.deserialize_example_np(source[index])[key]
      if isinstance(value, dict):
        value = value["label"][largest(value["bbox"])]
      labels[index] = value
    except Exception as error:  # damaged rows raise anything
      raise UserError(
        f"{where}: cannot read example {index}: {first_line(error)}"
      ) from error
  return labels


def _has_classes(features: Any) -> bool:
  """Whether there are objects with boxes and classes, as in VOC and COCO."""
  from tensorflow_datasets import features as kinds

  if OBJECTS not in features:
    return False
  parts = getattr(features[OBJECTS], "feature", None)
  return (
    isinstance(parts, kinds.FeaturesDict)
    and {"bbox", "label"} <= set(parts)
    and isinstance(parts["label"], kinds.ClassLabel)
  )


def is_image(feature: Any) -> bool:
  """Says whether a feature is an image, or an array that can be one."""
  from tensorflow_datasets import features as kinds

  if isinstance(feature, kinds.Image):
    return not isinstance(feature, kinds.LabeledImage)
  return type(feature) is kinds.Tensor and len(feature.shape) in (2, 3)
