"""Images that show nothing of any data set: patches of photographs, noise."""

import numpy as np

from kdjax.core import checks
from kdjax.data.dataset import Dataset, Split
from kdjax.data.images import pixels
from kdjax.data.registry import register

SIZE = 28
TEST = 100


@register("photo_patches")
def photo_patches(
  count: int = 4000, seed: int = 0, *, image_size: int | None = None
) -> Dataset:
  """Cuts squares out of the two photographs that scikit-learn ships.

  A temple and a flower: real images without any object of a data set. The side
  of a square is log-uniform between the image size (28 by default) and the
  photograph's height, its place uniform; half of them are mirrored.

  Args:
    count: patches in the training split, >= 1.
    seed: >= 0.

  Returns:
    The data set, of the single class "patch".

  Source:
    Distillation on patches of a single photograph: Asano and Saeed 2021,
    arXiv:2112.00725.
  """
  checks.whole_number("count", count)
  checks.whole_number("seed", seed, least=0)
  from sklearn.datasets import load_sample_images

  photos = load_sample_images().images
  size = image_size or SIZE
  rng = np.random.default_rng(seed)

  def patch():
    photo = photos[rng.integers(len(photos))]
    shorter_side = min(photo.shape[:2])
    side = int(
      np.exp(rng.uniform(np.log(min(size, shorter_side)), np.log(shorter_side)))
    )
    top, left = (rng.integers(0, n - side + 1) for n in photo.shape[:2])
    square = photo[top : top + side, left : left + side]
    return pixels.resize(square[:, :: rng.choice([-1, 1])], size)

  images = np.stack([patch() for _ in range(count + TEST)])
  return _dataset("photo_patches", "patch", images)


@register("noise_images")
def noise_images(
  count: int = 4000, seed: int = 0, *, image_size: int | None = None
) -> Dataset:
  """Draws every pixel uniformly: what a student can learn from no image at all.

  Args:
    count: images in the training split, >= 1.
    seed: >= 0.
    image_size: side of the images, pixels; 28 by default.

  Returns:
    The data set, of the single class "noise".
  """
  checks.whole_number("count", count)
  checks.whole_number("seed", seed, least=0)
  size = image_size or SIZE
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (count + TEST, size, size, 1), np.uint8)
  return _dataset("noise_images", "noise", images)


def _dataset(name: str, label: str, images: np.ndarray) -> Dataset:
  labels = np.zeros(len(images), np.int32)
  train, test = (
    Split(images[part], labels[part])
    for part in (slice(-TEST), slice(-TEST, None))
  )
  return Dataset(name, 1, (label,), images.shape[1:], train, test)
