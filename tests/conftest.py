"""Eight CPU devices, strict ranks and a compilation cache, before jax wakes.

The fixtures make small data sets on disk, good ones and damaged ones.
"""

import gc
import os
import pathlib

ROOT = pathlib.Path(__file__).parent.parent

os.environ["JAX_PLATFORMS"] = "cpu"
# Thousands of small programs run once each: compiling is most of the time.
os.environ["XLA_FLAGS"] = (
  "--xla_force_host_platform_device_count=8"
  " --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
  " --xla_cpu_parallel_codegen_split_count=1"
)
# Fewer threads than devices dead-lock in the collectives' rendezvous.
os.environ["NPROC"] = "32"

# In the environment, so that runs in processes of their own share it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
# Eager tests compile thousands of small programs: keep those as well.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# The launcher's default data set, prepared once for all tests.
os.environ["TFDS_DATA_DIR"] = str(ROOT / ".cache" / "tensorflow_datasets")

# Tracing makes many small objects that live: to look through them for rubbish
# every 700 allocations takes a twentieth of the time.
gc.set_threshold(50_000, 20, 20)

import jax  # noqa: E402  (the environment above must come first)
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import small_runs  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
# Where an operation was called, and which frames of an error are jax's own, is
# looked up for each operation and each error: a tenth of the time.
jax.config.update("jax_traceback_in_locations_limit", 0)
jax.config.update("jax_traceback_filtering", "off")


@pytest.fixture(autouse=True, scope="module")
def free_programs():
  """A file's programs go with it: thousands of them fill a worker's memory."""
  yield
  jax.clear_caches()


@pytest.fixture
def quick_runs(monkeypatch):
  """Runs on one device, without timing."""
  small_runs.quick(monkeypatch)


@pytest.fixture
def untried(monkeypatch):
  """Runs without a trial of their step."""
  small_runs.untried(monkeypatch)


@pytest.fixture
def undrawn(monkeypatch):
  """Runs without pictures."""
  small_runs.undrawn(monkeypatch)


@pytest.fixture
def bare_runs(quick_runs, untried, undrawn):
  """Runs of which networks and scores alone are looked at."""


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
