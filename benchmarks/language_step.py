"""A training step of language models: against its matrix products, and PyTorch.

  python -m benchmarks.language_step [--quick] [--rounds=5] [--only=states,teacher]
    [--clock=wall|processor] [--output=FILE]

At SmolLM2's sizes, random weights, float32: a student of 6 x 576 with 49152 classes
learns from 30 x 576 by `forward_kl:0.9 + ce:0.1` over all classes, AdamW, gradients of
at most length 1, 2 texts of 512 tokens a step. In turns:

  ours        `kdjax.make_step` with the task `language_model`
  torch       the same networks of transformers, the losses from whole logits,
              clip_grad_norm_, AdamW (fused)
  compile     the same, networks and losses compiled
  products    the step's matrix products alone, each of its shape and as often as the
              step has it: forward 2 m n k operations each, twice as many backward,
              those of attention over all T x T scores. Norms, rotations, softmaxes,
              losses and the optimiser are counted as nothing.

"states": the teacher's last hidden states are given, as a cache of them has it, and its
logits are made in the step; "teacher": its forward pass is part of the step. The
losses of three steps are compared first. The achieved rate over that of the products
is the ratio of the two times.

The process starts itself again with a malloc that keeps large arrays, and with threads
of PyTorch that sleep where they wait, or the processor's clock would count that.
"""

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A larger MALLOC_MMAP_THRESHOLD_ than 32 MB is ignored, and arrays above it are
# given back to the system at each free.
ENVIRONMENT = {
  "MALLOC_ARENA_MAX": "1",
  "MALLOC_MMAP_MAX_": "0",
  "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
  "OMP_WAIT_POLICY": "PASSIVE",
}
if __name__ == "__main__" and any(
  name not in os.environ for name in ENVIRONMENT
):
  os.environ.update(ENVIRONMENT)
  command = [sys.executable, "-m", "benchmarks.language_step", *sys.argv[1:]]
  os.execv(sys.executable, command)

import jax  # noqa: E402  (malloc must be settled first)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import kdjax  # noqa: E402
from benchmarks import timing  # noqa: E402
from benchmarks.generation import COMMON, SMOLLM2  # noqa: E402
from kdjax.models.decoder import Decoder  # noqa: E402
from kdjax.models.pretrained import families  # noqa: E402
from kdjax.train.optimizer import (  # noqa: E402
  make_optimizer,
  with_learning_rate,
)

try:
  from benchmarks import language_step_torch as peers
except ImportError:
  peers = None

KINDS = ("states", "teacher")
LAYERS, BATCH, LENGTH = (6, 30), 2, 512
QUICK = ((2, 4), 1, 128)
SETTINGS = {
  "rate": 1e-4,
  "betas": (0.9, 0.95),
  "decay": 0.1,
  "clip": 1.0,
  "weights": (0.9, 0.1),
}
ENOUGH = 0.6


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--only", default=",".join(KINDS))
  parser.add_argument("--clock", choices=timing.CLOCKS, default="wall")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  kinds = options.only.split(",")[: 1 if options.quick else None]
  rows = [
    row
    for row in timing.written(options.output, "rows")
    if row["teacher"] not in kinds
  ]
  for kind in kinds:
    size = QUICK if options.quick else (LAYERS, BATCH, LENGTH)
    rows.append(measured(kind, *size, options))
    result = {**timing.machine(), **versions(), "rows": rows}
    timing.write({**result, "summary": summary(rows)}, options.output)


def versions() -> dict[str, str]:
  """Says what was compared with."""
  return peers.versions() if peers else {"torch": "not installed"}


def decoder(layers: int) -> Any:
  """A network of SmolLM2's width."""
  config = {"model_type": "llama"} | SMOLLM2 | COMMON
  config |= {"num_hidden_layers": layers}
  return kdjax.from_linen(Decoder(families.decoder_config(config)))


def measured(kind: str, layers, batch: int, length: int, options) -> dict:
  """Times one kind of step, after comparing the losses."""
  random = np.random.default_rng(0)
  classes = SMOLLM2["vocab_size"]
  tokens = random.integers(0, classes, (batch, length)).astype(np.int32)
  networks = [decoder(count) for count in layers]
  arrays = [
    jax.jit(lambda key, network=network: network.init(key, tokens[:1, :2]))(
      jax.random.key(seed)
    )
    for seed, network in enumerate(networks)
  ]
  states = last_states(networks[1], arrays[1], tokens)
  runs = {"ours": ours(networks, arrays, tokens, states, kind)}
  if peers:
    runs |= peers.steps(
      networks,
      arrays,
      tokens,
      np.asarray(states) if kind == "states" else None,
      compiled=not options.quick,
      **SETTINGS,
    )
  losses = {name: [run() for _ in range(3)] for name, run in runs.items()}
  for name, values in losses.items():
    np.testing.assert_allclose(values, losses["ours"], rtol=1e-4, err_msg=name)
  shapes = products_of(layers, batch, length, kind)
  runs["products"] = products(shapes)
  times = timing.interleaved(
    runs,
    rounds=2 if options.quick else options.rounds,
    clock=timing.CLOCKS[options.clock],
    settle=True,
  )
  work = sum(count * 2 * np.prod(shape) for shape, _, count in shapes)
  seconds = {name: timing.spread(x) for name, x in times.items()}
  return {
    "teacher": kind,
    "layers": layers,
    "tokens": [batch, length],
    "losses": losses,
    "GFLOP": float(work) / 1e9,
    "seconds": seconds,
    "GFLOP/s": {
      name: float(work) / 1e9 / x["median"] for name, x in seconds.items()
    },
    "of the products' rate": timing.ratio(times, "products", "ours"),
    "over ours": {
      name: timing.ratio(times, name, "ours")
      for name in times
      if name not in ("ours", "products")
    },
  }


