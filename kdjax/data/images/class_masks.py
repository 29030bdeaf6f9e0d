"""Data sets with a class at every pixel, out of those that TFDS has prepared."""

import io
from typing import Any

import numpy as np
from scipy import ndimage

from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset, Split, materialise
from kdjax.data.images import pixels
from kdjax.data.images.mask_folder import (
  IGNORE,
  UNKNOWN,
  check_ignore,
  nearest,
  read_mask,
  without_number,
)
from kdjax.data.images.regions import MASKS
from kdjax.data.images.tfds_images import TfdsImages, is_image
from kdjax.data.tfds_source import open_source
from kdjax.data.whole import first_line


def of_objects(dataset: Dataset, rim: int = 0) -> Dataset:
  """Makes of images with one object each a set with a class at every pixel.

  Args:
    dataset: with masks of the objects.
    rim: so many pixels around an object do not count: where it is blurred, its edge
      is nowhere.

  Returns:
    The data set: class 0 is the background, k + 1 an object of class k.

  Raises:
    UserError: for a rim that is no whole number >= 0.
  """
  check_rim(rim)

  def maps(split: Split) -> Split:
    masks = split.masks
    if not isinstance(masks, np.ndarray):
      masks = materialise(masks)
    labels = np.where(masks, split.labels[:, None, None] + 1, 0).astype(
      np.int16
    )
    if rim:
      around = np.zeros((1, 2 * rim + 1, 2 * rim + 1), bool) | True
      labels[ndimage.binary_dilation(masks, around) & ~masks] = IGNORE
    return Split(split.images, labels)

  return dataset._replace(
    classes=dataset.classes + 1,
    class_names=("background", *dataset.class_names),
    train=maps(dataset.train),
    test=maps(dataset.test),
  )


def check_rim(rim: int) -> None:
  """Refuses a rim that is no whole number of pixels."""
  if not isinstance(rim, int) or rim < 0:
    raise UserError(f"rim is a whole number >= 0, of pixels, got {rim!r}")


def open_masks(
  builder: Any,
  name: str,
  *,
  mask: str,
  splits: tuple[str, str],
  image_size: int | None,
  resident_bytes: int,
  background: tuple[int, int, int] = pixels.WHITE,
  ignore: int = IGNORE,
) -> Dataset:
  """Opens what a builder has prepared, with a mask of class numbers as labels.

  Args:
    builder: a TFDS builder with its data on disk.
    mask: the feature; "" for the only one that there is.
    splits: train and test split.
    ignore: a number that does not count, see `without_number`.

  Returns:
    The data set; its labels are (N, H, W) int16, in memory.

  Raises:
    UserError: for a set without an image and a mask, and for one whose masks are
      of another size or no class numbers.
  """
  check_ignore(ignore)
  image_key, mask_key = _keys(builder.info, name, mask)
  features = builder.info.features
  parts = []
  for split in splits:
    source, where, shards = open_source(builder, split, name)
    images = TfdsImages(
      source,
      features[image_key],
      image_key,
      image_size,
      where,
      shards,
      background,
    )
    labels = _read(source, features[mask_key], mask_key, image_size, where)
    size = np.shape(images[0])[:2]
    if labels.shape[1:] != size:
      raise UserError(
        f"{where}: masks are {labels.shape[1]}x{labels.shape[2]} pixels, images"
        f" {size[0]}x{size[1]}"
      )
    parts.append(Split(images, without_number(labels, ignore)))
  first = parts[0].images[0]
  if sum(len(one.labels) for one in parts) * first.nbytes <= resident_bytes:
    parts = [one._replace(images=materialise(one.images)) for one in parts]
  names = _names(features[mask_key], [one.labels for one in parts], ignore)
  return Dataset(name, len(names), names, first.shape, *parts)


def _keys(info: Any, name: str, mask: str) -> tuple[str, str]:
  """Which features are the image and its mask."""
  features = info.features
  there = ", ".join(features) if hasattr(features, "items") else str(features)
  masks = [mask] if mask else [key for key in MASKS if key in features]
  if not masks or masks[0] not in features:
    what = f"a feature {mask!r}" if mask else f"a mask ({' or '.join(MASKS)})"
    raise UserError(
      f"data set {name!r} has not {what}; it has {there};"
      f" tfds_masks({name!r}, mask='FEATURE') names one"
    )
  images = [
    key for key, one in features.items() if is_image(one) and key not in MASKS
  ]
  images = [key for key in images if key != masks[0]]
  if "image" in images:
    images = ["image"]
  if len(images) != 1:
    raise UserError(f"data set {name!r}: which is its image? It has {there}")
  return images[0], masks[0]


def _read(
  source: Any, feature: Any, key: str, size: int | None, where: str
) -> np.ndarray:
  """(N, H, W) int16 class numbers of one split."""
  from tensorflow_datasets import decode
  from tensorflow_datasets import features as kinds

  reader = kinds.FeaturesDict({key: feature})
  is_file = isinstance(feature, kinds.Image)
  decoders = {key: decode.SkipDecoding()} if is_file else None
  masks = None
  for index in range(len(source)):
    try:
      row = reader.deserialize_example_np(source[index], decoders=decoders)
      ids = read_mask(io.BytesIO(row[key])) if is_file else _numbers(row[key])
      ids = ids if size is None else nearest(ids, size)
    except Exception as error:  # damaged rows raise anything
      raise UserError(
        f"{where}: cannot read the mask of example {index}: {first_line(error)}"
      ) from error
    if masks is None:
      masks = np.empty((len(source), *ids.shape), np.int16)
    if ids.shape != masks.shape[1:]:
      raise UserError(
        f"{where}: the mask of example {index} is {ids.shape[0]}x{ids.shape[1]}"
        f" pixels, the first {masks.shape[1]}x{masks.shape[2]}; --image_size=SIZE"
        " makes all SIZE x SIZE"
      )
    masks[index] = ids
  return masks


def _numbers(mask: Any) -> np.ndarray:
  """A mask that is stored as numbers, (H, W)."""
  mask = np.asarray(mask)
  if mask.dtype.kind not in "iub" or mask.size != np.prod(mask.shape[:2]):
    raise ValueError(
      f"a mask has one whole number a pixel, got {mask.dtype} of shape {mask.shape}"
    )
  mask = mask.reshape(mask.shape[:2]).astype(np.int64)
  if mask.min() < UNKNOWN or mask.max() > IGNORE:
    raise ValueError(f"classes are 0 to 254, got {mask.min()} to {mask.max()}")
  return mask.astype(np.int16)


def _names(
  feature: Any, labels: list[np.ndarray], ignore: int
) -> tuple[str, ...]:
  """Of a feature that names them, or their numbers."""
  names = tuple(map(str, getattr(feature, "names", None) or ()))
  names = (*names[:ignore], *names[ignore + 1 :])
  if names:
    return names
  count = max(int(np.where(one == IGNORE, -1, one).max()) for one in labels) + 1
  return tuple(map(str, range(max(count, 1))))
