"""Masks go where their pixels go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import data
from kdjax.core.errors import UserError

PLACES = jnp.arange(12)
# Every pixel has a number of its own, so that where it went can be told.
IDS = np.arange(12 * 9 * 9).reshape(12, 9, 9).astype(np.int32)
IMAGES = (IDS[..., None] + 1).astype(np.float32)


@pytest.mark.parametrize(
  "text",
  [
    "none",
    "flip",
    "shift(3)",
    "crop(2) + flip",
    "flip + shift(2) + flip",
    "noise(0.0) + flip + color_jitter(0, 0, 0) + shift(1)",
  ],
)
@pytest.mark.parametrize("keys", ["one", "numbered"])
def test_every_pixel_keeps_its_target(text, keys):
  view = data.make_view(text)
  move = data.make_target_view(text, border=-7)
  key = jax.random.key(4)
  if keys == "numbered":
    view, move = (data.view_by_number(one, 5) for one in (view, move))
    key = PLACES % 3
  # Images in 0..1, as jitter clips.
  images = np.asarray(view(key, IMAGES / 1000, PLACES))[..., 0] * 1000
  targets = np.asarray(move(key, IDS, PLACES))
  assert targets.dtype == np.int32
  outside = images == 0
  assert (targets[outside] == -7).all()
  np.testing.assert_allclose(targets[~outside] + 1, images[~outside], atol=1e-2)
  if "shift" in text or "crop" in text:
    assert outside.any()


@pytest.mark.parametrize("size", [None, 5, 18])
def test_a_scaled_rectangle_takes_the_nearest_target(size):
  """A ramp tells where each new pixel lies: at most half an old one beside."""
  text = "random_resized_crop((0.2, 1.0))"
  ramps = np.broadcast_to(np.arange(9.0)[None, :, None, None], (12, 9, 9, 1))
  view = data.make_view(text, size=size)
  move = data.make_target_view(text, border=255, size=size)
  key = jax.random.key(1)
  images = np.asarray(view(key, jnp.asarray(ramps, jnp.float32), PLACES))
  for axis in (0, 1):
    ramp = np.moveaxis(ramps, 1, 2) if axis else ramps
    image = np.asarray(view(key, jnp.asarray(ramp, jnp.float32), PLACES))
    targets = np.asarray(move(key, ramp[..., 0].astype(np.int32), PLACES))
    assert targets.shape == images.shape[:3]
    # Antialiased, a shrunk ramp is bent where the rectangle ends.
    most = 0.75 if size == 5 else 0.5
    assert np.abs(targets - image[..., 0]).max() <= most + 1e-3
  assert targets.min() >= 0 and targets.max() <= 8


def test_what_turns_images_is_refused():
  with pytest.raises(UserError, match="randaugment.*targets that are maps"):
    data.make_target_view("flip + randaugment", border=255)
  with pytest.raises(UserError, match="did you mean 'flip'"):
    data.make_target_view("flipp", border=255)
