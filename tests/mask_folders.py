"""Small folders of images and masks, for tests."""

import numpy as np
from PIL import Image

SIZE = (12, 14)
PALETTE = [*range(256)] * 3


def examples(count, size=SIZE, classes=3, seed=0):
  """Images with a square of one class on noise, and their masks."""
  rng = np.random.default_rng(seed)
  images, masks = [], []
  for i in range(count):
    mask = np.zeros(size, np.uint8)
    top, left = rng.integers(1, 4, 2)
    mask[top : top + 6, left : left + 6] = 1 + i % (classes - 1)
    images.append((mask * 80 + rng.integers(0, 40, size)).astype(np.uint8))
    mask[0] = 255
    masks.append(mask)
  return np.stack(images), np.stack(masks)


def save_mask(file, mask, mode="P"):
  """Writes class numbers as a PNG of a palette, or grey."""
  file.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(np.asarray(mask))
  if mode == "P":
    image = image.convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(PALETTE)
  image.save(file)


def write(folder, count=30, parts=("",), mode="P", **how):
  """Writes images/ and masks/ into each part of a folder; returns the folder."""
  for number, part in enumerate(parts):
    images, masks = examples(count, seed=number, **how)
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
      file = folder / part / "images" / f"{i}.png"
      file.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(image).save(file)
      save_mask(folder / part / "masks" / f"{i}.png", mask, mode)
  return folder
