"""digits: 1,797 handwritten digits of 8x8 pixels (TFDS builder)."""

import numpy as np
import tensorflow_datasets as tfds

from kdjax.data.subsets import every_fifth


class Digits(tfds.core.GeneratorBasedBuilder):
  """The optical digits that scikit-learn ships, for tests and first steps.

  The grey values 0..16 are stored as 0..255: value * 255 / 16, rounded. Within
  each class every fifth image is a test image.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Every fifth image of each class is in test."}

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
          "label": tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=("image", "label"),
      homepage="https://archive.ics.uci.edu/dataset/80",
    )

  def _split_generators(self, dl_manager):
    from sklearn.datasets import load_digits

    del dl_manager  # nothing is downloaded
    digits = load_digits()
    scaled = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    images, labels = scaled[..., None], digits.target
    held = every_fifth(labels)
    return {
      "train": self._generate_examples(images, labels, np.flatnonzero(~held)),
      "test": self._generate_examples(images, labels, np.flatnonzero(held)),
    }

  def _generate_examples(self, images, labels, chosen):
    for index in chosen.tolist():
      yield index, {"image": images[index], "label": int(labels[index])}
