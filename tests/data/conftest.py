"""Small data sets on disk: good ones, and ones with every kind of damage."""

import io

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  """A directory with mnist5k and digits prepared, for reading only."""
  from kdjax.data.digits import Digits
  from kdjax.data.mnist5k import Mnist5k
  from kdjax.data.prepared import prepare_embedded

  directory = str(tmp_path_factory.mktemp("tfds"))
  prepare_embedded(Mnist5k, directory)
  prepare_embedded(Digits, directory)
  return directory


@pytest.fixture
def prepare(tmp_path):
  """prepare(features, rows, name=...) -> the directory of a new TFDS set.

  rows: a list of examples for both splits, or one by split name.
  """
  import tensorflow_datasets as tfds

  def prepare(features, rows, name="toy", version="1.0.0", keys=None):
    rows = rows if isinstance(rows, dict) else {"train": rows, "test": rows}

    class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
      VERSION = tfds.core.Version(version)

      def _info(self):
        return tfds.core.DatasetInfo(
          builder=self,
          features=tfds.features.FeaturesDict(features),
          supervised_keys=keys,
          disable_shuffling=True,
        )

      def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in rows}

      def _generate_examples(self, split):
        yield from enumerate(rows[split])

    Toy.name = name
    builder = Toy(data_dir=str(tmp_path))
    builder.download_and_prepare(file_format="array_record")
    return builder.data_path

  return prepare


@pytest.fixture
def png():
  """png(array (H, W) or (H, W, 3)) -> an encoded file."""
  from PIL import Image

  def png(array):
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(file, "PNG")
    return file.getvalue()

  return png


@pytest.fixture
def folder(tmp_path):
  """folder({"a/0.png": array}) -> a directory with these image files."""
  from PIL import Image

  def folder(files):
    for name, array in files.items():
      file = tmp_path / name
      file.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(np.asarray(array, np.uint8)).save(file)
    return tmp_path

  return folder
