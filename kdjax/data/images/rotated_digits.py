"""Digits turned by angles that are known: images with a number to predict."""

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset, Split
from kdjax.data.images import pixels
from kdjax.data.registry import register
from kdjax.data.tfds_folder import prepare_embedded


@register("rotated_digits")
def rotated_digits(degrees: float = 60.0, *, data_dir: str) -> Dataset:
  """5,000 MNIST digits, each turned by up to 60 degrees: the angle, a number.

  Args:
    degrees: the largest angle, in (0, 180].
    data_dir: where prepared data sets are.

  Returns:
    The data set, one for regression; see `rotate`.

  Raises:
    UserError: for an angle that is none.
  """
  number = isinstance(degrees, int | float) and not isinstance(degrees, bool)
  if not (number and 0 < degrees <= 180):
    raise UserError(
      f"rotated_digits: degrees must be a number in (0, 180], got {degrees!r}"
    )
  # Imported here: defining the builder needs TFDS.
  from kdjax.data import tfds_source
  from kdjax.data.images.mnist5k import Mnist5k

  digits = tfds_source.open_directory(
    prepare_embedded(Mnist5k, data_dir),
    "rotated_digits",
    splits=("train", "test"),
    image_size=None,
    resident_bytes=2 << 30,
    background=pixels.WHITE,
    masks=False,
  )
  return rotate(digits, degrees)


def rotate(dataset: Dataset, degrees: float) -> Dataset:
  """Turns every image by an angle of its own, which becomes its label.

  Angles are drawn once, evenly from -degrees to degrees, counter-clockwise; how
  people slant their digits remains as noise.

  Args:
    dataset: of (H, W, 1) uint8 images in memory.
    degrees: the largest angle.

  Returns:
    The data set with labels (N, 1) float32, degrees; one for regression.
  """
  splits = [
    _rotated(split, degrees, seed)
    for seed, split in enumerate((dataset.train, dataset.test))
  ]
  return dataset._replace(
    name="rotated_digits",
    classes=1,
    class_names=("angle",),
    train=splits[0],
    test=splits[1],
  )


def _rotated(split: Split, degrees: float, seed: int) -> Split:
  from PIL import Image

  count = len(split.images)
  angles = np.random.default_rng(seed).uniform(-degrees, degrees, count)
  turned = [
    Image.fromarray(image[..., 0]).rotate(
      float(angle), resample=Image.Resampling.BILINEAR
    )
    for image, angle in zip(split.images, angles, strict=True)
  ]
  images = np.stack([np.asarray(image) for image in turned])[..., None]
  return Split(images, np.float32(angles)[:, None])
