"""Refusing data that would train without complaint and mean nothing."""

from collections.abc import Mapping

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.dataset import Dataset, Split, is_of_maps, resident

# Finite-ness is checked in chunks: a mask over all pixels would cost a quarter
# of the images' memory.
_CHUNK = 1024


def check(dataset: Dataset) -> None:
  """Checks labels and images.

  Resident images are all looked at. Of others the first of each split is, and
  the rest as they are read (`check_image`).
  """
  if len(dataset.class_names) != dataset.classes:
    raise UserError(
      f"{dataset.name}: {len(dataset.class_names)} class names for"
      f" {dataset.classes} classes"
    )
  for name, split in (("train", dataset.train), ("test", dataset.test)):
    where = f"{dataset.name}, {name} split"
    if is_of_maps(dataset):
      _check_maps(split, dataset, where)
    elif dataset.task is None and split.labels.dtype == np.float32:
      _check_numbers(split, dataset.classes, where)
    elif dataset.task is None and split.labels.ndim > 1:
      _check_answers(split, dataset.classes, where)
    elif dataset.task is None or dataset.task.kind == "categories":
      _check_labels(split, dataset.classes, where)
    else:
      _check_targets(split, where)
    _check_beside(split, len(dataset.group_names), where)
    if isinstance(split.images, Mapping):
      _check_arrays(split, dataset.image_shape, where)
    else:
      _check_images(split, dataset.image_shape, where)


def check_image(
  image: np.ndarray, shape: tuple[int, ...], where: str, example: int
) -> None:
  """Checks one image.

  Args:
    shape: (H, W, C) that it should have.
    where: data set and split, for the message.
  """
  if image.shape != tuple(shape):
    raise UserError(
      f"{where}: example {example} has shape {_written(image.shape)} where"
      f" {_written(shape)} was expected; --image_size=SIZE makes all images"
      " SIZE x SIZE"
    )
  _check_dtype(image.dtype, where)
  if image.dtype != np.uint8 and not np.isfinite(image).all():
    raise UserError(f"{where}: example {example} holds NaN or infinite pixels")


def _check_targets(split: Split, where: str) -> None:
  """Checks the targets of a task that is no classification."""
  targets = split.labels
  if targets.dtype not in (np.int32, np.float32) or not targets.ndim:
    raise UserError(
      f"{where}: targets must be an array of float32 or int32, got"
      f" {targets.dtype} of shape {_written(targets.shape)}"
    )
  _check_count(split, where)
  if not np.isfinite(targets).all():
    example = int(np.argwhere(~np.isfinite(targets))[0, 0])
    raise UserError(
      f"{where}: example {example} has a target that is no number"
    )


def _check_numbers(split: Split, count: int, where: str) -> None:
  """Checks labels of numbers, of which nan are not known."""
  labels = split.labels
  if labels.shape[1:] != (count,):
    raise UserError(
      f"{where}: labels of numbers must be float32 of shape (N, {count}), got"
      f" {labels.dtype} of shape {_written(labels.shape)}"
    )
  _check_count(split, where)
  if np.isinf(labels).any():
    example = int(np.argwhere(np.isinf(labels))[0, 0])
    raise UserError(f"{where}: example {example} has an infinite label")


def _check_maps(split: Split, dataset: Dataset, where: str) -> None:
  """Checks labels of a class at every pixel."""
  labels, size = split.labels, tuple(dataset.image_shape[:2])
  if labels.dtype.kind != "i" or labels.shape[1:] != size:
    raise UserError(
      f"{where}: a class at every pixel takes whole numbers with a sign, of shape"
      f" {_written(('N', *size))}, got {labels.dtype} of shape"
      f" {_written(labels.shape)}"
    )
  _check_count(split, where)
  border = 255 if dataset.task is None else dataset.task.border_target
  for start in range(0, len(labels), _CHUNK):
    part = labels[start : start + _CHUNK]
    wrong = (part < -1) | ((part >= dataset.classes) & (part != border))
    if wrong.any():
      place = tuple(np.argwhere(wrong)[0])
      raise UserError(
        f"{where}: example {start + int(place[0])} has the class {part[place]};"
        f" classes are 0 to {dataset.classes - 1}, {border} does not count and -1 is"
        " not known"
      )


