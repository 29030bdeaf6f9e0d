import io

import numpy as np
import pytest
from PIL import Image

from kdjax.data.pixels import decode, resize, with_channel_axis


def encoded(array, kind="PNG", mode=None):
  file = io.BytesIO()
  image = Image.fromarray(np.asarray(array, np.uint8))
  (image.convert(mode) if mode else image).save(file, kind)
  return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_mode_becomes_the_channels_asked_for(mode, channels):
  kind = "TIFF" if mode == "CMYK" else "PNG"
  image = decode(encoded(np.full((4, 6), 90), kind, mode), channels)
  assert image.shape == (4, 6, channels) and image.dtype == np.uint8
  np.testing.assert_allclose(image, 90, atol=3)


def test_png_is_exact():
  array = np.random.default_rng(0).integers(0, 256, (5, 7, 3))
  np.testing.assert_array_equal(decode(encoded(array), 3), array)


def test_decoding_to_a_size():
  image = decode(encoded(np.full((400, 600, 3), 90), "JPEG"), 3, size=20)
  assert image.shape == (20, 20, 3)
  np.testing.assert_allclose(image, 90, atol=2)


@pytest.mark.parametrize("shape", [(13, 30), (30, 13, 3), (20, 20, 3)])
def test_decoding_to_a_size_is_decoding_and_resizing(shape):
  array = np.random.default_rng(0).integers(0, 256, shape)
  channels = 3 if len(shape) == 3 else 1
  whole = resize(decode(encoded(array), channels), 7)
  small = decode(encoded(array), channels, size=7)
  np.testing.assert_array_equal(small, whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_scales_and_cuts_the_middle(dtype):
  image = np.zeros((4, 8, 2), dtype)
  image[:, 2:6, 0] = 100  # the middle square
  image[..., 1] = 50
  small = resize(image, 2)
  assert small.shape == (2, 2, 2) and small.dtype == dtype
  assert (small[..., 0] == 100).all() and (small[..., 1] == 50).all()


def test_resize_to_its_own_size_is_the_image():
  image = np.random.default_rng(0).random((3, 3, 1), np.float32)
  np.testing.assert_array_equal(resize(image, 3), image)


def test_channel_axis():
  assert with_channel_axis(np.zeros((4, 5))).shape == (4, 5, 1)
  assert with_channel_axis(np.zeros((4, 5, 3))).shape == (4, 5, 3)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_eight_bits_are_refused(dtype):
  file = io.BytesIO()
  Image.fromarray(np.full((4, 4), 300, dtype)).save(file, "TIFF")
  with pytest.raises(ValueError, match="more than 8 bits"):
    decode(io.BytesIO(file.getvalue()), 1)
