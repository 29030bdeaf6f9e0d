"""Folders of images and masks: one image of class numbers beside each image."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from kdjax.core.errors import StorageError, UserError, quantity
from kdjax.data.dataset import Dataset, opening
from kdjax.data.images import pixels
from kdjax.data.images.image_folder import open_files
from kdjax.data.labelled import Classes, hold_out
from kdjax.data.listing import (
  Folder,
  ImageFiles,
  Listing,
  find_roles,
  listed,
  look,
)
from kdjax.data.naming import distinct, printable
from kdjax.data.whole import first_line

IMAGES, MASKS, NAMES = "images", "masks", "classes.txt"
# What masks have where a pixel does not count, or where nobody knows its class.
IGNORE, UNKNOWN = 255, -1
# Formats that change no number.
_LOSSLESS = {".png", ".apng", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".pgm"}
# Pillow's modes of one number a pixel.
_MODES = ("1", "L", "P")


class Pairs(NamedTuple):
  """Images of a split, and the mask of each."""

  images: tuple[str, ...]
  masks: tuple[str, ...]


def is_mask_folder(path: Path) -> bool:
  """Says whether a folder has images/ and masks/, itself or in train/.

  Example:
    >>> is_mask_folder(Path("nowhere"))
    False
  """
  if not path.is_dir():
    return False
  if _has_both(path):
    return True
  return any(
    one.name.lower() in ("train", "training") and _has_both(one)
    for one in path.iterdir()
  )


def open_mask_folder(
  path: Path,
  name: str,
  *,
  image_size: int | None,
  resident_bytes: int,
  background: tuple[int, int, int] = pixels.WHITE,
  ignore: int = IGNORE,
) -> Dataset:
  """Opens a folder of images with a class at every pixel.

  `path/images/a.jpg` with `path/masks/a.png` (about a fifth is test, by a hash of the
  names), `path/train/images/`, `path/train/masks/` and the same of test/ or val/, or
  `path/images/train/`, `path/masks/train/` and so on. A mask is grey or of a palette,
  its numbers are the classes from 0 on; 255 does not count. `path/classes.txt`, if it
  is there, names them, one a line.

  Args:
    image_size: makes images and masks image_size x image_size, as of other folders; a
      mask takes the nearest pixel.
    ignore: a number that does not count either, see `without_number`.

  Returns:
    The data set; its labels are (N, H, W) int16, in memory.

  Raises:
    UserError: for an image without a mask, another size of both, a mask that has
      colours or numbers that are no classes; names the file.
  """
  check_ignore(ignore)
  splits, notes = _splits(look(path))
  with opening():
    labels = [
      without_number(_read_masks(pairs, image_size), ignore) for pairs in splits
    ]
  names = _class_names(path, splits, labels)
  train, test = (
    Listing(pairs.images, values)
    for pairs, values in zip(splits, labels, strict=True)
  )
  files = ImageFiles(names, train, test, notes + _untested(names, labels))
  return open_files(
    files,
    name,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
  )


def read_mask(
  file: str | os.PathLike | BinaryIO, size: int | None = None
) -> np.ndarray:
  """Reads the class numbers of an image file, as they are stored.

  Args:
    size: side of the middle square's scaled copy; None keeps the mask's own size.

  Returns:
    (H, W) uint8.

  Raises:
    OSError: if it is no image, or is cut short.
    ValueError: if it has colours, or more than 8 bits.
  """
  with pixels.open_image(file) as image:
    if image.mode not in _MODES:
      raise ValueError(
        f"a mask has one number of 8 bits a pixel, grey or of a palette; it is"
        f" {image.mode}"
      )
    ids = np.asarray(image).astype(np.uint8)
  return ids if size is None else nearest(ids, size)


def check_ignore(ignore: int) -> None:
  """Refuses what is no number of a mask."""
  if not isinstance(ignore, int) or not 0 <= ignore <= IGNORE:
    raise UserError(
      f"ignore is a number of the masks that does not count, 0 to {IGNORE}, got"
      f" {ignore!r}"
    )


def without_number(masks: np.ndarray, ignore: int) -> np.ndarray:
  """Makes of masks those in which a number does not count; larger ones move down.

  Args:
    masks: (N, H, W) int16.
    ignore: the number.

  Returns:
    (N, H, W) int16, `IGNORE` where it was.

  Example:
    >>> without_number(np.array([[[0, 1, 2, 255]]], np.int16), 0).tolist()
    [[[255, 0, 1, 255]]]
  """
  if ignore == IGNORE:
    return masks
  counts = masks != IGNORE
  lower = masks - np.int16(1)
  moved = np.where(counts & (masks > ignore), lower, masks)
  return np.where(masks == ignore, np.int16(IGNORE), moved)


def nearest(ids: np.ndarray, size: int) -> np.ndarray:
  """Cuts the middle square out of class numbers and scales it, without mixing them.

  Args:
    ids: (H, W) of 8 or 16 bits.

  Returns:
    (size, size), of the same type.

  Example:
    >>> nearest(np.array([[0, 0, 1, 1, 9]] * 4, np.uint8), 2).tolist()
    [[0, 1], [0, 1]]
  """
  height, width = ids.shape
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  places = ((np.arange(size) + 0.5) * (side / size)).astype(int)
  return ids[top + places[:, None], left + places[None, :]]


def _has_both(path: Path) -> bool:
  return (path / IMAGES).is_dir() and (path / MASKS).is_dir()


def _splits(root: Folder) -> tuple[list[Pairs], tuple[str, ...]]:
  """Pairs of train and test, and what is not used."""
  if not _has_both(root.path):
    roles = find_roles(root)
    test = roles.get("test", roles.get("val"))
    parts = [
      _pairs(root.path / name / IMAGES, root.path / name / MASKS)
      for name in (roles["train"], test)
    ]
    unused = sorted(set(root.folders) - {roles["train"], test})
    return parts, _not_used(unused)
  images = look(root.path / IMAGES)
  roles = find_roles(images)
  if roles:
    test = roles.get("test", roles.get("val"))
    parts = [
      _pairs(images.path / name, root.path / MASKS / name)
      for name in (roles["train"], test)
    ]
    return parts, _not_used(
      sorted(set(images.folders) - {roles["train"], test})
    )
  everything = _pairs(images.path, root.path / MASKS)
  stems = [Path(file).stem for file in everything.images]
  is_test = hold_out(
    stems,
    Classes(("any",), np.zeros(len(stems), np.int32)),
    f"mask folder {root.path}",
    "give train/ and test/ folders of images/ and masks/",
    noun="image",
  )
  return [
    Pairs(*(tuple(np.array(part)[keep].tolist()) for part in everything))
    for keep in (~is_test, is_test)
  ], ()


def _not_used(names: Sequence[str]) -> tuple[str, ...]:
  return (f"not used: {listed(f'{name}/' for name in names)}",) * bool(names)


def _pairs(images: Path, masks: Path) -> Pairs:
  """Each image of a folder with the mask of its name."""
  for folder in (images, masks):
    if not folder.is_dir():
      raise UserError(f"mask folder {folder}: there is no such directory")
  by_stem = _by_stem(look(masks))
  pictures = _by_stem(look(images))
  if not pictures:
    raise UserError(f"mask folder {images}: there is no image in it")
  for stem, file in pictures.items():
    if stem not in by_stem:
      near = [one for one in by_stem if one.startswith(f"{stem}_")]
      near = near or difflib.get_close_matches(stem, by_stem, n=1)
      hint = f"; there is {by_stem[near[0]]}" if near else ""
      raise UserError(
        f"{images / file} has no mask: {masks} has no {printable(stem)}.png{hint}"
      )
    if Path(by_stem[stem]).suffix.lower() not in _LOSSLESS:
      raise UserError(
        f"{masks / by_stem[stem]}: such files change numbers a little, and a mask's"
        " are classes; store masks as .png"
      )
  return Pairs(
    tuple(str(images / file) for file in pictures.values()),
    tuple(str(masks / by_stem[stem]) for stem in pictures),
  )


def _by_stem(folder: Folder) -> dict[str, str]:
  files = {}
  for file in folder.files:
    stem = Path(file).stem
    if stem in files:
      raise UserError(
        f"mask folder {folder.path}: {files[stem]} and {file} have one name; which"
        " of them is meant?"
      )
    files[stem] = file
  return files


def _read_masks(pairs: Pairs, size: int | None) -> np.ndarray:
  """(N, H, W) int16, each as large as its image."""
  first, masks = None, None
  for i, (file, mask_file) in enumerate(zip(*pairs, strict=True)):
    mask = _read(mask_file)
    _check_size(file, mask_file, mask.shape)
    if size is not None:
      mask = nearest(mask, size)
    if first is None:
      first, masks = mask, np.empty((len(pairs.masks), *mask.shape), np.int16)
    if mask.shape != first.shape:
      raise UserError(
        f"{mask_file} is {mask.shape[0]}x{mask.shape[1]} pixels, the first mask"
        f" {first.shape[0]}x{first.shape[1]}; --image_size=SIZE makes all SIZE x SIZE"
      )
    masks[i] = mask
  return masks


def _read(file: str) -> np.ndarray:
  try:
    return read_mask(file)
  except Exception as error:  # damaged files raise anything
    raise StorageError(
      f"cannot read the mask {file}: {first_line(error)}"
    ) from error


def _check_size(file: str, mask_file: str, shape: tuple[int, ...]) -> None:
  """Refuses a mask that is not as large as its image is shown, upright."""
  try:
    with pixels.open_image(file) as image:
      turned = pixels.orientation(image) > 4
      width, height = image.size[::-1] if turned else image.size
  except Exception as error:  # damaged files raise anything
    raise StorageError(
      f"cannot read the image {file}: {first_line(error)}"
    ) from error
  if shape != (height, width):
    raise UserError(
      f"{mask_file} is {shape[0]}x{shape[1]} pixels, its image {file}"
      f" {height}x{width}"
    )


def _class_names(
  path: Path, splits: Sequence[Pairs], labels: Sequence[np.ndarray]
) -> tuple[str, ...]:
  """Of classes.txt, or their numbers."""
  largest = [
    np.where(masks == IGNORE, UNKNOWN, masks).max(axis=(1, 2))
    for masks in labels
  ]
  file = path / NAMES
  if not file.is_file():
    count = int(max(one.max() for one in largest)) + 1
    if count < 2:
      there = "of one class, 0" if count else f"{IGNORE}, of no class"
      raise UserError(
        f"mask folder {path}: all pixels are {there}: there is nothing to tell apart"
      )
    return tuple(map(str, range(count)))
  try:
    lines = file.read_text(encoding="utf-8").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f"{file} cannot be read: {first_line(error)}") from error
  names = [line.strip() for line in lines if line.strip()]
  if not 2 <= len(names) <= IGNORE:
    raise UserError(
      f"{file} names {quantity(len(names), 'class', 'classes')}; 2 to {IGNORE} can be"
      " told apart"
    )
  for pairs, one in zip(splits, largest, strict=True):
    if (wrong := one >= len(names)).any():
      place = int(wrong.argmax())
      raise UserError(
        f"{pairs.masks[place]} has the class {one[place]}, and {file} names"
        f" {len(names)}, 0 to {len(names) - 1}"
      )
  return distinct(map(printable, names))


def _untested(
  names: Sequence[str], labels: Sequence[np.ndarray]
) -> tuple[str, ...]:
  train, test = (np.unique(one) for one in labels)
  notes = ()
  for missing, where in ((train, "training"), (test, "test")):
    absent = [name for i, name in enumerate(names) if i not in missing]
    if absent:
      notes += (f"no {where} pixel of {listed(absent)}",)
  return notes
