"""Where the object is: masks of a TFDS split, from masks or boxes."""

import io
from typing import Any

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data.images import pixels
from kdjax.data.whole import first_line

MASKS = ("mask", "segmentation_mask")
OBJECTS = "objects"
BOXES = ("bbox", OBJECTS)


def find_region(info: Any, name: str) -> str:
  """Finds the feature that says where the object is.

  Returns:
    Its key: a mask ("mask", "segmentation_mask"), a box ("bbox") or a sequence
    of boxes ("objects"); masks before boxes.
  """
  for key in (*MASKS, *BOXES):
    if key in info.features:
      return key
  raise UserError(
    f"data set {name!r} says of no object where it is: it needs a feature"
    f" {', '.join((*MASKS, *BOXES))}; it has {', '.join(info.features)}"
  )


class TfdsMasks:
  """The masks of one split; each is read when it is asked for.

  Of several boxes the largest counts. Masks are cut and scaled as images are.

  Args:
    source: TFDS data source that returns serialised examples.
  """

  def __init__(
    self,
    source: Any,
    features: Any,
    image_key: str,
    region: str,
    size: int | None,
    where: str,
  ):
    from tensorflow_datasets import decode
    from tensorflow_datasets import features as kinds

    self._source, self._region, self._size = source, region, size
    self._image, self._where = image_key, where
    keys = {region, image_key}
    self._reader = kinds.FeaturesDict({key: features[key] for key in keys})
    # The image is only asked for its size and how it is turned: files need not
    # be decoded.
    self._decoders = {
      key: decode.SkipDecoding()
      for key in keys
      if isinstance(features[key], kinds.Image)
    }

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> np.ndarray:
    try:
      row = self._reader.deserialize_example_np(
        self._source[index], decoders=self._decoders or None
      )
      mask = self._upright(self._mask(row), row[self._image])
    except Exception as error:  # damaged rows raise anything
      raise UserError(
        f"{self._where}: cannot read the mask of example {index}:"
        f" {first_line(error)}"
      ) from error
    if self._size is not None:
      mask = pixels.resize(255 * mask[..., None].astype(np.uint8), self._size)
      return mask[..., 0] > 127
    return mask

  def _mask(self, row) -> np.ndarray:
    """(H, W) bool, of the image's own size."""
    if self._region in MASKS:
      mask = row[self._region]
      if self._region in self._decoders:
        # What is transparent in a mask is no object.
        mask = pixels.decode(io.BytesIO(mask), 1, background=pixels.BLACK)
      mask = np.asarray(mask)
      return mask.reshape(mask.shape[:2]) > 0
    boxes = row[self._region]
    boxes = boxes["bbox"] if isinstance(boxes, dict) else boxes
    height, width = self._image_size(row[self._image])
    boxes = np.reshape(boxes, (-1, 4))
    mask = np.zeros((height, width), bool)
    if len(boxes):
      top, left, bottom, right = boxes[largest(boxes)]
      mask[
        round(top * height) : round(bottom * height),
        round(left * width) : round(right * width),
      ] = True
    return mask

  def _image_size(self, image) -> tuple[int, int]:
    if self._image not in self._decoders:
      return np.shape(image)[:2]
    with pixels.open_image(io.BytesIO(image)) as file:
      return file.size[::-1]

  def _upright(self, mask: np.ndarray, image) -> np.ndarray:
    """Turns a mask as its image is turned: it lies on the stored pixels."""
    from PIL import Image

    if self._image not in self._decoders:
      return mask
    with pixels.open_image(io.BytesIO(image)) as file:
      orientation = pixels.orientation(file)
    return np.asarray(pixels.turn_upright(Image.fromarray(mask), orientation))


def largest(boxes: np.ndarray) -> int:
  """Returns which box has the largest area.

  Args:
    boxes: (K, 4) float in [0, 1]: top, left, bottom, right; K >= 1.
  """
  boxes = np.asarray(boxes)
  sides = boxes[:, 2:] - boxes[:, :2]
  return int(np.argmax(sides[:, 0] * sides[:, 1]))
