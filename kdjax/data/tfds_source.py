"""Opening TFDS data sets as random-access sources, without TensorFlow."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdjax.data import pixels
from kdjax.data.check import check_image
from kdjax.data.dataset import Dataset, Images, Split, materialise
from kdjax.data.prepared import (
  first_line,
  how_to_prepare,
  refuse_half_prepared,
  verify_rows,
)
from kdjax.errors import UserError


class Keys(NamedTuple):
  """Which features of a data set are the image and the label."""

  image: str
  label: str


def open_directory(
  directory: Path,
  name: str,
  *,
  splits: tuple[str, str],
  image_size: int | None,
  resident_bytes: int,
) -> Dataset:
  """Opens a directory that TFDS has prepared.

  Args:
    directory: the one that holds dataset_info.json.
    name: what to call the data set.
    splits: train and test split, each a split of the data set or a slice.
    image_size: as in `load`.
    resident_bytes: as in `load`.

  Returns:
    The data set.

  Raises:
    UserError: if the data is damaged, in another format, or no image
      classification.
  """
  import tensorflow_datasets as tfds

  refuse_half_prepared(directory)
  try:
    builder = tfds.builder_from_directory(str(directory))
  except Exception as error:  # damaged descriptions raise anything
    raise UserError(
      f"cannot open {directory} as a TFDS data set: {first_line(error)}"
    ) from error
  return open_builder(
    builder,
    name,
    splits=splits,
    image_size=image_size,
    resident_bytes=resident_bytes,
  )


def open_builder(
  builder: Any,
  name: str,
  *,
  splits: tuple[str, str],
  image_size: int | None,
  resident_bytes: int,
) -> Dataset:
  """Opens what a builder has prepared.

  Args:
    builder: a TFDS builder with its data on disk.
    name: what to call the data set.
    splits: train and test split, each a split of the data set or a slice.
    image_size: as in `load`.
    resident_bytes: as in `load`.

  Returns:
    The data set.

  Raises:
    UserError: as in `open_directory`.
  """
  keys = find_keys(builder.info, name)
  label = builder.info.features[keys.label]
  opened = [
    _open_split(builder, keys, split, image_size, name) for split in splits
  ]
  shape = opened[0][0][0].shape
  size = sum(len(images) for images, _ in opened) * int(np.prod(shape))
  size *= opened[0][0][0].dtype.itemsize
  if size <= resident_bytes:
    opened = [(materialise(images), labels) for images, labels in opened]
  return Dataset(
    name=name,
    classes=label.num_classes,
    class_names=tuple(label.names),
    image_shape=shape,
    train=Split(*opened[0]),
    test=Split(*opened[1]),
  )


def obtain_builder(name: str, data_dir: str) -> Any:
  """Finds a TFDS data set by name, and prepares it if nobody has.

  Args:
    name: as TFDS writes names: `name`, `name/config`, `name/config:version`.
    data_dir: where prepared data sets are.

  Returns:
    A TFDS builder with its data on disk.

  Raises:
    UserError: if the name is unknown or the data cannot be prepared here.
  """
  import tensorflow_datasets as tfds

  root = str(Path(data_dir).expanduser())
  try:
    builder = tfds.builder(name, data_dir=root)
  except tfds.core.DatasetNotFoundError:
    raise _unknown(name, root) from None
  except Exception as error:  # unknown versions and configs raise anything
    raise UserError(
      f"cannot open data set {name!r} in {root}: {first_line(error)}"
    ) from error
  directory = Path(builder.data_path)
  if directory.exists():
    refuse_half_prepared(directory)
    return builder
  _prepare(builder, name, root)
  return builder


def find_keys(info: Any, name: str) -> Keys:
  """Finds the image and the label among a data set's features.

  Args:
    info: a TFDS DatasetInfo.
    name: for messages.

  Returns:
    The supervised keys if they are an image and a class, else the only image
    and the only class there are.

  Raises:
    UserError: if there is no such pair, or several; lists the features.
  """
  from tensorflow_datasets import features as kinds

  features = info.features
  if isinstance(features, kinds.FeaturesDict):
    images = [k for k, f in features.items() if _is_image(f)]
    labels = [k for k, f in features.items() if isinstance(f, kinds.ClassLabel)]
    pair = info.supervised_keys
    if pair and len(pair) == 2 and pair[0] in images and pair[1] in labels:
      return Keys(*pair)
    if len(images) == len(labels) == 1:
      return Keys(images[0], labels[0])
  listed = " ".join(str(features).split())
  raise UserError(
    f"data set {name!r} must have one image and one ClassLabel; its features:"
    f" {listed[:300]}"
  )


class TfdsImages:
  """The images of one split; each is decoded when it is asked for.

  Args:
    source: TFDS data source that returns serialised examples.
    feature: the image's feature connector.
    key: the image's name among the features.
    size: as `image_size` in `load`.
    where: data set and split, for messages.
  """

  def __init__(
    self, source: Any, feature: Any, key: str, size: int | None, where: str
  ):
    from tensorflow_datasets import decode, features

    self._source, self._key, self._size = source, key, size
    self._where = where
    self._shape = None
    self._reader = features.FeaturesDict({key: feature})
    # Files are decoded here rather than by TFDS, which leaves grey and CMYK
    # files in data sets of colour images as they are.
    files = isinstance(feature, features.Image) and feature.np_dtype == np.uint8
    self._decoders = {key: decode.SkipDecoding()} if files else None
    channels = feature.shape[-1] if len(feature.shape) == 3 else 1
    self._channels = channels if channels is not None else 3
    self._shape = self._read(0).shape

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> np.ndarray:
    image = self._read(index)
    check_image(image, self._shape, self._where, index)
    return image

  def _read(self, index: int) -> np.ndarray:
    try:
      value = self._reader.deserialize_example_np(
        self._source[index], decoders=self._decoders
      )[self._key]
      if self._decoders:
        return pixels.decode(io.BytesIO(value), self._channels, self._size)
    except Exception as error:  # damaged rows raise anything
      raise UserError(
        f"{self._where}: cannot read example {index}: {first_line(error)}"
      ) from error
    image = pixels.with_channel_axis(np.asarray(value))
    return image if self._size is None else pixels.resize(image, self._size)


def _open_split(
  builder: Any, keys: Keys, split: str, size: int | None, name: str
) -> tuple[Images, np.ndarray]:
  """Returns a split's images, not yet read, and its labels."""
  from tensorflow_datasets import decode

  where = f"{name}, split {split!r}"
  infos = builder.info.splits
  try:
    promised = infos[split].num_examples
  except Exception as error:  # KeyError, ValueError, AssertionError
    raise UserError(
      f"data set {name!r} has no split {split!r}; it has"
      f" {', '.join(infos) or 'none'}, and slices such as 'train[:90%]'"
    ) from error
  if not promised:
    raise UserError(f"{where}: there is no example")
  _refuse_other_formats(builder, name)
  verify_rows(builder, split, where)
  source = builder.as_data_source(
    split, deserialize_method=decode.DeserializeMethod.RAW_BYTES
  )
  if len(source) != promised:
    raise UserError(
      f"{where}: {len(source)} rows where {promised} are promised;"
      f" {how_to_prepare(builder)}"
    )
  image, label = (builder.info.features[key] for key in keys)
  images = TfdsImages(source, image, keys.image, size, where)
  return images, _read_labels(source, label, keys.label, where)


