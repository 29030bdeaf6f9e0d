"""What `--nan=skip` adds to a training step, measured in turns.

  python -m benchmarks.nan_cost

A step of a perceptron of 1.2 million parameters, with both policies, twenty in
a row and then the other; the cheapest rows count. Processor time tells more
than the clock where others use the machine too.
"""

import argparse
import datetime
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.task import batch_of
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.devices import placement
from kdjax.train.fault_tolerance import nan_guard
from kdjax.train.optimizer import make_optimizer
from kdjax.train.schemes.scheme import OFFLINE

STEPS = 20


def program(policy: str, optimizer: str, batch_size: int):
  """A compiled row of steps, and the state that it starts from."""
  images = np.random.default_rng(0).random((batch_size, 28, 28, 1), np.float32)
  batch = batch_of(jnp.asarray(images))._replace(
    targets=jnp.zeros(batch_size, jnp.int32)
  )
  scheme = nan_guard.guard(OFFLINE, policy, 10)
  method = make_objective("hard")
  state = scheme.create(
    make_model("mlp(1000, 400)", classes=10),
    method,
    make_optimizer(optimizer, "cosine", 10_000),
    rng=jax.random.key(0),
    task=classification(10),
    inputs=batch.inputs[:1],
    teacher=None,
    learning_rate=jnp.float32(1e-3),
  )

  def one(state, _):
    step = partial(scheme.step, rng=jax.random.key(1))
    return placement.over_members(
      lambda state: step(state, method, batch, None), state
    )

  run = jax.jit(
    lambda state: jax.lax.scan(one, state, length=STEPS), donate_argnums=0
  )
  return run, jax.tree.map(lambda x: x[None], state)


def measure(optimizer: str, batch_size: int, rounds: int) -> dict:
  """Milliseconds a step, by policy: processor time and clock."""
  runs = {p: program(p, optimizer, batch_size) for p in ("stop", "skip")}
  spent = {policy: [] for policy in runs}
  for number in range(rounds + 1):
    for policy in list(runs)[:: 1 if number % 2 else -1]:
      run, state = runs[policy]
      begun = time.process_time(), time.perf_counter()
      state, _ = jax.block_until_ready(run(state))
      runs[policy] = run, state
      if number:  # the first one compiles
        now = time.process_time(), time.perf_counter()
        spent[policy].append(np.subtract(now, begun) / STEPS * 1e3)
  results = {"optimizer": optimizer, "batch_size": batch_size}
  for policy, times in spent.items():
    lowest = np.percentile(times, 10, axis=0)
    results[policy] = dict(zip(("cpu_ms", "ms"), lowest.round(3), strict=True))
  added = results["skip"]["cpu_ms"] / results["stop"]["cpu_ms"] - 1
  return results | {"added_percent_of_cpu": round(100 * added, 1)}


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rounds", type=int, default=30)
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  results = {
    "steps": [
      measure(optimizer, batch_size, options.rounds)
      for optimizer in ("sgd", "adam")
      for batch_size in (128, 512)
    ],
    "date": datetime.date.today().isoformat(),
    "jax": jax.__version__,
    "processors": os.cpu_count(),
    "command": f"python -m benchmarks.nan_cost --rounds={options.rounds}",
  }
  text = json.dumps(results, indent=2)
  print(text)
  if options.output:
    options.output.write_text(text + "\n")
  return 0


if __name__ == "__main__":
  sys.exit(main())
