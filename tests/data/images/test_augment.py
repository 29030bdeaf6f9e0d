import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data import make_view

KEY = jax.random.key(7)
RANDOM = np.random.default_rng(0)
IMAGES = 1 + RANDOM.random((64, 6, 9, 2), dtype=np.float32)
POSITIONS = np.arange(64)
VIEWS = [
  "none",
  "shift(2)",
  "crop(2)",
  "flip",
  "noise(0.1)",
  "random_resized_crop",
  "shift(1) + flip",
  "random_resized_crop((0.5, 1.0), size=4) + crop(1) + flip",
]
COLOURED = ["color_jitter(hue=0.1)", "randaugment"]


@functools.cache
def compiled(text):
  return jax.jit(make_view(text))


def seen(text, images=IMAGES, key=KEY, positions=POSITIONS):
  return np.asarray(compiled(text)(key, images, positions))


def moved(image, down, right):
  """The definition, pixel by pixel."""
  result = np.zeros_like(image)
  height, width, _ = image.shape
  for row in range(height):
    for column in range(width):
      if 0 <= row - down < height and 0 <= column - right < width:
        result[row, column] = image[row - down, column - right]
  return result


def test_none():
  np.testing.assert_array_equal(seen("none"), IMAGES)


@pytest.mark.parametrize("pixels", [1, 2, 7])
def test_shift_is_one_of_the_definition(pixels):
  steps = range(-pixels, pixels + 1)
  found = set()
  for before, after in zip(
    np.asarray(IMAGES)[:16], seen(f"shift({pixels})"), strict=False
  ):
    matches = [
      (down, right)
      for down in steps
      for right in steps
      if (moved(before, down, right) == after).all()
    ]
    assert matches
    found.update(matches[:1])
  assert len(found) > 3


def test_shift_is_uniform():
  images = np.zeros((4000, 5, 5, 1), np.float32)
  images[:, 2, 2] = 1
  hits = seen("shift(2)", images, positions=np.arange(4000)).sum((0, 3))
  # 25 cells of 160 expected each; 6 standard deviations.
  assert hits.sum() == 4000
  np.testing.assert_allclose(hits, 160, atol=75)


def test_crop_is_a_window_of_the_padded_image():
  padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
  places = np.zeros((5, 5), int)
  for whole, crop in zip(padded, seen("crop(2)"), strict=True):
    windows = [
      (top, left)
      for top in range(5)
      for left in range(5)
      if (whole[top : top + 6, left : left + 9] == crop).all()
    ]
    assert len(windows) == 1
    places[windows[0]] += 1
  # 13 a row and column are expected of the 64; 4 standard deviations.
  np.testing.assert_allclose(places.sum(0), 12.8, atol=12.8)
  np.testing.assert_allclose(places.sum(1), 12.8, atol=12.8)


def test_flip_is_a_fair_mirror():
  images = np.asarray(IMAGES)
  after = seen("flip")
  kept = (after == images).all((1, 2, 3))
  mirrored = (after == images[:, :, ::-1]).all((1, 2, 3))
  assert (kept ^ mirrored).all()
  assert 16 < kept.sum() < 48


def test_noise_has_the_scale():
  images = jnp.zeros((64, 20, 20, 1))
  after = seen("noise(0.25)", images)
  assert abs(after.std() - 0.25) < 0.01
  assert abs(after.mean()) < 0.01
  assert (after[0] != after[1]).any()


def test_zero_strength_changes_nothing():
  np.testing.assert_array_equal(seen("shift(0) + noise(0.0)"), IMAGES)


@pytest.mark.parametrize("text", VIEWS[1:])
def test_key_and_position_decide(text):
  other_key = seen(text, key=jax.random.key(8))
  other_positions = seen(text, positions=POSITIONS + 64)
  assert (seen(text) != other_key).any()
  assert (seen(text) != other_positions).any()
  np.testing.assert_array_equal(seen(text), seen(text))


def fast(*texts):
  return [
    pytest.param(x, marks=() if x in texts else pytest.mark.slow) for x in VIEWS
  ]


# One that moves, one that draws for each pixel, and all kinds of draws in one.
@pytest.mark.parametrize("text", fast(VIEWS[1], VIEWS[4], VIEWS[-1]))
def test_a_cut_batch_gives_the_same_views(text):
  parts = [
    seen(text, IMAGES[rows], positions=POSITIONS[rows])
    for rows in (slice(0, 32), slice(32, 64))
  ]
  np.testing.assert_array_equal(seen(text), np.concatenate(parts))


