"""Decoding and resizing single images with Pillow."""

import os
from typing import BinaryIO

import numpy as np

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode(
  file: str | os.PathLike | BinaryIO, channels: int, size: int | None = None
) -> np.ndarray:
  """Decodes an image file.

  Grey, palette and CMYK files become what `channels` asks for; data sets of
  JPEGs contain some of each.

  Args:
    file: path or open file, of any format that Pillow reads.
    channels: 1, 3 or 4.
    size: side of the result; None keeps the image's own size.

  Returns:
    (H, W, channels) uint8.

  Raises:
    OSError: if it is no image, or is cut short.
    ValueError: if it has more than 8 bits a channel.
  """
  from PIL import Image

  with Image.open(file) as image:
    if image.mode.startswith(("I", "F")):
      # Pillow would clip 0..65535 to 0..255: nearly all white, and no error.
      raise ValueError(
        f"more than 8 bits a channel (Pillow's mode {image.mode}); store it"
        " with 8"
      )
    if size is not None:
      # JPEGs decode at 1/2, 1/4 or 1/8 of their size for a fraction of the cost.
      image.draft(None, (size, size))
    image = image.convert(_MODES[channels])
    if size is not None and channels in (1, 3):
      # Scaled before it becomes an array: a copy of all pixels less, and all
      # channels at once; the same bytes in 0.6 of the time.
      return with_channel_axis(np.asarray(_squared(image, size)))
    array = with_channel_axis(np.asarray(image))
  return array if size is None else resize(array, size)


def resize(image: np.ndarray, size: int) -> np.ndarray:
  """Cuts the middle square out and scales it to `size`.

  Args:
    image: (H, W, C) uint8 or float32.
    size: side of the result, >= 1.

  Returns:
    (size, size, C), same dtype; bilinear, with antialiasing when shrinking. An
    image of that size is returned as it is.
  """
  from PIL import Image

  height, width, channels = image.shape
  if (height, width) == (size, size):
    return image
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  middle = image[top : top + side, left : left + side]
  scaled = [
    Image.fromarray(middle[:, :, channel]).resize(
      (size, size), Image.Resampling.BILINEAR
    )
    for channel in range(channels)
  ]
  return np.stack([np.asarray(channel) for channel in scaled], axis=-1)


def _squared(image, size: int):
  """As `resize`, of a Pillow image."""
  from PIL import Image

  if image.size == (size, size):
    return image
  width, height = image.size
  side = min(height, width)
  top, left = (height - side) // 2, (width - side) // 2
  middle = image.crop((left, top, left + side, top + side))
  return middle.resize((size, size), Image.Resampling.BILINEAR)


def with_channel_axis(image: np.ndarray) -> np.ndarray:
  """Adds the channel axis that grey images come without.

  Args:
    image: (H, W) or (H, W, C).

  Returns:
    (H, W, 1) or the (H, W, C) array itself.
  """
  return image[..., None] if image.ndim == 2 else image
