"""What a user's own loop costs: `make_step` over a step by hand, `sharded` over `jit`.

  python -m benchmarks.own_loop [--output=FILE] [--quick] [--rounds=25]
    [--pairs=mlp,resnet,gpt] [--clock=wall|processor]

The same student learns from the same teacher on the same batches, arrays of the host,
in three loops that take turns:

  by hand  `jax.value_and_grad(objective.loss)` and `optimizer.update` inside the
           user's own `jax.jit`, as docs/library.md has it
  jit      `kdjax.make_step(objective, optimizer)`
  sharded  the same with `kdjax.sharded(mesh, [])`, on a mesh of one device

Before that the three have come to the same parameters.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import kdjax
from benchmarks import timing
from kdjax.models import make_model

LIMIT = 1.03
LENGTH, VOCABULARY = 32, 512
RATIOS = {"make_step": ("jit", "by hand"), "sharded": ("sharded", "jit")}


class Pair(NamedTuple):
  """A teacher and a student.

  Attributes:
    teacher: model.
    student: model.
    method: what is matched.
    task: what their answers mean.
    shape: of an example.
    batch_size: examples a step.
    steps: of a round.
  """

  teacher: str
  student: str
  method: str
  task: Any
  shape: tuple[int, ...]
  batch_size: int
  steps: int


def pairs() -> dict[str, Pair]:
  """Returns what is measured, by name."""
  kd = "kd(temperature=4):0.9 + ce:0.1"
  images, tokens = (
    kdjax.tasks.classification(10),
    kdjax.tasks.language_model(VOCABULARY),
  )
  end = f"positions={LENGTH}, tied=False, dropout=0"
  return {
    "mlp": Pair("mlp(1200, 1200)", "mlp(100)", kd, images, (28, 28, 1), 64, 32),
    "resnet": Pair("resnet20", "resnet8", kd, images, (16, 16, 3), 32, 4),
    "gpt": Pair(
      f"gpt(width=128, depth=4, heads=4, {end})",
      f"gpt(width=64, depth=2, heads=4, mlp=256, {end})",
      "forward_kl:0.9 + ce:0.1",
      tokens,
      (LENGTH,),
      16,
      8,
    ),
  }


def batches(pair: Pair) -> list[dict[str, np.ndarray]]:
  """Draws a round's batches."""
  random = np.random.default_rng(0)

  def batch():
    if pair.shape == (LENGTH,):
      size = (pair.batch_size, LENGTH)
      return {"tokens": random.integers(0, VOCABULARY, size, np.int32)}
    return {
      "image": random.random((pair.batch_size, *pair.shape), np.float32),
      "label": random.integers(0, 10, pair.batch_size, np.int32),
    }

  return [batch() for _ in range(pair.steps)]


def loops(pair: Pair) -> dict[str, Callable[[], Any]]:
  """Starts the loops; each call is a round, and returns the student's parameters."""
  batch_list = batches(pair)
  classes = VOCABULARY if pair.shape == (LENGTH,) else 10
  student, big = (
    kdjax.from_linen(make_model(text, classes=classes))
    for text in (pair.student, pair.teacher)
  )
  inputs = {name: x for name, x in batch_list[0].items() if name != "label"}
  variables = big.init(jax.random.key(1), inputs)
  teacher = jax.device_put(kdjax.live_teacher(big, variables))
  method = kdjax.make_method(pair.method, task=pair.task)
  objective = kdjax.objective(method, student, pair.task)
  optimizer = optax.sgd(1e-3)
  mesh = jax.make_mesh((1,), ("data",), devices=jax.local_devices()[:1])
  placements = {"jit": kdjax.jit(), "sharded": kdjax.sharded(mesh, [])}
  return {
    "by hand": by_hand(objective, optimizer, teacher, batch_list),
    **{
      name: by_step(objective, optimizer, placed, teacher, batch_list)
      for name, placed in placements.items()
    },
  }


def by_hand(objective, optimizer, teacher, batch_list) -> Callable[[], Any]:
  """The loop that users write around the loss alone."""
  key = jax.random.key(0)

  @jax.jit
  def update(params, opt, state, teacher, batch, n):
    (_, (state, metrics)), grads = jax.value_and_grad(
      objective.loss, has_aux=True
    )(
      params,
      state,
      teacher,
      batch,
      step=n,
      key=jax.random.fold_in(key, n),
    )
    updates, opt = optimizer.update(grads, opt, params)
    return optax.apply_updates(params, updates), opt, state, metrics

  params, state = objective.init(key, None, teacher, batch_list[0])
  at = [params, optimizer.init(params), state, 0]

  def run():
    params, opt, state, n = at
    for batch in batch_list:
      params, opt, state, _ = update(params, opt, state, teacher, batch, n)
      n += 1
    at[:] = params, opt, state, n
    return params["network"]

  return run


def by_step(
  objective, optimizer, placed, teacher, batch_list
) -> Callable[[], Any]:
  """The same loop around `make_step`."""
  step = kdjax.make_step(objective, optimizer, placed)
  teacher = placed.put(teacher)
  at = [step.init(jax.random.key(0), None, teacher, batch_list[0])]

  def run():
    (state,) = at
    for batch in batch_list:
      state, _ = step.step(state, teacher, batch)
    at[:] = [state]
    return state.params["network"]

  return run


def check_same(runs: dict[str, Callable[[], Any]]) -> None:
  """Takes a round of each, and sees that all have learned the same."""
  first, *others = (jax.device_get(run()) for run in runs.values())
  for other in others:
    gaps = jax.tree.map(lambda x, y: jnp.abs(x - y).max(), first, other)
    assert max(jax.tree.leaves(gaps)) < 1e-5


def measured(name: str, rounds: int, clock: str) -> list[dict[str, Any]]:
  """Times a pair; a row a comparison."""
  pair = pairs()[name]
  runs = loops(pair)
  check_same(runs)
  times = timing.interleaved(
    runs, rounds=rounds, warmup=2, clock=timing.CLOCKS[clock]
  )
  return [
    {
      "pair": name,
      "batch_size": pair.batch_size,
      "comparison": comparison,
      "seconds_a_step": statistics.median(times[of]) / pair.steps,
      "ratio": timing.ratio(times, of, over),
    }
    for comparison, (of, over) in RATIOS.items()
  ]


def write(rows: list[dict], path: Path | None) -> None:
  """Prints and writes all rows until now."""
  what = {
    "make_step": "make_step over a step by hand",
    "sharded": "sharded on one device over jit",
  }
  summary = [
    timing.line(
      f"{row['pair']}, batch {row['batch_size']}: {what[row['comparison']]}",
      f"<= {LIMIT}",
      row["ratio"]["median"],
      row["ratio"]["median"] <= LIMIT,
    )
    for row in rows
  ]
  timing.write({**timing.machine(), "rows": rows, "summary": summary}, path)


def main() -> int:
  """Prints a row a pair and comparison, and writes them."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rounds", type=int, default=25)
  parser.add_argument("--pairs", default="mlp,resnet,gpt")
  parser.add_argument("--clock", choices=timing.CLOCKS, default="wall")
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  names = options.pairs.split(",")
  before = timing.written(options.output, "rows")
  rows = [row for row in before if row["pair"] not in names]
  for name in names:
    rows += measured(
      name, 9 if options.quick else options.rounds, options.clock
    )
    write(rows, options.output)
  return 0


if __name__ == "__main__":
  sys.exit(main())
