"""Opening TFDS data sets as random-access sources, without TensorFlow."""

import contextlib
import difflib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kdjax.core.errors import UserError, program
from kdjax.data.dataset import Dataset, Images, Split, materialise
from kdjax.data.images.pixels import WHITE
from kdjax.data.images.regions import TfdsMasks, find_region
from kdjax.data.images.tfds_images import (
  Keys,
  TfdsImages,
  class_label,
  find_keys,
  read_labels,
)
from kdjax.data.registry import MAKERS
from kdjax.data.tfds_folder import prepared_names
from kdjax.data.whole import (
  first_line,
  how_to_prepare,
  refuse_half_prepared,
  verify_rows,
)


def open_directory(directory: Path, name: str, **options: Any) -> Dataset:
  """Opens a directory that TFDS has prepared, with the options of `open_builder`."""
  return open_builder(builder_of(directory), name, **options)


def builder_of(directory: Path) -> Any:
  """Finds the builder of a directory that TFDS has prepared."""
  import tensorflow_datasets as tfds

  refuse_half_prepared(directory)
  try:
    return tfds.builder_from_directory(str(directory))
  except Exception as error:  # damaged descriptions raise anything
    raise UserError(
      f"cannot open {directory} as a TFDS data set: {first_line(error)}"
    ) from error


def open_builder(
  builder: Any,
  name: str,
  *,
  splits: tuple[str, str],
  image_size: int | None,
  resident_bytes: int,
  background: tuple[int, int, int] = WHITE,
  masks: bool = False,
) -> Dataset:
  """Opens what a builder has prepared.

  Args:
    builder: a TFDS builder with its data on disk.
    splits: train and test split, each a split of the data set or a slice.
  """
  keys = find_keys(builder.info, name)
  label = class_label(builder.info.features, keys.label)
  region = find_region(builder.info, name) if masks else None
  parts = [
    _open_split(builder, keys, split, image_size, name, region, background)
    for split in splits
  ]
  shape = parts[0][0][0].shape
  size = sum(len(images) for images, *_ in parts) * int(np.prod(shape))
  size *= parts[0][0][0].dtype.itemsize
  if size <= resident_bytes:
    parts = [
      (materialise(images), labels, marks and materialise(marks))
      for images, labels, marks in parts
    ]
  return Dataset(
    name=name,
    classes=label.num_classes,
    class_names=tuple(label.names),
    image_shape=shape,
    train=Split(*parts[0]),
    test=Split(*parts[1]),
  )


def obtain_builder(name: str, data_dir: str) -> Any:
  """Finds a TFDS data set by name, and prepares it if nobody has.

  Args:
    name: as TFDS writes names: `name`, `name/config`, `name/config:version`.

  Returns:
    A TFDS builder with its data on disk.
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
  # A set of text or sound is refused before it is downloaded.
  if builder.info.features is not None:
    find_keys(builder.info, name)
  _prepare(builder, name, root)
  return builder


def _open_split(
  builder: Any,
  keys: Keys,
  split: str,
  size: int | None,
  name: str,
  region: str | None,
  background: tuple[int, int, int],
) -> tuple[Images, np.ndarray, Images | None]:
  """Returns a split's images and masks, not yet read, and its labels."""
  source, where, shards = open_source(builder, split, name)
  features = builder.info.features
  image, label = (features[key] for key in keys)
  images = TfdsImages(
    source, image, keys.image, size, where, shards, background
  )
  masks = region and TfdsMasks(
    source, features, keys.image, region, size, where
  )
  return images, read_labels(source, label, keys.label, where), masks


def open_source(
  builder: Any, split: str, name: str
) -> tuple[Any, str, list[tuple[str, int]]]:
  """Opens a split's rows, checked.

  Returns:
    A data source of serialised examples, what messages call it, and the files that
    hold the rows, with the number of each.
  """
  from tensorflow_datasets import decode

  where = f"{name}, split {split!r}"
  infos = builder.info.splits
  try:
    expected_rows = infos[split].num_examples
  except Exception as error:  # KeyError, ValueError, AssertionError
    raise UserError(
      f"data set {name!r} has no split {split!r}; it has"
      f" {', '.join(infos) or 'none'}, and slices such as 'train[:90%]'"
    ) from error
  if not expected_rows:
    raise UserError(f"{where}: there is no example")
  _refuse_other_formats(builder, name)
  verify_rows(builder, split, where)
  source = builder.as_data_source(
    split, deserialize_method=decode.DeserializeMethod.RAW_BYTES
  )
  if len(source) != expected_rows:
    raise UserError(
      f"{where}: {len(source)} rows where {expected_rows} are promised;"
      f" {how_to_prepare(builder)}"
    )
  shards = [
    (os.fspath(one.filename), one.take)
    for one in infos[split].file_instructions
  ]
  return source, where, shards


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
  import tensorflow_datasets as tfds

  # The community list would ask Google's storage, and fail without TensorFlow.
  names = {*tfds.list_builders(with_community_datasets=False)}
  names |= set(MAKERS)
  names |= {dataset.split(":")[0] for dataset in prepared_names(root)}
  near = difflib.get_close_matches(name.lower().split(":")[0], names, n=1)
  hint = f"; did you mean {near[0]!r}?" if near else "."
  if Path(name).is_dir():
    hint = f"; did you mean --dataset=./{name}, the folder?"
  return UserError(
    f"unknown data set {name!r}{hint} It is not among TFDS's names, nor prepared"
    f" in {root} ({program()} list datasets)"
  )


def _prepare(builder: Any, name: str, root: str) -> None:
  """Downloads and prepares a data set, or says in one line why not."""
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