def test_the_whole_image_is_a_resized_crop_of_its_own_size():
  images = IMAGES[:, :, :6]
  text = "random_resized_crop((1.0, 1.0), (1.0, 1.0))"
  np.testing.assert_allclose(seen(text, images), images, rtol=1e-6)


@pytest.mark.parametrize(
  ("text", "size", "shape"),
  [
    ("random_resized_crop", None, (6, 6)),
    ("random_resized_crop", 4, (4, 4)),
    ("random_resized_crop(size=3)", 4, (3, 3)),
    ("flip", 4, (6, 9)),
  ],
)
def test_size_is_of_resized_crops(text, size, shape):
  view = make_view(text, size=size)
  seen = jax.eval_shape(view, KEY, IMAGES, POSITIONS)
  assert seen.shape == (64, *shape, 2)


@pytest.mark.parametrize("text", fast(VIEWS[-1]))
def test_jit_scan_and_vmap_agree(text):
  view = make_view(text)
  keys = jax.random.split(KEY, 3)
  plain = np.stack([seen(text, key=key) for key in keys])

  @jax.jit
  def both(keys, images, positions):
    mapped = jax.vmap(view, (0, None, None))(keys, images, positions)
    return mapped, jax.lax.map(lambda key: view(key, images, positions), keys)

  mapped, scanned = both(keys, IMAGES, POSITIONS)
  np.testing.assert_allclose(mapped, plain, atol=1e-6)
  np.testing.assert_allclose(scanned, plain, atol=1e-6)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("shfit(2)", "did you mean 'shift'"),
    ("shift", "pixels"),
    ("shift(1.5)", "whole number >= 0, got 1.5"),
    ("shift(-1)", "got -1"),
    ("shift(True)", "got True"),
    ("noise(-0.1)", "got -0.1"),
    ("noise(1e999)", "got inf"),
    ("noise('a')", "got 'a'"),
    ("crop(-1)", "padding must be a whole number >= 0"),
    ("random_resized_crop((0.0, 1.0))", "scale must be"),
    ("random_resized_crop((0.5, 1.5))", r"scale .* rising numbers in \(0, 1\]"),
    ("random_resized_crop(ratio=(2.0, 1.0))", "ratio must be"),
    ("random_resized_crop(ratio=1.0)", "ratio must be"),
    ("random_resized_crop(size=0)", "size must be a whole number >= 1"),
    ("color_jitter(-0.1)", "each strength must be a number >= 0, got -0.1"),
    ("color_jitter(hue=0.6)", "hue must be at most 0.5"),
    ("randaugment(0)", "layers must be a whole number >= 1"),
    ("randaugment(2, 31)", "magnitude must be at most 30, got 31"),
    ("flip(3)", "no arguments"),
    ("flip:0.5", "no weight"),
    ("flip +", "term"),
    ("", "view|read|term"),
  ],
)
def test_refuses(text, message):
  with pytest.raises(UserError, match=message):
    make_view(text)


@pytest.mark.parametrize("text", COLOURED)
def test_key_and_position_decide_on_colours(text):
  images, places = IMAGES[:8, ..., [0, 1, 0]] - 1, np.arange(8)
  view = jax.jit(make_view(text))  # one shape, one program
  first = np.asarray(view(KEY, images, places))
  assert first.min() >= 0 and first.max() <= 1
  assert (first != view(jax.random.key(8), images, places)).any()
  assert (first != view(KEY, images, places + 8)).any()
  # Whatever stands beside it; with a key for each example as well.
  turned = view(KEY, images[::-1], places[::-1])
  np.testing.assert_array_equal(first, turned[::-1])
  each = jax.eval_shape(
    make_view(text), jax.random.split(KEY, 8), images, places
  )
  assert each.shape == images.shape


@pytest.mark.parametrize("text", COLOURED)
def test_colours_are_for_grey_and_colour_images(text):
  with pytest.raises(ValueError, match="not for 2 channels"):
    jax.eval_shape(make_view(text), KEY, IMAGES, POSITIONS)
  grey = jax.eval_shape(make_view(text), KEY, IMAGES[..., :1], POSITIONS)
  assert grey.shape == (64, 6, 9, 1)


@pytest.mark.parametrize("text", ["shift({})", "crop({})", "flip + shift({})"])
def test_images_are_not_moved_out_of_sight(text):
  side = max(IMAGES.shape[1:3])
  batch = KEY, IMAGES[:2], POSITIONS[:2]
  for pixels in (0, 1, side - 1):
    jax.eval_shape(make_view(text.format(pixels)), *batch)
  with pytest.raises(ValueError, match=f"{side} pixels .* out of sight"):
    jax.eval_shape(make_view(text.format(side)), *batch)
