"""Images a second of the estimators, over image count, grid, steps and devices.

  python -m benchmarks.quantify [--rounds=5] [--model=SPEC] [--tap=TAP]

Every row is one compiled program. Rows of a group run in turn, round after round,
and a ratio is taken within its round, against the group's standard: so a busy
machine slows both sides of it. Medians, and the lowest and highest round. On a
shared machine processor time means more than wall time. Figures and all that
they depend on go to benchmarks/results/quantify.json. Before the clock starts, two
devices must have given what one gives.
"""

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.runner.system.platform import prepare_environment

prepare_environment("auto", 2)

import jax  # noqa: E402  (two devices must be asked for before)
import numpy as np  # noqa: E402

from kdjax.evaluate import knowledge  # noqa: E402
from kdjax.models import make_model  # noqa: E402
from kdjax.runner.jobs.knowledge.build import make_feature  # noqa: E402
from kdjax.runner.pipeline import measure  # noqa: E402
from kdjax.train.devices import placement as on_devices  # noqa: E402

MODEL = "lenet(16, 32, 64, hidden=(128, 128), kernel=3, pool=False)"
SIZE = 48
STANDARD = {
  "jacobian": {"images": 16, "grid": 16, "probes": 32, "devices": 1},
  "optimise": {
    "images": 8,
    "grid": 16,
    "steps": 20,
    "draws": 16,
    "devices": 1,
  },
}
CASES = (
  ("jacobian", "images", (1, 4, 16, 64)),
  ("jacobian", "grid", (4, 8, 16)),
  ("jacobian", "probes", (8, 16, 32, 64)),
  ("jacobian", "devices", (1, 2)),
  ("optimise", "images", (1, 2, 4, 8)),
  ("optimise", "grid", (4, 8, 16)),
  ("optimise", "steps", (10, 20, 40)),
  ("optimise", "draws", (4, 16, 32)),
  ("optimise", "devices", (1, 2)),
)
FILE = Path(__file__).parent / "results" / "quantify.json"


class Time(NamedTuple):
  """Seconds of one run.

  Attributes:
    processor: of all threads of this process.
  """

  wall: float
  processor: float


