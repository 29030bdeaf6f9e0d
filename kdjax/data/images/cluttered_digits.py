"""cluttered_digits: MNIST digits on cluttered textures, with masks (TFDS builder)."""

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from kdjax.data.images.mnist5k import Mnist5k
from kdjax.data.subsets import every_fifth

SIZE = 48
AMPLITUDE = 0.35
PATCHES, PATCH = 3, 8
INK = 0.2
# Examples of each split, what is behind the digits, and a seed.
SPLITS = {
  "train": (3000, "any texture", 1),
  "spurious": (3000, "the digit's texture", 2),
  "teacher": (9000, "any texture", 3),
  "test": (1000, "any texture", 4),
  "plain": (3000, "nothing", 5),
  "plain_teacher": (9000, "nothing", 6),
  "plain_test": (1000, "nothing", 7),
}


class ClutteredDigits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Digits of mnist5k at random places of a textured, cluttered canvas.

  The background is a sinusoid in one of ten directions and periods, with three
  8x8 pieces of other digits on it. `mask` is 1 where the digit has ink. In
  `train`, `teacher` and `test` the texture is drawn at random; in `spurious`
  digit k always stands on texture k, so that a net can be right for the wrong
  reason. In `plain`, `plain_teacher` and `plain_test` there is nothing but the
  digit. The two test sets are made of the test digits of mnist5k, all else of
  its training digits.
  """

  name = "cluttered_digits"
  VERSION = tfds.core.Version("1.1.0")
  RELEASE_NOTES = {"1.0.0": "First.", "1.1.0": "Splits without background."}

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=features.FeaturesDict(
        {
          "image": features.Tensor(shape=(SIZE, SIZE, 1), dtype=np.uint8),
          "label": features.ClassLabel(num_classes=10),
          "mask": features.Tensor(shape=(SIZE, SIZE), dtype=np.uint8),
        }
      ),
      supervised_keys=("image", "label"),
      homepage=Mnist5k.HOMEPAGE,
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    images, labels = Mnist5k.arrays(Mnist5k)
    is_test = every_fifth(labels)
    return {
      split: self._generate_examples(images, labels, is_test, split)
      for split in SPLITS
    }

  def _generate_examples(self, images, labels, is_test, split):
    count, background, seed = SPLITS[split]
    pool = np.flatnonzero(is_test if split.endswith("test") else ~is_test)
    rng = np.random.default_rng(seed)
    # Every digit of the pool in turn: the test set shows each test digit once.
    order = np.resize(rng.permutation(pool), count)
    for number, place in enumerate(order.tolist()):
      label = int(labels[place])
      texture, others = None, ()
      if background != "nothing":
        from_label = background == "the digit's texture"
        texture = label if from_label else int(rng.integers(10))
        others = images[rng.choice(pool[labels[pool] != label], PATCHES)]
      image, mask = compose(images[place], others, texture, rng)
      yield number, {"image": image, "label": label, "mask": mask}


def compose(
  digit: np.ndarray,
  others: Sequence[np.ndarray],
  texture: int | None,
  rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
  """Pastes a digit on a cluttered background.

  Args:
    digit: (28, 28, 1) uint8.
    others: (28, 28, 1) uint8 each, digits to take pieces from.
    texture: which of the ten; None for black.

  Returns:
    (48, 48, 1) uint8 image and (48, 48) uint8 mask, 1 where the digit has ink.
  """
  canvas = np.zeros((SIZE, SIZE)) if texture is None else _wave(texture, rng)
  for other in others:
    # From the middle, where there is ink.
    row, column = rng.integers(4, 28 - 4 - PATCH, 2)
    piece = other[row : row + PATCH, column : column + PATCH, 0] / 255
    _paste(canvas, piece, rng.integers(0, SIZE - PATCH + 1, 2))
  place = rng.integers(0, SIZE - len(digit) + 1, 2)
  ink = digit[..., 0] / 255
  _paste(canvas, ink, place)
  mask = np.zeros((SIZE, SIZE), np.uint8)
  _paste(mask, (ink > INK).astype(np.uint8), place)
  return np.rint(255 * canvas).astype(np.uint8)[..., None], mask


def _wave(texture: int, rng: np.random.Generator) -> np.ndarray:
  angle, period = np.pi * texture / 10, 6 + 2 * (texture % 3)
  collectives = np.arange(SIZE)[None] * np.cos(angle)
  down = np.arange(SIZE)[:, None] * np.sin(angle)
  phase = rng.uniform(0, 2 * np.pi)
  wave = np.sin(2 * np.pi * (collectives + down) / period + phase)
  return AMPLITUDE * (0.5 + 0.5 * wave)


def _paste(canvas, piece, place) -> None:
  row, column = place
  window = canvas[row : row + len(piece), column : column + piece.shape[1]]
  np.maximum(window, piece, out=window)
