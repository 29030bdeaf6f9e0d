"""A server sees the pixels that training saw."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from kdjax.data.images import pixels

FILE = pathlib.Path(__file__).parents[2] / "examples" / "serve_onnx.py"
WHITE = [255, 255, 255]


@pytest.fixture(scope="module")
def serve():
  wanted = importlib.util.spec_from_file_location("serve_onnx", FILE)
  module = importlib.util.module_from_spec(wanted)
  wanted.loader.exec_module(module)
  return module


def photo(height, width, mode):
  """Noise over a slope: no two ways to scale it give the same pixels."""
  channels = len(Image.new(mode, (1, 1)).getbands())
  rng = np.random.default_rng(height)
  values = rng.integers(0, 128, (height, width, channels))
  values = values + np.linspace(0, 127, width)[None, :, None]
  return Image.fromarray(values.astype(np.uint8).squeeze(), mode)


@pytest.mark.parametrize(
  ("name", "shape", "mode", "orientation"),
  [
    ("3_to_1.png", (60, 180), "RGB", 1),
    ("3_to_1.jpg", (600, 1800), "RGB", 1),
    ("1_to_3.jpg", (180, 60), "RGB", 1),
    ("grey.png", (60, 180), "L", 1),
    ("turned.jpg", (60, 180), "RGB", 6),
    ("mirrored.jpg", (60, 180), "RGB", 7),
    ("transparent.png", (60, 180), "RGBA", 1),
    ("as_it_is.png", (32, 32), "RGB", 1),
  ],
)
@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("channels", [1, 3])
def test_serving_sees_the_pixels_of_training(
  serve, tmp_path, name, shape, mode, orientation, channels
):
  exif = Image.Exif()
  exif[0x0112] = orientation
  photo(*shape, mode).save(tmp_path / name, exif=exif)
  wanted = {
    "size": [32, 32],
    "mode": {1: "L", 3: "RGB"}[channels],
    "background": WHITE,
  }
  ours = serve.pixels(str(tmp_path / name), wanted)
  theirs = pixels.decode(tmp_path / name, channels, 32)
  assert ours.shape == (1, 32, 32, channels) and ours.dtype == np.uint8
  np.testing.assert_array_equal(ours[0], theirs)


def test_images_that_are_not_square_must_have_their_size(serve, tmp_path):
  path = str(tmp_path / "a.png")
  Image.new("L", (20, 10)).save(path)
  wanted = {"size": [10, 20], "mode": "L", "background": WHITE}
  assert serve.pixels(path, wanted).shape == (1, 10, 20, 1)
  with pytest.raises(SystemExit, match="is not of 20 x 10 pixels"):
    serve.pixels(path, wanted | {"size": [20, 10]})


def test_probabilities_are_printed_with_the_names(
  serve, tmp_path, monkeypatch, capsys
):
  """Logits (0, log 3) are probabilities (1/4, 3/4)."""
  onnxruntime = pytest.importorskip("onnxruntime")

  class Session:
    def __init__(self, path):
      assert path.endswith("network.onnx")

    def run(self, names, given):
      assert given["images"].dtype == np.uint8
      rows = len(given["images"])
      return (np.log(np.array([[1.0, 3.0]] * rows, np.float32)),)

  monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
  card = {
    "network": {"class_names": ["a cat", "dog"], "dtype": "uint8"},
    "input": {"size": [4, 4], "mode": "L", "background": WHITE},
  }
  (tmp_path / "card.json").write_text(json.dumps(card))
  Image.new("L", (12, 4)).save(tmp_path / "a.png")
  np.save(tmp_path / "b.npy", np.zeros((2, 4, 4, 1), np.uint8))
  files = [str(tmp_path / name) for name in ("a.png", "b.npy")]
  serve.main(str(tmp_path), *files)
  assert capsys.readouterr().out.splitlines() == [
    f"{file}\tdog 0.7500\ta cat 0.2500" for file in (files[0], *files[1:] * 2)
  ]
