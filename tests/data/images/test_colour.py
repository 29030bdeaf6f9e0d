"""Colours, against Pillow's and the standard library's."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from kdjax.data.images.colour import blend, grey, jitter, turn_hue

BYTES = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
IMAGE = jnp.asarray(BYTES, jnp.float32) / 255


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize(
  ("enhance", "other"),
  [
    (ImageEnhance.Brightness, lambda image: 0 * image),
    (ImageEnhance.Contrast, lambda image: jnp.mean(grey(image))),
    (ImageEnhance.Color, grey),
  ],
)
def test_blends_are_pillows(enhance, other, factor):
  expected = enhance(Image.fromarray(BYTES)).enhance(factor)
  found = 255 * blend(other(IMAGE), IMAGE, factor)
  np.testing.assert_allclose(found, np.asarray(expected), atol=1.5)


@pytest.mark.parametrize("turn", [0.0, 0.3, -0.45])
def test_hues_turn_as_in_the_standard_library(turn):
  image = IMAGE.at[0].set(0.4)  # grey pixels too

  def turned(pixel):
    hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixel))
    return colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)

  expected = np.apply_along_axis(turned, -1, np.asarray(image))
  np.testing.assert_allclose(turn_hue(image, turn), expected, atol=1e-5)


def test_jitter_draws_within_its_spans():
  # Grey pixels of one brightness show the first factor alone.
  image = jnp.full((2, 2, 3), 0.5)
  keys = jax.random.split(jax.random.key(0), 500)
  for span, low, high in ((0.4, 0.6, 1.4), (1.5, 0.0, 2.0)):
    spans = jnp.array([span, 0, 0, 0])
    draw = jax.jit(jax.vmap(jitter, (0, None, None)))
    found = 2 * np.asarray(draw(keys, image, spans))
    assert found.min() >= low - 1e-5 and found.max() <= high + 1e-5
    assert found.min() < low + 0.1 and found.max() > high - 0.1


def test_no_span_changes_nothing():
  same = jitter(jax.random.key(0), IMAGE, jnp.zeros(4))
  np.testing.assert_array_equal(same, IMAGE)
