import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kdjax.core.errors import UserError
from kdjax.data.images import pixels
from kdjax.data.images.pixels import decode, resize, with_channel_axis


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


STORED = [[10, 20, 30], [40, 50, 60]]
# What each orientation of the EXIF standard shows of STORED.
SHOWN = {
  1: STORED,
  2: [[30, 20, 10], [60, 50, 40]],
  3: [[60, 50, 40], [30, 20, 10]],
  4: [[40, 50, 60], [10, 20, 30]],
  5: [[10, 40], [20, 50], [30, 60]],
  6: [[40, 10], [50, 20], [60, 30]],
  7: [[60, 30], [50, 20], [40, 10]],
  8: [[30, 60], [20, 50], [10, 40]],
  0: STORED,
  9: STORED,
}


def photograph(kind, orientation, array=STORED, **options):
  exif, file = Image.Exif(), io.BytesIO()
  exif[0x0112] = orientation
  image = Image.fromarray(np.asarray(array, np.uint8))
  image.save(file, kind, exif=exif, **options)
  return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_photographs_are_read_upright(kind, orientation):
  lossless = {"lossless": True} if kind == "WEBP" else {}
  image = decode(photograph(kind, orientation, **lossless), 1)
  assert image[..., 0].tolist() == SHOWN[orientation]


def test_photographs_are_turned_before_the_middle_is_cut():
  # 4 rows of 8 columns; a quarter of its size is decoded, then turned and cut.
  wide = np.kron(np.arange(32).reshape(4, 8) * 8, np.ones((64, 64)))
  image = decode(photograph("JPEG", 6, wide), 1, size=4)
  middle = (np.arange(32).reshape(4, 8) * 8)[:, 2:6]
  np.testing.assert_allclose(image[..., 0], np.rot90(middle, -1), atol=12)


def test_damaged_exif_turns_nothing():
  file = io.BytesIO()
  Image.fromarray(np.asarray(STORED, np.uint8)).save(
    file, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"
  )
  assert decode(io.BytesIO(file.getvalue()), 1)[..., 0].tolist() == STORED


RGBA = Image.fromarray(
  np.array([[[0, 100, 200, 0], [0, 100, 200, 255], [0, 100, 200, 51]]], np.uint8)
)  # fmt: skip
# 51 of 255 is a fifth of the image, four fifths of the background.
OVER = {
  "white": [[255, 255, 255], [0, 100, 200], [204, 224, 244]],
  "black": [[0, 0, 0], [0, 100, 200], [0, 20, 40]],
  "255,0,100": [[255, 0, 100], [0, 100, 200], [204, 20, 120]],
}


@pytest.mark.parametrize("background", OVER)
def test_transparent_images_lie_over_the_background(background):
  file = io.BytesIO()
  RGBA.save(file, "PNG")
  image = decode(
    io.BytesIO(file.getvalue()), 3, background=pixels.colour(background)
  )
  assert image[0].tolist() == OVER[background]


def transparent(mode):
  """One clear and one black pixel; of palettes and tRNS, what is clear is 0."""
  file = io.BytesIO()
  if mode in ("LA", "RGBA"):
    black, clear = Image.new(mode, (2, 1)), Image.new(mode, (1, 1))
    black.putalpha(255)
    black.paste(clear, (0, 0))
    black.save(file, "PNG")
  else:
    image = Image.fromarray(np.array([[0, 90]], np.uint8)).convert(mode)
    clear = (0, 0, 0) if mode == "RGB" else 0
    image.save(file, "GIF" if mode == "P" else "PNG", transparency=clear)
  return io.BytesIO(file.getvalue())


@pytest.mark.parametrize(
  ("mode", "opaque"),
  [("LA", 0), ("RGBA", 0), ("P", 90), ("L", 90), ("RGB", 90)],
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, 1])
def test_every_kind_of_transparency_is_over_white(mode, opaque, channels, size):
  image = decode(transparent(mode), channels, size)
  expected = [[255] * channels, [opaque] * channels]
  assert image[0].tolist() == expected[: 2 if size is None else 1]


def test_four_channels_keep_the_opacity():
  file = io.BytesIO()
  RGBA.save(file, "PNG")
  np.testing.assert_array_equal(decode(io.BytesIO(file.getvalue()), 4), RGBA)


@pytest.mark.parametrize(
  "text", ["whit", "1,2", "1,2,256", "1,2,-3", "", "a,b,c"]
)
def test_backgrounds_that_are_none(text):
  with pytest.raises(
    UserError, match=f"--background={text}: give white, black"
  ):
    pixels.colour(text)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4)])
def test_sixteen_bits_in_colour_give_the_upper_eight(kind, channels):
  def chunk(name, content):
    checked = name + content
    size, check = len(content), zlib.crc32(checked)
    return struct.pack(">I", size) + checked + struct.pack(">I", check)

  pixel = struct.pack(
    f">{channels}H", *[0x01FF, 0x80AA, 0xFF00, 0xFFFF][:channels]
  )
  file = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, kind, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0" + pixel))
    + chunk(b"IEND", b"")
  )
  assert decode(io.BytesIO(file), 3).tolist() == [[[0x01, 0x80, 0xFF]]]


def test_of_several_frames_the_first_is_read():
  file = io.BytesIO()
  first, second = (Image.new("RGB", (2, 2), (v, 0, 0)) for v in (10, 200))
  first.save(file, "GIF", save_all=True, append_images=[second])
  assert (decode(io.BytesIO(file.getvalue()), 3) == (10, 0, 0)).all()


@pytest.mark.parametrize("most", [17, 10])  # Pillow warns from `most` pixels on
def test_a_huge_image_is_refused_and_a_large_one_read(monkeypatch, most):
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
  pixels._silence.cache_clear()
  for size in (20, 2):
    assert decode(encoded(np.zeros((4, 5))), 1, size).shape == (size, size, 1)
  with pytest.raises(ValueError, match=f"more than the {2 * most} pixels"):
    decode(encoded(np.zeros((6, 6))), 1, 2)