def last_states(network: Any, variables: Any, tokens: np.ndarray) -> jax.Array:
  """What the teacher's output layer reads, (B, T, D)."""

  @jax.jit
  def read(variables):
    return network.apply(variables, {"tokens": tokens}, taps=("norm",))[1][
      "norm"
    ]

  return read(variables)


def ours(networks, arrays, tokens, states, kind: str) -> Callable[[], float]:
  """Starts our training; a call is a step, and returns its loss."""
  student, teacher = networks
  task = kdjax.tasks.language_model(SMOLLM2["vocab_size"])
  weights, (_, b2) = SETTINGS["weights"], SETTINGS["betas"]
  method = kdjax.make_method(
    f"forward_kl:{weights[0]} + ce:{weights[1]}", task=task
  )
  optimizer = make_optimizer(
    f"adamw(b2={b2}, weight_decay={SETTINGS['decay']}, clip={SETTINGS['clip']})",
    "constant",
    100,
  )
  live_teacher = kdjax.live_teacher(teacher, arrays[1])
  if kind == "states":
    kernel = teacher.classifier(arrays[1])["kernel"]
    stored = {"params": {"states": states, "kernel": kernel}}
    live_teacher = kdjax.live_teacher(kdjax.from_apply(show_states), stored)
  step = kdjax.make_step(kdjax.objective(method, student, task), optimizer)
  batch = {"tokens": jnp.asarray(tokens)}
  state = step.init(jax.random.key(0), arrays[0], live_teacher, batch)
  opt_state = with_learning_rate(state.opt_state, jnp.float32(SETTINGS["rate"]))
  states_left = [state._replace(opt_state=opt_state)]

  def run() -> float:
    state, metrics = step.step(states_left.pop(), live_teacher, batch)
    states_left.append(state)
    total, count = jax.block_until_ready(metrics["loss"])
    return float(total / count)

  return run


def show_states(variables, inputs, *, train, rngs) -> jax.Array:
  """Answers with stored hidden states, for the one batch there is."""
  stored = variables["params"]
  return stored["states"] @ stored["kernel"]


def products_of(layers, batch: int, length: int, kind: str) -> list:
  """Counts the step's matrix products.

  Returns:
    Of each its shape (batch, m, k, n), which of its three products it is, and how
    often it is made.
  """
  width, mlp = SMOLLM2["hidden_size"], SMOLLM2["intermediate_size"]
  heads, groups = (
    SMOLLM2[name] for name in ("num_attention_heads", "num_key_value_heads")
  )
  own = width // heads
  rows = batch * length
  block = {
    (1, rows, width, width): 2,  # queries, the output
    (1, rows, width, groups * own): 2,  # keys, values
    (1, rows, width, mlp): 2,
    (1, rows, mlp, width): 1,
    (batch * heads, length, own, length): 1,
    (batch * heads, length, length, own): 1,
  }
  head = (1, batch * (length - 1), width, SMOLLM2["vocab_size"])
  student, teacher = layers
  products = [
    (shape, way, count * student)
    for shape, count in block.items()
    for way in ("forward", "left", "right")
  ]
  products += [(head, way, 1) for way in ("forward", "left", "right")]
  products.append((head, "forward", 1))
  if kind == "teacher":
    products += [
      (shape, "forward", count * teacher) for shape, count in block.items()
    ]
  return products


WAYS = {
  "forward": lambda x, y, z: jnp.matmul(x, y),
  "left": lambda x, y, z: jnp.matmul(z, y.mT),
  "right": lambda x, y, z: jnp.matmul(x.mT, z),
}


def products(shapes: list) -> Callable[[], None]:
  """Makes what computes these products, one after the other."""
  jitted = {way: jax.jit(function) for way, function in WAYS.items()}

  @functools.cache
  def factors(shape):
    batch, m, k, n = shape
    keys = jax.random.split(jax.random.key(0), 3)
    sizes = ((batch, m, k), (batch, k, n), (batch, m, n))
    # A product of one is no batch of them.
    return [
      jax.random.normal(key, size[1 if batch == 1 else 0 :])
      for key, size in zip(keys, sizes, strict=True)
    ]

  def run() -> None:
    for shape, way, count in shapes:
      for _ in range(count):
        jax.block_until_ready(jitted[way](*factors(shape)))

  return run


def summary(rows: list[dict]) -> list[dict]:
  """Says what was wanted and what was found."""
  lines = []
  for row in rows:
    titles = {"states": "hidden states given", "teacher": "teacher in the step"}
    size = f"{row['tokens'][0]} x {row['tokens'][1]} tokens"
    step = f"{row['layers'][0]} x 576, {size}, {titles[row['teacher']]}"
    rate = row["of the products' rate"]["median"]
    lines.append(
      timing.line(
        f"{step}: rate over that of its matrix products",
        f">= {ENOUGH}",
        rate,
        rate >= ENOUGH,
      )
    )
    for name, ratio in row["over ours"].items():
      over = ratio["median"]
      what = f"{step}: {name} over ours"
      lines.append(timing.line(what, ">= 1", over, over >= 1))
  return lines


if __name__ == "__main__":
  main()
