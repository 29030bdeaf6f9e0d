"""How fast images come from disk, where the time goes, and what training loses.

  python -m benchmarks.input [--images=320] [--write] [--show]

Makes a folder and an array_record set of JPEGs, 500 x 375 pixels, from
scikit-learn's two photographs, and reads them at 224 x 224 in batches of 64.
Wall time is what a run sees; on a shared machine CPU time means more. `--write`
puts the figures into benchmarks/results/input.json, `--show` prints those.
"""

import argparse
import datetime
import io
import itertools
import json
import os
import pathlib
import resource
import tempfile
import time

# Before jax: its steps dead-lock where threads are few.
os.environ.setdefault("NPROC", "32")

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from kdjax import data
from kdjax.data.images import pixels
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.runner.pipeline.loaders import make_loader
from kdjax.tasks import classification
from kdjax.train import loop
from kdjax.train.arm import Arm
from kdjax.train.devices import placement
from kdjax.train.optimizer import make_optimizer

RESULTS = pathlib.Path(__file__).parent / "results" / "input.json"
SIZE, BATCH = 224, 64


def main() -> None:
  """Prints the figures as JSON."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--images", type=int, default=320)
  parser.add_argument("--machine", default=f"{os.cpu_count()} shared CPU cores")
  parser.add_argument("--write", action="store_true")
  parser.add_argument("--show", action="store_true")
  options = parser.parse_args()
  if options.show:
    print(RESULTS.read_text())
    return
  with tempfile.TemporaryDirectory() as name:
    results = measure(pathlib.Path(name), options.images)
  results = {
    "date": str(datetime.date.today()),
    "machine": options.machine,
    "load_average": [round(one, 1) for one in os.getloadavg()],
    "images": f"{options.images} JPEGs of 500 x 375, read at {SIZE} x {SIZE}",
    **results,
  }
  print(json.dumps(results, indent=2))
  if options.write:
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def measure(place: pathlib.Path, images: int) -> dict:
  """Measures all there is to measure, in a folder of its own."""
  files = draw_photos(images)
  folder, records = write_folder(place, files), write_records(place, files)
  results = {"cpu_milliseconds_an_image": stages(files[:200])}
  for kind, path in (("folder", folder), ("array_record", records)):
    split = data.load(str(path), image_size=SIZE, resident_bytes=0).train
    ways = [{"threads": n} for n in (1, 2, 4, 8)]
    ways += [{"workers": n} for n in (1, 2)]
    results[kind] = [reading(split, **way) for way in ways]
  results["training"] = training(folder)
  return results | {"run_ahead": run_ahead()}


def draw_photos(count: int) -> list[bytes]:
  """Cuts different JPEGs out of two photographs."""
  from sklearn.datasets import load_sample_images

  random = np.random.default_rng(0)
  photos = [Image.fromarray(one) for one in load_sample_images().images]
  files = []
  for number in range(count):
    left, top = random.integers(0, [140, 52])
    file = io.BytesIO()
    photo = photos[number % 2].crop((left, top, left + 500, top + 375))
    photo.save(file, "JPEG", quality=90)
    files.append(file.getvalue())
  return files


def write_folder(place: pathlib.Path, files: list[bytes]) -> pathlib.Path:
  """Writes an image folder of four classes."""
  for number, content in enumerate(files):
    file = place / "folder" / f"class_{number % 4}" / f"{number:06}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
  return place / "folder"


def write_records(place: pathlib.Path, files: list[bytes]) -> pathlib.Path:
  """Writes a TFDS set of the same files, without TensorFlow."""
  import tensorflow_datasets as tfds

  class Photos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(num_classes=4),
      }
      return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(features),
        supervised_keys=("image", "label"),
        disable_shuffling=True,
      )

    def _split_generators(self, dl_manager):
      return {"train": self._generate(files), "test": self._generate(files[:8])}

    def _generate(self, some):
      for number, content in enumerate(some):
        yield number, {"image": content, "label": number % 4}

    def _generate_examples(self):
      raise NotImplementedError("by split")

  builder = Photos(data_dir=str(place / "records"))
  builder.download_and_prepare(file_format="array_record")
  return builder.data_path


def stages(files: list[bytes]) -> dict[str, float]:
  """CPU time of each stage of reading one image, cumulative where it says so."""
  whole = [Image.open(io.BytesIO(one)).convert("RGB") for one in files]
  arrays = [np.asarray(one) for one in whole]
  batch = np.empty((len(files), SIZE, SIZE, 3), np.uint8)
  small = pixels.resize(arrays[0], SIZE)

  def decode(i):
    Image.open(io.BytesIO(files[i])).load()

  def by_channel(i):  # as it was done before, and as kinds of pixels still need
    middle = arrays[i][:, 62:437]
    for channel in range(3):
      Image.fromarray(middle[..., channel]).resize(
        (SIZE, SIZE), Image.Resampling.BILINEAR
      )

  def at_once(i):
    middle = whole[i].crop((62, 0, 437, 375))
    np.asarray(middle.resize((SIZE, SIZE), Image.Resampling.BILINEAR))

  def copy(i):
    batch[i] = small

  work = {
    "decode": decode,
    "crop and resize": at_once,
    "crop and resize, channel by channel": by_channel,
    "copy into the batch": copy,
    "all: pixels.decode": lambda i: pixels.decode(
      io.BytesIO(files[i]), 3, SIZE
    ),
    "all, to 128 x 128: decoded at half size": lambda i: pixels.decode(
      io.BytesIO(files[i]), 3, 128
    ),
  }
  return {name: cpu_milliseconds(one, len(files)) for name, one in work.items()}


def cpu_milliseconds(work, count: int) -> float:
  """The least of three rounds, an item."""
  rounds = []
  for _ in range(3):
    start = time.process_time()
    for i in range(count):
      work(i)
    rounds.append(1000 * (time.process_time() - start) / count)
  return round(min(rounds), 3)


def reading(split: data.Split, **way: int) -> dict:
  """Images a second, the best of two passes, and CPU time an image."""
  count = len(split.labels)
  start, before, rates = time.perf_counter(), cpu_seconds(), []
  with data.open_reader(split, **way) as read:
    for seed in range(2):
      plan = data.batches(
        np.arange(count), BATCH, seed=seed, start=0, stop=count // BATCH
      )
      batches = read(plan.indices)
      next(batches)
      if not seed:
        first = time.perf_counter() - start
      begun = time.perf_counter()
      rest = sum(len(batch) for batch in batches)
      rates.append(rest / (time.perf_counter() - begun))
  spent = cpu_seconds() - before  # with the processes, which are over
  return way | {
    "images_a_second": round(max(rates)),
    "seconds_to_the_first_batch": round(first, 2),
    "cpu_milliseconds_an_image_start_included": round(
      1000 * spent / (2 * (count // BATCH) * BATCH), 2
    ),
  }


def cpu_seconds() -> float:
  """Of this process and of those that it has ended."""
  whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  used = [resource.getrusage(one) for one in whose]
  return sum(one.ru_utime + one.ru_stime for one in used)


def training(
  folder: pathlib.Path, model: str = "mlp(32)", epochs: int = 4
) -> dict:
  """Seconds an epoch with images in memory and from disk: the least of some.

  Both take turns, so that what else the machine does meets both alike.
  """
  held = {}
  for name, most in (("resident", 1 << 30), ("streamed", 0)):
    split = data.load(str(folder), image_size=SIZE, resident_bytes=most).train
    held[name] = following(split, model, epochs)
  times = {name: [] for name in held}
  for _ in range(epochs):
    for name, one in held.items():
      start = time.perf_counter()
      next(one)
      times[name].append(time.perf_counter() - start)
  least = {name: round(min(seconds[1:]), 2) for name, seconds in times.items()}
  lost = 1 - least["resident"] / least["streamed"]
  return {
    "model": model,
    "seconds_an_epoch": least,
    "share_lost_to_input": round(max(0.0, lost), 2),
  }


def following(split: data.Split, model: str, epochs: int):
  """Trains a network on a split, a step at a time, and yields its epochs."""
  steps = min(4, len(split.labels) // BATCH)
  loader = make_loader(np.arange(steps * BATCH), split.labels, "flip", BATCH)
  objective = make_objective("hard", steps=epochs * steps)
  settings = {"seed": np.arange(1), "learning_rate": np.array([1e-3])}
  resident = data.resident(split)
  with data.open_reader(split) as read:
    yield from loop.train(
      make_model(model, classes=4),
      make_optimizer("adam", "constant", epochs * steps),
      {"student": Arm("all", lambda _: objective, settings)},
      {"all": loader},
      split.images if resident else None,
      epochs=epochs,
      task=classification(4),
      sample=jnp.zeros((1, SIZE, SIZE, 3)),
      read=None if resident else read,
    )


def run_ahead() -> dict[str, float]:
  """How soon a mapped step gives back control, and how long it takes."""

  def step(weights, batch):
    x = batch.reshape(len(batch), -1).astype(jnp.float32)
    for _ in range(4):
      weights = weights - 1e-9 * (x.T @ jnp.tanh(x @ weights))
    return weights, jax.lax.psum(jnp.sum(weights), placement.AXIS)

  chosen = jax.local_devices()[:1]
  run = placement.parallel(step, chosen, sharded=(1,), donated=(0,))
  weights = placement.replicate(
    np.zeros((SIZE * SIZE * 3, 8), np.float32), chosen
  )
  batch = np.ones((1, BATCH, SIZE, SIZE, 3), np.uint8)
  calls, whole = [], []
  for _ in itertools.repeat(None, 6):
    start = time.perf_counter()
    weights, total = run(weights, batch)
    calls.append(time.perf_counter() - start)
    jax.block_until_ready(total)
    whole.append(time.perf_counter() - start)
  return {
    "milliseconds_to_hand_a_batch_over": round(1000 * min(calls), 1),
    "milliseconds_of_the_step": round(1000 * min(whole), 1),
  }


if __name__ == "__main__":
  main()
