"""Decoding and resizing single images with Pillow."""

import functools
import os
import warnings
from typing import Any, BinaryIO

import numpy as np

from kdjax.core.errors import UserError

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
_COLOURS = {"white": WHITE, "black": BLACK}
_ORIENTATION = 0x0112  # EXIF's tag
# What makes an image of each EXIF orientation upright, as Pillow names it.
_UPRIGHT = {
  2: "FLIP_LEFT_RIGHT",
  3: "ROTATE_180",
  4: "FLIP_TOP_BOTTOM",
  5: "TRANSPOSE",
  6: "ROTATE_270",
  7: "TRANSVERSE",
  8: "ROTATE_90",
}


def decode(
  file: str | os.PathLike | BinaryIO,
  channels: int,
  size: int | None = None,
  *,
  background: tuple[int, int, int] = WHITE,
) -> np.ndarray:
  """Decodes an image file, of several frames the first.

  Grey, palette and CMYK files become what `channels` asks for; data sets of
  JPEGs contain some of each. An image that its EXIF orientation turns is
  turned, and one that is transparent is laid over the background, before it is
  cut and scaled: as every viewer shows it.

  Args:
    file: path or open file, of any format that Pillow reads.
    channels: 1, 3 or 4; with 4 the fourth is the opacity, over no background.
    size: side of the result; None keeps the image's own size.
    background: red, green and blue, 0 to 255.

  Returns:
    (H, W, channels) uint8.

  Raises:
    OSError: if it is no image, or is cut short.
    ValueError: if it has more than 8 bits a channel, or more pixels than
      Pillow decodes.
  """
  with open_image(file) as image:
    if image.mode.startswith(("I", "F")):
      # Pillow would clip 0..65535 to 0..255: nearly all white, and no error.
      raise ValueError(
        f"more than 8 bits a channel (Pillow's mode {image.mode}); store it"
        " with 8"
      )
    if size is not None:
      # JPEGs decode at 1/2, 1/4 or 1/8 of their size for a fraction of the cost.
      image.draft(None, (size, size))
    image.load()  # before the question: it turns TIFFs, and says so
    image = turn_upright(image, orientation(image))
    if channels != 4 and image.has_transparency_data:
      image = _laid_over(image, background)
    image = image.convert(_MODES[channels])
    if size is not None and channels in (1, 3):
      # Scaled before it becomes an array: a copy of all pixels less, and all
      # channels at once; the same bytes in 0.6 of the time.
      return with_channel_axis(np.asarray(_squared(image, size)))
    array = with_channel_axis(np.asarray(image))
  return array if size is None else resize(array, size)


def open_image(file: str | os.PathLike | BinaryIO) -> Any:
  """Opens an image file without decoding it."""
  from PIL import Image

  _silence()
  try:
    return Image.open(file)
  except (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # where a program makes warnings errors
  ) as error:
    most_pixels = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    raise ValueError(
      f"more than the {most_pixels:,} pixels that are decoded; store it smaller"
    ) from error


@functools.cache
def _silence() -> None:
  """Keeps Pillow from warning of large images that it decodes all the same."""
  from PIL import Image

  warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def orientation(image: Any) -> int:
  """Says how an image is to be turned.

  Returns:
    Its EXIF orientation, 1 to 8; 1 is upright, and stands for damaged ones.
  """
  try:
    return int(image.getexif().get(_ORIENTATION, 1))
  except Exception:  # damaged EXIF raises anything, and the pixels are whole
    return 1


def turn_upright(image: Any, orientation: int) -> Any:
  """Turns a Pillow image upright.

  Args:
    orientation: EXIF's, 1 to 8; others mean nothing.

  Returns:
    A Pillow image, the given one where it is upright.

  Example:
    >>> from PIL import Image
    >>> turn_upright(Image.new("L", (6, 4)), 8).size
    (4, 6)
  """
  from PIL import Image

  method = _UPRIGHT.get(orientation)
  return image.transpose(Image.Transpose[method]) if method else image


def _laid_over(image: Any, background: tuple[int, int, int]) -> Any:
  from PIL import Image

  image = image.convert("RGBA")
  below = Image.new("RGBA", image.size, (*background, 255))
  return Image.alpha_composite(below, image).convert("RGB")


def colour(text: str) -> tuple[int, int, int]:
  """Reads a background.

  Args:
    text: `white`, `black`, or red, green and blue of 0 to 255.
  """
  if text in _COLOURS:
    return _COLOURS[text]
  parts = [part.strip() for part in text.split(",")]
  if len(parts) == 3 and all(
    part.isascii() and part.isdigit() and int(part) < 256 for part in parts
  ):
    red, green, blue = map(int, parts)
    return red, green, blue
  raise UserError(
    f"--background={text}: give white, black, or red,green,blue of 0 to 255,"
    " such as 128,128,128"
  )


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
