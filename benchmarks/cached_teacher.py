"""How long an epoch of students takes with the teacher live, and with it cached.

  python launch.py cache --experiment=cached_teacher --workdir=DIR
  python -m benchmarks.cached_teacher DIR [--epochs=9]

Both trainings take turns, an epoch each, so that whatever else the machine does
meets both alike; the first epoch of each, which compiles, does not count. Wall
time and this process's CPU time are given: on a shared machine only the second
means much.
"""

import argparse
import dataclasses
import statistics
import time

import jax

from experiments.cached_teacher import EXPERIMENT
from kdjax.cached_teacher import as_teacher
from kdjax.prepare import prepare
from kdjax.train import loop
from kdjax.train.state import frozen_state
from kdjax.train.teacher import live


def main() -> None:
  """Prints a line for each way of being taught, and the ratio."""
  given = argparse.ArgumentParser(description=__doc__)
  given.add_argument("cache")
  given.add_argument("--epochs", type=int, default=9)
  options = given.parse_args()
  trainings = {
    name: epochs(options.cache, name, options.epochs + 1)
    for name in ("live", "cached")
  }
  times = {name: [] for name in trainings}
  for _ in range(options.epochs + 1):
    for name, training in trainings.items():
      start = (time.perf_counter(), time.process_time())
      jax.block_until_ready(next(training).states)
      stop = (time.perf_counter(), time.process_time())
      times[name].append([b - a for a, b in zip(start, stop, strict=True)])
  medians = {
    name: [statistics.median(column) for column in zip(*rows[1:], strict=True)]
    for name, rows in times.items()
  }
  for name, (wall, cpu) in medians.items():
    print(f"{name:6}  {wall:7.3f} s an epoch, {cpu:7.3f} s of CPU time")
  ratios = [a / b for a, b in zip(*medians.values(), strict=True)]
  print(f"ratio   {ratios[0]:7.2f}                {ratios[1]:7.2f}")


def epochs(folder: str, name: str, count: int):
  """Trains the experiment's students on one of the two teachers."""
  field = "teacher_from" if name == "live" else "teacher_cache"
  source = {"model": "auto", field: folder}
  parts = prepare(
    dataclasses.replace(
      EXPERIMENT, teacher=dataclasses.replace(EXPERIMENT.teacher, **source)
    )
  )
  if parts.cached is not None:
    teacher = as_teacher(parts.cached)
  else:
    network = parts.teacher.network
    teacher = live(frozen_state(network, parts.found.load()))
  trainee = parts.student
  return loop.train(
    trainee.network,
    trainee.optimizer,
    {"student": trainee.arms["student"]},
    {"transfer": trainee.feeds["transfer"]},
    parts.dataset.train.images,
    epochs=count,
    sample=parts.sample,
    teachers={"teacher": teacher},
    devices=parts.devices,
  )


if __name__ == "__main__":
  main()
