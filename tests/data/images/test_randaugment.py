"""RandAugment's operations, against Pillow's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from kdjax.data.images.randaugment import OPERATIONS, draw_operations, operate

RANDOM = np.random.default_rng(0)
# Uneven levels, within 30 to 200, so that there is something to spread.
BYTES = (30 + 170 * RANDOM.random((21, 30, 3)) ** 2).astype(np.uint8)
IMAGE = jnp.asarray(BYTES, jnp.float32) / 255
run = jax.jit(operate)


def factor(enhance):
  return lambda image, amount: enhance(image).enhance(1 + 0.9 * amount)


def affine(matrix):
  return lambda image, amount: image.transform(
    image.size, Image.Transform.AFFINE, matrix(amount, *image.size)
  )


PILLOW = {
  "identity": lambda image, amount: image,
  "autocontrast": lambda image, amount: ImageOps.autocontrast(image),
  "equalize": lambda image, amount: ImageOps.equalize(image),
  "posterize": lambda image, amount: ImageOps.posterize(
    image, 8 - round(4 * abs(amount))
  ),
  "solarize": lambda image, amount: ImageOps.solarize(
    image, 255 * (1 - abs(amount))
  ),
  "brightness": factor(ImageEnhance.Brightness),
  "contrast": factor(ImageEnhance.Contrast),
  "color": factor(ImageEnhance.Color),
  "sharpness": factor(ImageEnhance.Sharpness),
  "rotate": lambda image, amount: image.rotate(30 * amount),
  "shear_x": affine(lambda a, w, h: (1, 0.3 * a, 0, 0, 1, 0)),
  "shear_y": affine(lambda a, w, h: (1, 0, 0, 0.3 * a, 1, 0)),
  "translate_x": affine(
    lambda a, w, h: (1, 0, -int(150 / 331 * w * a), 0, 1, 0)
  ),
  "translate_y": affine(
    lambda a, w, h: (1, 0, 0, 0, 1, -int(150 / 331 * h * a))
  ),
}


@pytest.mark.parametrize("amount", [0.3, -0.3, 0.9])
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_pillows(name, amount, channels):
  stored = Image.fromarray(BYTES if channels == 3 else BYTES[..., 0])
  expected = np.asarray(PILLOW[name](stored, amount))
  expected = expected.reshape(*BYTES.shape[:2], channels)
  found = 255 * run(IMAGE[..., :channels], OPERATIONS.index(name), amount)
  differs = np.abs(found - expected).max(axis=-1) > 1.51
  # A place on the border of two pixels may round to either.
  assert differs.mean() <= (0.01 if name in ("rotate", "shear_x") else 0)


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_one_level_stays(name):
  image = jnp.full((4, 4, 3), 0.4)
  np.testing.assert_allclose(
    run(image, OPERATIONS.index(name), 0.5), image, atol=1e-6
  )


def test_operations_are_drawn_alike_often_and_with_both_signs():
  # Each operation leaves a trace of its own on this image.
  image = IMAGE[:7, :10]
  known = np.stack(
    [
      run(image, kind, amount)
      for amount in (0.5, -0.5)
      for kind in range(len(OPERATIONS))
    ]
  )
  draw = jax.jit(jax.vmap(lambda key: draw_operations(key, image, 1, 0.5)))
  drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 700)))
  near = np.abs(drawn[:, None] - known[None]).max((2, 3, 4)) < 1e-5
  assert near.any(axis=1).all()
  up, down = near.sum(axis=0).reshape(2, -1)
  signed = np.abs(known[:14] - known[14:]).max((1, 2, 3)) > 1e-5
  total = np.where(signed, up + down, up)
  # 50 of each are expected; 5 standard deviations.
  assert total.min() > 16 and total.max() < 84
  assert min(up[signed]) > 5 and min(down[signed]) > 5
