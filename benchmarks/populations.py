"""A sweep in one program, and the same students one after the other.

  python -m benchmarks.populations [--quick] [--output=FILE]

15 cells (five temperatures, three hard weights) times some seeds of small
students of 4,000 stored 28 x 28 images learn from a teacher's stored answers,
which cost nobody anything:

  population   all of them in one program, as `launch.py sweep` trains them
  own          each in a program of its own, as one run after the other does;
               some of them are timed, and stand for all
  shared       one after the other in one program that is compiled once

Each is timed with its compilation ("cold") and without it ("warm"), in turns. A
round's ratio is of times of that round. Before that, some members are compared
with their single runs.
"""

import argparse
import itertools
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from kdjax.core.teacher import stored_teacher
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.runner.pipeline.loaders import make_loader
from kdjax.tasks import classification
from kdjax.train import loop
from kdjax.train.arm import Arm
from kdjax.train.optimizer import make_optimizer

EXAMPLES, CLASSES, BATCH = 4000, 10, 128
CELLS = list(itertools.product((1.0, 2.0, 4.0, 8.0, 20.0), (0.0, 0.1, 0.5)))
TOLERANCE = 1e-4


def method(settings):
  return make_objective(
    "kd",
    temperature=settings["temperature"],
    hard_weight=settings["hard_weight"],
  )


class Bench:
  """Students of one model, to be trained in several ways."""

  def __init__(self, model: str, seeds: int, epochs: int):
    rng = np.random.default_rng(0)
    self.images = rng.integers(0, 256, (EXAMPLES, 28, 28, 1), np.uint8)
    labels = rng.integers(0, CLASSES, EXAMPLES).astype(np.int32)
    self.loader = make_loader(np.arange(EXAMPLES), labels, "none", BATCH)
    answers = rng.normal(size=(EXAMPLES, CLASSES)).astype(np.float32)
    self.teachers = {"teacher": stored_teacher(answers)}
    self.network = make_model(model, classes=CLASSES)
    self.epochs = epochs
    self.optimizer = make_optimizer(
      "adam", "cosine", epochs * self.loader.steps
    )
    cells = np.repeat(CELLS, seeds, axis=0)
    self.settings = {
      "seed": np.tile(np.arange(seeds), len(CELLS)),
      "learning_rate": np.full(len(cells), 0.01),
      "temperature": cells[:, 0],
      "hard_weight": cells[:, 1],
    }
    self.members = len(cells)

  def train(self, members=None, programs=None, most=None):
    """Trains some members; returns their parameters."""
    settings = self.settings
    if members is not None:
      settings = {key: value[members] for key, value in settings.items()}
    arm = Arm("all", method, settings, teacher="teacher")
    following = loop.train(
      self.network,
      self.optimizer,
      {"student": arm},
      {"all": self.loader},
      self.images,
      epochs=self.epochs,
      task=classification(CLASSES),
      sample=jnp.zeros((1, 28, 28, 1)),
      teachers=self.teachers,
      devices=jax.local_devices()[:1],
      programs=programs,
      most=most,
    )
    for epoch in following:
      last = epoch
    return last.states["student"].params

  def one_by_one(self, programs):
    return [self.train([i], programs) for i in range(self.members)]

  def check(self) -> float:
    """The largest distance of a member from its single run, as a share.

    Of all weights together: Adam divides by the gradient's size, so one weight
    whose gradient is rounding may differ by a step.
    """
    together, largest = self.train(), 0.0
    for i in (0, self.members // 2, self.members - 1):
      alone = self.train([i])
      apart = jax.tree.map(lambda x, y, i=i: x[i] - y[0], together, alone)
      share = optax.global_norm(apart) / optax.global_norm(alone)
      largest = max(largest, float(share))
    return largest


def measure(model: str, *, seeds: int, epochs: int, own: int, rounds: int):
  """Times one model's students in all ways."""
  bench = Bench(model, seeds, epochs)
  difference = bench.check()
  if difference > TOLERANCE:
    raise SystemExit(f"{model}: single runs are {difference:.2g} away")
  places = np.linspace(0, bench.members - 1, own).astype(int)
  ready, single = {}, {}
  times = timing.interleaved(
    {
      "population, cold": bench.train,
      "population, warm": partial(bench.train, programs=ready),
      "own, cold": lambda: [bench.train([i]) for i in places],
      "shared, warm": partial(bench.one_by_one, single),
    },
    rounds=rounds,
  )
  each = bench.members / len(places)
  times["own, cold"] = [each * x for x in times["own, cold"]]
  # Compiled once: what a cold run of one member takes longer than a warm one.
  times["shared, cold"] = [
    warm + (own - warm) / bench.members
    for own, warm in zip(times["own, cold"], times["shared, warm"], strict=True)
  ]
  ratios = {
    name: timing.ratio(times, name, over)
    for name, over in (
      ("own, cold", "population, cold"),
      ("shared, cold", "population, cold"),
      ("shared, warm", "population, warm"),
    )
  }
  cold, warm = (
    timing.spread(times[f"population, {state}"]) for state in ("cold", "warm")
  )
  return {
    "model": model,
    "members": bench.members,
    "epochs": epochs,
    "steps": epochs * bench.loader.steps,
    "timed_own": own,
    "largest_difference": difference,
    "seconds": {name: timing.spread(values) for name, values in times.items()},
    "compile_seconds": cold["median"] - warm["median"],
    "seconds_a_member": cold["median"] / bench.members,
    "faster_than": ratios,
  }


def summary(results: list[dict]) -> list[dict]:
  lines = []
  for one in results:
    for name, target in (
      ("own, cold", 3.0),
      ("shared, cold", None),
      ("shared, warm", None),
    ):
      ratio = one["faster_than"][name]
      how = (
        "each its own program" if name[:3] == "own" else "one shared program"
      )
      state = "with" if name.endswith("cold") else "without"
      lines.append(
        timing.line(
          f"{one['members']} students {one['model']} in one program, times"
          f" faster than one after the other, {how}, {state} compilation",
          "-" if target is None else f">= {target:g}",
          ratio["median"],
          None if target is None else ratio["median"] >= target,
        )
      )
  return lines


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--quick", action="store_true")
  parser.add_argument(
    "--output", type=Path, default=Path("benchmarks/results/populations.json")
  )
  options = parser.parse_args()
  sizes = {"seeds": 5, "epochs": 5, "own": 3, "rounds": 3}
  models = ["mlp(20)", "mlp(100)"]
  if options.quick:
    sizes, models = {"seeds": 2, "epochs": 2, "own": 1, "rounds": 1}, models[:1]
  results = [measure(model, **sizes) for model in models]
  lines = summary(results)
  for one in lines:
    print(f"{one['measured']:.3g} ({one['target']}) {one['what']}")
  timing.write(
    {"machine": timing.machine(), "students": results, "summary": lines},
    options.output,
  )


if __name__ == "__main__":
  main()
