"""Images that are harder than those of the test set."""

import numpy as np

# Standard deviation of the noise and size of the shift, as shares of the range
# of pixels and of the image's side.
NOISE = 0.2
SHIFT = 0.1


def noisy(images, *, seed: int = 0) -> np.ndarray:
  """Adds Gaussian noise to every pixel of stored images, clipped, in their type."""
  whole = _whole(images)
  largest = 255 if whole.dtype == np.uint8 else 1
  random = np.random.default_rng(seed)
  noise = random.normal(0, NOISE * largest, whole.shape)
  noisy = np.clip(whole + noise, 0, largest)
  return (np.rint(noisy) if largest == 255 else noisy).astype(whole.dtype)


def shifted(
  images,
  *,
  seed: int = 0,
  border: int = 0,
  size: tuple[int, int] | None = None,
) -> np.ndarray:
  """Moves every image by a tenth of its side, in one of eight directions.

  Args:
    images: (N, H, W, ...), or maps of targets.
    border: what enters.
    size: of the images whose middle these are; their own by default.
  """
  whole = _whole(images)
  height, width = whole.shape[1:3]
  directions = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
  choices = np.random.default_rng(seed).integers(0, 8, len(whole))
  down, right = (
    max(1, round(SHIFT * side)) for side in size or (height, width)
  )
  result = np.full_like(whole, border)
  for image, place, target in zip(whole, choices, result, strict=True):
    y, x = directions[place][0] * down, directions[place][1] * right
    to = target[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    to[:] = image[
      max(-y, 0) : height + min(-y, 0), max(-x, 0) : width + min(-x, 0)
    ]
  return result


def _whole(images) -> np.ndarray:
  if isinstance(images, np.ndarray):
    return images
  return np.stack([images[i] for i in range(len(images))])