def main() -> None:
  """Prints one line a case, and writes all to `FILE`."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--model", default=MODEL)
  parser.add_argument("--tap", default="hidden_0")
  options = parser.parse_args()
  rows = []
  print("estimator  varied       images/s  CPU-ms/image  CPU ratio (low, high)")
  for estimator, name, values in CASES:
    for row in measured(estimator, name, values, options):
      rows.append(row)
      print(
        f"{estimator:9}  {f'{name}={row[name]}':11}"
        f"  {row['images_per_second']['median']:8.1f}"
        f"  {1e3 * row['processor_seconds_per_image']['median']:12.2f}"
        "  {median:.2f} ({low:.2f}, {high:.2f})".format(**row["ratio"]),
        flush=True,
      )
  FILE.parent.mkdir(exist_ok=True)
  results = {
    "command": "python -m benchmarks.quantify",
    "date": datetime.date.today().isoformat(),
    "environment": measure.environment(jax.local_devices()),
    "options": vars(options),
    "standard": STANDARD,
    "rows": rows,
  }
  FILE.write_text(json.dumps(results, indent=2) + "\n")


def measured(
  estimator: str, name: str, values: tuple[int, ...], options
) -> list[dict[str, Any]]:
  """Times the cases of one group in turn."""
  settings = [STANDARD[estimator] | {name: value} for value in values]
  runs = [program(estimator, one, options) for one in settings]
  answers = [run() for run in runs]  # compiles
  if name == "devices":
    np.testing.assert_allclose(*answers, atol=2e-3)
  rounds = [[timed(run) for run in runs] for _ in range(options.rounds)]
  counts = [one["images"] for one in settings]
  standard = values.index(STANDARD[estimator][name])
  rows = []
  for i, one in enumerate(settings):
    times = [each[i] for each in rounds]
    cost = [time.processor / counts[i] for time in times]
    base = [each[standard].processor / counts[standard] for each in rounds]
    ratio = [a / b for a, b in zip(cost, base, strict=True)]
    rows.append(
      {"estimator": estimator, "varied": name, **one}
      | {"images_per_second": spread([counts[i] / t.wall for t in times])}
      | {"processor_seconds_per_image": spread(cost), "ratio": spread(ratio)}
    )
  return rows


def spread(values: list[float]) -> dict[str, float]:
  """Sums up rounds."""
  return {
    "median": statistics.median(values),
    "low": min(values),
    "high": max(values),
  }


def timed(run: Callable[[], Any]) -> Time:
  """Runs once.

  Args:
    run: what is timed; it waits for its result.
  """
  wall, processor = time.perf_counter(), time.process_time()
  run()
  return Time(time.perf_counter() - wall, time.process_time() - processor)


def program(
  estimator: str, settings: Mapping[str, int], options
) -> Callable[[], np.ndarray]:
  """Makes what is timed.

  Returns:
    () -> entropies (B, GH, GW).
  """
  images = jax.random.uniform(
    jax.random.key(1), (settings["images"], SIZE, SIZE, 1)
  )
  network = make_model(options.model, classes=10)
  variables = network.init(jax.random.key(0), images[:1], train=False)
  feature = partial(make_feature(network, options.tap), variables)
  problem = knowledge.Problem(grid=(settings["grid"],) * 2)
  devices = jax.local_devices()[: settings["devices"]]
  keys = np.arange(len(images), dtype=np.uint32)
  cut = partial(on_devices.shard, devices=len(devices), axis=0)

  def mapped(function, sharded):
    return on_devices.parallel(function, devices, sharded=sharded)

  if estimator == "jacobian":
    closed = mapped(
      lambda images, keys: gathered(
        knowledge.jacobian(
          feature,
          images,
          seeds(keys),
          problem,
          probes=settings["probes"],
          at_once=8,
        )
      ),
      (0, 1),
    )
    return lambda: np.asarray(closed(cut(images), cut(keys)).entropy)
  descent = knowledge.Descent(
    steps=settings["steps"], draws=settings["draws"], tolerance=0.0
  )
  shared = {"problem": problem, "descent": descent}
  begin = mapped(
    lambda images, keys, sigma: gathered(
      knowledge.start(feature, images, seeds(keys), sigma, **shared)
    ),
    (0, 1, 2),
  )
  advance = mapped(
    lambda images, keys, state, step: gathered(
      knowledge.step(feature, images, seeds(keys), own(state), step, **shared)
    ),
    (0, 1),
  )

  def run():
    results = knowledge.minimise(
      lambda images, keys, sigma: begin(cut(images), cut(keys), cut(sigma)),
      lambda images, keys, state, step: advance(
        cut(images), cut(keys), state, step
      ),
      np.asarray(images),
      keys,
      problem,
      descent,
    )
    return np.asarray(results.entropy)

  return run


def seeds(numbers: jax.Array) -> jax.Array:
  """Makes a key an image.

  Args:
    numbers: (B,) of the images.

  Returns:
    (B,) PRNG keys.
  """
  return jax.vmap(jax.random.key)(numbers)


def gathered(tree: Any) -> Any:
  """Collects what all devices have.

  Args:
    tree: arrays (B, ...), a device's part.
  """
  return jax.tree.map(
    lambda x: jax.lax.all_gather(x, on_devices.AXIS, axis=0, tiled=True), tree
  )


def own(tree: Any) -> Any:
  """Takes a device's part of arrays that hold all images.

  Args:
    tree: arrays (B, ...) of all images.
  """
  count = jax.lax.psum(1, on_devices.AXIS)
  place = jax.lax.axis_index(on_devices.AXIS)

  def part(x):
    size = x.shape[0] // count
    return jax.lax.dynamic_slice_in_dim(x, place * size, size)

  return jax.tree.map(part, tree)


if __name__ == "__main__":
  main()
