"""Rectangles: where they lie, and what Pillow makes of them."""

import jax
import numpy as np
import pytest
from PIL import Image

from kdjax.data.images.boxes import draw_box, scale_box

KEYS = jax.random.split(jax.random.key(3), 2000)


scaled = jax.jit(scale_box, static_argnums=2)


def drawn(height, width, scale, ratio):
  draw = jax.jit(
    jax.vmap(lambda key: draw_box(key, height, width, scale, ratio))
  )
  return np.asarray(draw(KEYS)).T


@pytest.mark.parametrize(("height", "width"), [(40, 40), (30, 60), (60, 30)])
def test_boxes_lie_inside_and_have_the_shape(height, width):
  top, left, tall, wide = drawn(height, width, (0.08, 1.0), (3 / 4, 4 / 3))
  assert (top >= 0).all() and (top + tall <= height).all()
  assert (left >= 0).all() and (left + wide <= width).all()
  # Sides are rounded to whole pixels.
  assert (wide + 0.5 >= 3 / 4 * (tall - 0.5)).all()
  assert (wide - 0.5 <= 4 / 3 * (tall + 0.5)).all()
  assert ((tall + 0.5) * (wide + 0.5) >= 0.08 * height * width).all()


def test_area_shape_and_place_are_uniform():
  top, left, tall, wide = drawn(400, 400, (0.1, 0.3), (0.5, 2.0))
  area = tall * wide / 400**2
  shape = np.log2(wide / tall)
  for values, low, high in (
    (area, 0.1, 0.3),
    (shape, -1, 1),
    (top / (400 - tall), 0, 1),
    (left / (400 - wide), 0, 1),
  ):
    share = (values - low) / (high - low)
    # Sums of 2000 uniform numbers: 5 standard deviations, and rounding.
    assert share.mean() == pytest.approx(0.5, abs=0.035)
    assert share.var() == pytest.approx(1 / 12, abs=0.012)
  assert abs(np.corrcoef([area, shape, top, left])[0, 1]) < 0.12


@pytest.mark.parametrize(
  ("height", "width", "box"),
  [(10, 40, [0, 13, 10, 13]), (40, 10, [13, 0, 13, 10])],
)
def test_where_nothing_fits_it_is_the_middle(height, width, box):
  found = drawn(height, width, (1.0, 1.0), (3 / 4, 4 / 3))
  np.testing.assert_array_equal(found.T, [box] * len(KEYS))


@pytest.mark.parametrize(
  "box", [(0, 0, 20, 30), (3, 5, 12, 17), (10, 2, 4, 5), (7, 7, 1, 9)]
)
@pytest.mark.parametrize("size", [1, 8, 25])
def test_scaling_is_pillows(box, size):
  image = np.random.default_rng(0).random((20, 30)).astype(np.float32)
  top, left, tall, wide = box
  ours = scaled(image[..., None], np.array(box), size)
  cut = Image.fromarray(image[top : top + tall, left : left + wide])
  theirs = cut.resize((size, size), Image.Resampling.BILINEAR)
  np.testing.assert_allclose(ours[..., 0], np.asarray(theirs), atol=2e-6)
