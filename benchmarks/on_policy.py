"""A step of on-policy distillation, the student's texts included, against TRL's.

  python -m benchmarks.on_policy [--quick] [--rounds=9] [--clock=wall|processor]
    [--output=FILE]

Two Llamas with random weights, float32: the student continues 8 prompts of 16 tokens
by 32 at temperature 1, no text ends early, the teacher reads them, the student learns
by the Jensen-Shannon divergence, AdamW, gradients of at most length 1. In turns:

  ours  `kdjax.models.generation.rollout` under jit, and `kdjax.make_step`
  trl   TRL's GKDTrainer with lmbda=1, beta=0.5, temperature=1: its `training_step`,
        clip_grad_norm_ and AdamW (fused), without its loop, loader and log

The losses of both on one text are compared first. Seconds a token are those of a
step divided by the tokens that it writes and learns from, 8 x 32.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# PyTorch's threads sleep where they wait, or the processor's clock would count that.
if __name__ == "__main__" and "OMP_WAIT_POLICY" not in os.environ:
  os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
  command = [sys.executable, "-m", "benchmarks.on_policy", *sys.argv[1:]]
  os.execv(sys.executable, command)

import jax  # noqa: E402  (threads must be settled first)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import kdjax  # noqa: E402
from benchmarks import timing  # noqa: E402
from kdjax.models.decoder import Decoder  # noqa: E402
from kdjax.models.generation.rollout import rollout  # noqa: E402
from kdjax.models.pretrained import families  # noqa: E402
from kdjax.train.optimizer import (  # noqa: E402
  make_optimizer,
  with_learning_rate,
)

try:
  from benchmarks import on_policy_trl as peers
except ImportError:
  peers = None

# Blocks and width of student and teacher, and classes.
SIZES = {
  "2 x 64 from 4 x 128, 1,024 classes": ((2, 64), (4, 128), 1024),
  "6 x 256 from 12 x 256, 8,192 classes": ((6, 256), (12, 256), 8192),
}
BATCH, PROMPT, NEW = 8, 16, 32
RATE = 1e-4


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--clock", choices=timing.CLOCKS, default="wall")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  rows = []
  for name, sizes in [*SIZES.items()][: 1 if options.quick else None]:
    rows.append({"size": name} | measured(*sizes, options))
    versions = peers.versions() if peers else {"trl": "not installed"}
    results = {**timing.machine(), **versions, "rows": rows}
    timing.write({**results, "summary": summary(rows)}, options.output)


def decoder(blocks: int, width: int, classes: int) -> Any:
  """A Llama."""
  config = {
    "model_type": "llama", "hidden_size": width, "num_hidden_layers": blocks,
    "num_attention_heads": 4, "num_key_value_heads": 4,
    "intermediate_size": 3 * width, "vocab_size": classes,
    "max_position_embeddings": 128, "tie_word_embeddings": True,
    "initializer_range": 0.1,
  }  # fmt: skip
  return kdjax.from_linen(Decoder(families.decoder_config(config)))


def measured(student, teacher, classes: int, options) -> dict:
  """Times a step of one pair, after comparing the losses."""
  networks = [decoder(*size, classes) for size in (student, teacher)]
  random = np.random.default_rng(0)
  prompts = random.integers(3, classes, (BATCH, PROMPT)).astype(np.int32)
  arrays = [
    jax.jit(network.init)(jax.random.key(seed), prompts[:1, :2])
    for seed, network in enumerate(networks)
  ]
  write, learn = ours(networks, arrays, prompts, classes)
  runs = {"ours": lambda: learn(write())}
  text, losses = write(), {}
  if peers:
    # Before ours takes its first step, with which the first weights go.
    trl_loss, runs["trl"] = peers.step(
      networks, arrays, prompts, new_tokens=NEW, rate=RATE
    )
    losses["trl"] = trl_loss(np.asarray(text["tokens"]))
  losses["ours"] = learn(text)
  np.testing.assert_allclose([*losses.values()], losses["ours"], rtol=1e-4)
  times = timing.interleaved(
    runs,
    rounds=3 if options.quick else options.rounds,
    clock=timing.CLOCKS[options.clock],
    settle=True,
  )
  return {
    "losses": losses,
    "microseconds a token": {
      name: 1e6 * timing.spread(x)["median"] / (BATCH * NEW)
      for name, x in times.items()
    },
    "over ours": {
      name: timing.ratio(times, name, "ours")
      for name in times
      if name != "ours"
    },
  }


def ours(
  networks, arrays, prompts, classes: int
) -> tuple[Callable[[], Any], Callable[[Any], float]]:
  """Starts our training: what writes texts, and what learns from some."""
  student, teacher = networks
  task = kdjax.tasks.language_model(classes)
  method = kdjax.make_method("generalized_jsd(beta=0.5):1", task=task)
  optimizer = make_optimizer("adamw(clip=1.0)", "constant", 100)
  live = kdjax.live_teacher(teacher, arrays[1])
  step = kdjax.make_step(kdjax.objective(method, student, task), optimizer)
  key = jax.random.key(0)
  asked = {"tokens": jnp.asarray(prompts), "mask": jnp.ones(prompts.shape)}
  write = jax.jit(
    partial(
      rollout, student, key=key, ids=jnp.arange(BATCH), max_new_tokens=NEW
    )
  )
  state = step.init(key, arrays[0], live, write(arrays[0], asked, step=0))
  rate = with_learning_rate(state.opt_state, jnp.float32(RATE))
  states, number = [state._replace(opt_state=rate)], [0]

  def text():
    number[0] += 1
    return write(step.variables(states[0]), asked, step=number[0])

  def learn(rows) -> float:
    state, metrics = step.step(states.pop(), live, rows)
    states.append(state)
    total, count = jax.block_until_ready(metrics["loss"])
    return float(total / count)

  return text, learn


def summary(rows: list[dict]) -> list[dict]:
  """Says what was wanted and what was found."""
  lines = []
  for row in rows:
    for name, ratio in row["over ours"].items():
      over = ratio["median"]
      what = f"{row['size']}: a token of {name} over ours"
      lines.append(timing.line(what, ">= 1", over, over >= 1))
  return lines


if __name__ == "__main__":
  main()
