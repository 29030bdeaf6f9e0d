"""The embedded sets, prepared once, and encoded pictures."""

import io

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  """A directory with mnist5k and digits prepared, for reading only."""
  from kdjax.data.images.digits import Digits
  from kdjax.data.images.mnist5k import Mnist5k
  from kdjax.data.tfds_folder import prepare_embedded

  directory = str(tmp_path_factory.mktemp("tfds"))
  prepare_embedded(Mnist5k, directory)
  prepare_embedded(Digits, directory)
  return directory


@pytest.fixture
def png():
  """png(array (H, W) or (H, W, 3)) -> an encoded file."""
  from PIL import Image

  def png(array):
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(file, "PNG")
    return file.getvalue()

  return png
