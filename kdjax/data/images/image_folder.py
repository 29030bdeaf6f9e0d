"""Image folders: one directory a class, read with Pillow."""

from pathlib import Path

import numpy as np

from kdjax.core.errors import StorageError, UserError
from kdjax.data.dataset import Dataset, Split, materialise, opening
from kdjax.data.images import pixels
from kdjax.data.listing import ImageFiles, list_images
from kdjax.data.whole import first_line


class FolderImages:
  """Images that are decoded when asked for; picklable.

  Args:
    shape: (H, W, C) that every image must have.
  """

  def __init__(
    self,
    files: tuple[str, ...],
    channels: int,
    size: int | None,
    shape: tuple[int, int, int],
    background: tuple[int, int, int] = pixels.WHITE,
  ):
    self._files, self._channels = files, channels
    self._size, self._shape = size, shape
    self._background = background

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, index: int) -> np.ndarray:
    file = self._files[index]
    image = _decode(file, self._channels, self._size, self._background)
    if image.shape != self._shape:
      height, width, _ = self._shape
      raise UserError(
        f"{file} is {image.shape[0]}x{image.shape[1]} pixels, the first image"
        f" {height}x{width}; --image_size=SIZE makes all SIZE x SIZE"
      )
    return image


def open_folder(
  path: Path,
  name: str,
  *,
  image_size: int | None,
  resident_bytes: int,
  background: tuple[int, int, int] = pixels.WHITE,
) -> Dataset:
  """Opens a folder of images.

  `path/CLASS/*.png` (about a fifth of each class is test, by a hash of the
  files' names), or `path/train/CLASS/*.png` and `path/test/CLASS/*.png` (or
  val). All images are grey if all are stored so, else RGB.

  Returns:
    The data set; classes in the order of their names.

  Raises:
    UserError: if there are no classes, one has no images, one cannot be read,
      or sizes differ and `image_size` is None.
  """
  if not path.is_dir():
    raise UserError(f"image folder {str(path)!r}: there is no such directory")
  return open_files(
    list_images(path),
    name,
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
  )


def open_files(
  files: ImageFiles,
  name: str,
  *,
  image_size: int | None,
  resident_bytes: int,
  background: tuple[int, int, int] = pixels.WHITE,
) -> Dataset:
  """Opens images whose files, classes and splits are known.

  Returns:
    The data set, with the arguments of `open_folder`.

  Raises:
    UserError: if one cannot be read, or sizes differ and `image_size` is None.
  """
  class_names, train, test, notes = files
  with opening():
    channels = _channels((*train.files, *test.files))
    shape = _decode(train.files[0], channels, image_size, background).shape
  size = (len(train.files) + len(test.files)) * int(np.prod(shape))
  splits = []
  for listing in (train, test):
    images = FolderImages(
      listing.files, channels, image_size, shape, background
    )
    images = materialise(images) if size <= resident_bytes else images
    splits.append(Split(images, listing.labels))
  return Dataset(name, len(class_names), class_names, shape, *splits, notes)


def _channels(files: tuple[str, ...]) -> int:
  """Returns 1 if all images are stored grey, else 3; reads headers alone."""
  # All of them, up to the first in colour: were one missed, it would be turned
  # to grey without a word.
  for file in files:
    try:
      with pixels.open_image(file) as image:
        if image.mode not in ("1", "L"):
          return 3
    except Exception as error:  # damaged files raise anything
      raise _unreadable(file, error) from error
  return 1


def _decode(file: str, channels: int, size: int | None, background):
  try:
    return pixels.decode(file, channels, size, background=background)
  except Exception as error:  # damaged files raise anything
    raise _unreadable(file, error) from error


def _unreadable(file: str, error: Exception) -> StorageError:
  return StorageError(f"cannot read the image {file}: {first_line(error)}")
