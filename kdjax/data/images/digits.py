"""digits: 1,797 handwritten digits of 8x8 pixels (TFDS builder)."""

import numpy as np

from kdjax.data.images.embedded import Embedded


class Digits(Embedded):
  """The optical digits that scikit-learn ships, for tests and first steps.

  The grey values 0..16 are stored as 0..255: value * 255 / 16, rounded. Within
  each class every fifth image is a test image.
  """

  SHAPE = (8, 8, 1)
  HOMEPAGE = "https://archive.ics.uci.edu/dataset/80"

  def arrays(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (1797, 8, 8, 1) uint8 and labels (1797,) int."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return images[..., None], digits.target
