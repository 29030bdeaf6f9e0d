"""Students of a live teacher and of a cached one: the same, but for the time.

  python launch.py cache --experiment=cached_teacher --workdir=DIR
  python -m benchmarks.cached_teacher DIR [--epochs=40] [--results=results.json]

Both trainings take turns, an epoch each, so that whatever else the machine does
meets both alike; the first epoch of each, which compiles, does not count. Wall
time and this process's CPU time are given: on a shared machine only the second
means much. `--results` adds what was found to a run's results as "interleaved".
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import time

import jax

from kdjax import evaluate
from kdjax.runner.config.experiments import load_experiment
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.build import prepare
from kdjax.train import loop
from kdjax.train.precision import full_precision
from kdjax.train.state import variables
from kdjax.train.teacher import live_teacher

EXPERIMENT = load_experiment("cached_teacher")


def main() -> None:
  """Prints a line for each way of being taught, and the ratio."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("cache")
  parser.add_argument("--epochs", type=int, default=EXPERIMENT.student.epochs)
  parser.add_argument("--results", type=pathlib.Path)
  options = parser.parse_args()
  results = compare(options.cache, options.epochs)
  print(json.dumps(results, indent=2))
  if options.results is not None:
    whole = json.loads(options.results.read_text())
    whole["interleaved"] = results
    options.results.write_text(json.dumps(whole, indent=2) + "\n")


def compare(folder: str, count: int) -> dict:
  """Trains on both in turns; returns seconds an epoch, and accuracy by seed."""
  parts = {name: prepared(folder, name) for name in ("live", "cached")}
  trainings = {name: epochs(one, count) for name, one in parts.items()}
  times, last = {name: [] for name in parts}, {}
  for _ in range(count):
    for name, training in trainings.items():
      start = (time.perf_counter(), time.process_time())
      last[name] = variables(next(training).states["student"])
      jax.block_until_ready(last[name])
      stop = (time.perf_counter(), time.process_time())
      times[name].append([b - a for a, b in zip(start, stop, strict=True)])
  results = {}
  for name, one in parts.items():
    logits = predict.predict(one.student, last[name], one.score_split.images)
    wall, cpu = (
      statistics.median(column) for column in zip(*times[name][1:], strict=True)
    )
    results[name] = {
      "seconds_an_epoch": wall,
      "cpu_seconds_an_epoch": cpu,
      "test_accuracy": evaluate.accuracy(
        logits, one.score_split.labels
      ).tolist(),
    }
  for kind in ("seconds_an_epoch", "cpu_seconds_an_epoch"):
    results[f"ratio_of_{kind}"] = (
      results["live"][kind] / results["cached"][kind]
    )
  return results


def prepared(folder: str, name: str):
  """Prepares the experiment with one of the two teachers."""
  field = "teacher_from" if name == "live" else "teacher_cache"
  teacher = dataclasses.replace(EXPERIMENT.teacher, **{field: folder})
  return prepare(dataclasses.replace(EXPERIMENT, teacher=teacher))


def epochs(parts, count: int):
  """Trains the experiment's students alone."""
  if parts.cached is not None:
    teacher = parts.cached.teacher()
  else:
    network = parts.teacher.network
    teacher = live_teacher(full_precision(network), parts.saved_teacher.load())
  train_spec = parts.student
  return loop.train(
    train_spec.network,
    train_spec.optimizer,
    {"student": train_spec.arms["student"]},
    {"transfer": train_spec.loaders["transfer"]},
    parts.dataset.train.images,
    epochs=count,
    task=train_spec.task,
    sample=parts.sample,
    teachers={"teacher": teacher},
    devices=parts.devices,
  )


if __name__ == "__main__":
  main()
