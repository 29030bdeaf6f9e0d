"""Images a second of the estimators, over image count, grid, steps and draws.

  python benchmarks/quantify.py [--model=SPEC] [--tap=TAP] [--size=48]

Every row is one compiled program, run three times after a warm-up; the median
counts. Wall time and this process's CPU time are given: on a shared machine
only the second means much.
"""

import argparse
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp

from kdjax import quantify
from kdjax.explain.parts import make_feature
from kdjax.models import make_model

MODEL = "lenet(16, 32, 64, hidden=(128, 128), kernel=3, pool=False)"
STANDARD = {"images": 16, "grid": 16, "probes": 32, "steps": 20, "draws": 16}
CASES = (
  ("jacobian", "images", (1, 4, 16, 64)),
  ("jacobian", "grid", (4, 8, 16)),
  ("jacobian", "probes", (8, 16, 32, 64)),
  ("optimise", "images", (1, 4, 16)),
  ("optimise", "grid", (4, 16)),
  ("optimise", "steps", (10, 20, 40)),
  ("optimise", "draws", (4, 16, 64)),
)


def main() -> None:
  """Prints one line a case."""
  given = argparse.ArgumentParser(description=__doc__)
  given.add_argument("--model", default=MODEL)
  given.add_argument("--tap", default="hidden_0")
  given.add_argument("--size", type=int, default=48)
  given.add_argument("--channels", type=int, default=1)
  options = given.parse_args()
  print(f"{options.model} at {options.tap}, {jax.devices()[0].device_kind}")
  print("estimator  varied        images/s  CPU-ms/image  wall-ms/image")
  for estimator, name, values in CASES:
    for value in values:
      settings = STANDARD | {name: value}
      wall, cpu = measured(estimator, options, settings)
      count = settings["images"]
      print(
        f"{estimator:9}  {f'{name}={value}':12}  {count / wall:8.1f}"
        f"  {1e3 * cpu / count:12.2f}  {1e3 * wall / count:13.2f}",
        flush=True,
      )


def measured(estimator: str, options, settings: dict) -> tuple[float, float]:
  """Times one case.

  Args:
    estimator: "jacobian" or "optimise".
    options: model, tap, size and channels.
    settings: as STANDARD.

  Returns:
    Seconds of wall and of CPU time for all images.
  """
  shape = (settings["images"], options.size, options.size, options.channels)
  images = jax.random.uniform(jax.random.key(1), shape)
  network = make_model(options.model, classes=10)
  variables = network.init(jax.random.key(0), images[:1], train=False)
  feature = partial(make_feature(network, options.tap), variables)
  keys = jax.random.split(jax.random.key(2), len(images))
  problem = quantify.Problem(grid=(settings["grid"],) * 2)
  if estimator == "jacobian":
    run = jax.jit(
      lambda images, keys: quantify.jacobian(
        feature, images, keys, problem, probes=settings["probes"]
      )
    )
  else:
    descent = quantify.Descent(
      steps=settings["steps"], draws=settings["draws"], tolerance=0.0
    )
    shared = {"problem": problem, "descent": descent}
    begin = jax.jit(partial(quantify.start, feature, **shared))
    advance = jax.jit(partial(quantify.step, feature, **shared))

    def run(images, keys):
      return quantify.minimise(begin, advance, images, keys, problem, descent)

  jax.block_until_ready(run(images, keys))
  times = []
  for _ in range(3):
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(run(images, keys))
    times.append((time.perf_counter() - wall, time.process_time() - cpu))
  return tuple(map(statistics.median, zip(*times, strict=True)))


if __name__ == "__main__":
  jnp.zeros(()).block_until_ready()
  main()