def _read_labels(source: Any, feature: Any, key: str, where: str) -> np.ndarray:
  """Reads the labels alone; the images are not decoded for it."""
  from tensorflow_datasets import features

  reader = features.FeaturesDict({key: feature})
  labels = np.empty(len(source), np.int32)
  for index in range(len(source)):
    try:
      labels[index] = reader.deserialize_example_np(source[index])[key]
    except Exception as error:  # damaged rows raise anything
      raise UserError(
        f"{where}: cannot read example {index}: {first_line(error)}"
      ) from error
  return labels


def _is_image(feature: Any) -> bool:
  from tensorflow_datasets import features as kinds

  if isinstance(feature, kinds.Image):
    return not isinstance(feature, kinds.LabeledImage)
  return type(feature) is kinds.Tensor and len(feature.shape) in (2, 3)


def _refuse_other_formats(builder: Any, name: str) -> None:
  formats = {kind.value for kind in builder.info.available_file_formats()}
  if "array_record" not in formats:
    raise UserError(
      f"data set {name!r} is prepared as {', '.join(sorted(formats))} in"
      f" {builder.data_path}, which cannot be read without TensorFlow; prepare"
      " it as array_record in another directory (tfds build"
      " --file_format=array_record --data_dir=DIR) and pass --data_dir=DIR"
    )


def _unknown(name: str, root: str) -> UserError:
  import difflib

  import tensorflow_datasets as tfds

  from kdjax.data.prepared import prepared

  # The community list would ask Google's storage, and fail without TensorFlow.
  known = {*tfds.list_builders(with_community_datasets=False)}
  known |= {"mnist5k", "digits", "image_folder"}
  known |= {found.split(":")[0] for found in prepared(root)}
  near = difflib.get_close_matches(name.lower().split(":")[0], known, n=1)
  hint = f"; did you mean {near[0]!r}?" if near else "."
  return UserError(
    f"unknown data set {name!r}{hint} It is not among TFDS's names, nor prepared"
    f" in {root} (launch.py list datasets)"
  )


def _prepare(builder: Any, name: str, root: str) -> None:
  """Downloads and prepares a data set, or says in one line why not."""
  import importlib.util

  has_tensorflow = importlib.util.find_spec("tensorflow") is not None
  ours = type(builder).__module__.startswith("tensorflow_datasets.")
  if ours and not has_tensorflow:
    # Said at once: TFDS would find out after the download, and without a
    # network only after three minutes of retries.
    raise _needs_tensorflow(name, root)
  try:
    with contextlib.redirect_stdout(sys.stderr):
      builder.download_and_prepare(file_format="array_record")
  except Exception as error:  # network, disk, checksums, builder's own
    if _lacks_tensorflow(error):
      raise _needs_tensorflow(name, root) from error
    if not Path(builder.data_path).exists():  # else another process was faster
      raise UserError(
        f"cannot prepare data set {name!r} in {root}: {first_line(error)}"
      ) from error
  refuse_half_prepared(Path(builder.data_path))


def _needs_tensorflow(name: str, root: str) -> UserError:
  return UserError(
    f"data set {name!r} is not prepared in {root}, and preparing it needs"
    " TensorFlow: pip install 'kdjax[tf]' (or tensorflow-cpu) and run again; or"
    " prepare it elsewhere with file_format='array_record' and pass"
    " --data_dir=DIR"
  )


def _lacks_tensorflow(error: BaseException | None) -> bool:
  while error is not None:
    missing = getattr(error, "name", None) or ""
    if isinstance(error, ImportError) and missing.startswith("tensorflow"):
      return not missing.startswith("tensorflow_datasets")
    error = error.__cause__ or error.__context__
  return False