def _check_answers(split: Split, count: int, where: str) -> None:
  """Checks several labels of yes and no."""
  labels = split.labels
  if labels.shape[1:] != (count,) or labels.dtype != np.int32:
    raise UserError(
      f"{where}: several labels must be int32 of shape (N, {count}), got"
      f" {labels.dtype} of shape {_written(labels.shape)}"
    )
  _check_count(split, where)
  wrong = ~np.isin(labels, (1, 0, -1))
  if wrong.any():
    raise UserError(
      f"{where}: example {int(np.argwhere(wrong)[0, 0])} has a label of"
      f" {labels[wrong][0]}; yes is 1, no 0, and what is not known -1"
    )


def _check_beside(split: Split, groups: int, where: str) -> None:
  """Checks weights and groups, where there are some."""
  count, weight, group = len(split.labels), split.weight, split.group
  if weight is not None:
    if weight.shape != (count,) or weight.dtype != np.float32:
      raise UserError(
        f"{where}: weights must be float32 of shape ({count},), got"
        f" {weight.dtype} of shape {_written(weight.shape)}"
      )
    wrong = ~(np.isfinite(weight) & (weight > 0))
    if wrong.any():
      example = int(wrong.argmax())
      raise UserError(
        f"{where}: example {example} has the weight {weight[example]:g}; a weight"
        " is > 0, and what counts nowhere is left out"
      )
  if group is not None:
    if group.shape != (count,) or group.dtype != np.int32:
      raise UserError(
        f"{where}: groups must be int32 of shape ({count},), got {group.dtype} of"
        f" shape {_written(group.shape)}"
      )
    wrong = (group < 0) | (group >= groups)
    if wrong.any():
      example = int(wrong.argmax())
      raise UserError(
        f"{where}: example {example} has the group {group[example]}; there are"
        f" {quantity(groups, 'group name')}"
      )


def _check_count(split: Split, where: str) -> None:
  labels = split.labels
  if not len(labels):
    raise UserError(f"{where}: there is no example")
  by_name = isinstance(split.images, Mapping)
  for name, x in (
    split.images.items() if by_name else [("images", split.images)]
  ):
    if len(x) != len(labels):
      raise UserError(f"{where}: {len(x)} {name} but {len(labels)} labels")


def _check_labels(split: Split, classes: int, where: str) -> None:
  labels = split.labels
  if labels.ndim != 1 or labels.dtype != np.int32:
    raise UserError(
      f"{where}: labels must be a vector of int32, got {labels.dtype} of shape"
      f" {_written(labels.shape)}"
    )
  _check_count(split, where)
  wrong = (labels < 0) | (labels >= classes)
  if wrong.any():
    example = int(wrong.argmax())
    raise UserError(
      f"{where}: example {example} has label {labels[example]}; labels must be"
      f" 0 to {classes - 1} ({wrong.sum()} of {len(labels)} are not)"
    )


def _check_arrays(
  split: Split, shapes: Mapping[str, tuple[int, ...]], where: str
) -> None:
  """Checks inputs that are arrays by name."""
  if split.images.keys() != shapes.keys():
    raise UserError(
      f"{where}: its inputs are {', '.join(split.images)}, where"
      f" {', '.join(shapes)} were expected, as in the other split"
    )
  for name, x in split.images.items():
    if x.shape[1:] != tuple(shapes[name]):
      raise UserError(
        f"{where}: {name} have shape {_written(x.shape[1:])} where"
        f" {_written(shapes[name])} was expected, as in the other split"
      )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
      example = int(np.argwhere(~np.isfinite(x))[0, 0])
      raise UserError(
        f"{where}: example {example} holds NaN or infinite {name}"
      )


def _check_images(split: Split, shape: tuple[int, ...], where: str) -> None:
  if not resident(split):
    check_image(split.images[0], shape, where, 0)
    return
  images = split.images
  if images.ndim != 4:
    raise UserError(
      f"{where}: images must have the shape (N, H, W, C), got"
      f" {_written(images.shape)}"
    )
  if images.shape[1:] != tuple(shape):
    raise UserError(
      f"{where}: images have shape {_written(images.shape[1:])} where"
      f" {_written(shape)} was expected, as in the other split"
    )
  _check_dtype(images.dtype, where)
  if images.dtype == np.uint8:
    return
  for start in range(0, len(images), _CHUNK):
    finite = np.isfinite(images[start : start + _CHUNK]).all(axis=(1, 2, 3))
    if not finite.all():
      example = start + int(finite.argmin())
      raise UserError(
        f"{where}: example {example} holds NaN or infinite pixels"
      )


def _check_dtype(dtype: np.dtype, where: str) -> None:
  if dtype not in (np.uint8, np.float32):
    raise UserError(f"{where}: images must be uint8 or float32, got {dtype}")


def _written(shape: tuple[int, ...]) -> str:
  return f"({', '.join(map(str, shape))})"
