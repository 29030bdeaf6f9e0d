"""One GPU or TPU: what share of its peak a step uses, losses, generation, bfloat16.

  python -m benchmarks.accelerator [--only=steps,losses,generation,parity]
    [--peak=989e12] [--small] [--output=benchmarks/results/accelerator.json]

Under six minutes on one device, the first; parts measured apart keep the others' rows.

  steps       a step of training, networks in bfloat16, AdamW, the teacher's forward
              pass part of it: ResNet-50 to ResNet-18 and ViT-B to ViT-S by `kd` at
              224 x 224, a decoder of 135 million parameters to one of 60 by
              `forward_kl` over 49152 classes. MFU is the rate of its matrix products
              and convolutions, counted from shapes, over the device's peak, which is
              the data sheet's (`kdjax.train.profiling.PEAKS`) or `--peak`.
  losses      `losses.chunked` against the losses of whole logits, value and gradient,
              128256 classes, bfloat16: time, in turns, and what XLA sets aside
  generation  tokens a second of the larger decoder, greedy, by its cache
  parity      bfloat16 against float32, of small networks: a step's loss and gradient,
              and the error of the chunked losses' gradients against float64

`--small` makes all of it small enough for a CPU; its figures mean nothing.
"""

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import kdjax
from benchmarks import timing, vocabulary
from benchmarks.generation import COMMON, SMOLLM2, prompts_of
from kdjax.models import make_model
from kdjax.models.decoder import Decoder
from kdjax.models.pretrained import families
from kdjax.train.devices.memory import operations
from kdjax.train.make_step import program_of
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import cast_params, in_precision
from kdjax.train.profiling import peak

PARTS = ("steps", "losses", "generation", "parity")
NARROW = {
  "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
  "intermediate_size": 128, "vocab_size": 512, "num_hidden_layers": 2,
}  # fmt: skip


class Pair(NamedTuple):
  """A student and its teacher.

  Attributes:
    student: name of a network of images, or what a decoder has of its own.
    teacher: likewise.
    shape: of a batch of images or tokens.
    enough: MFU that is wanted.
  """

  student: str | dict[str, int]
  teacher: str | dict[str, int]
  shape: tuple[int, ...]
  enough: float


PAIRS = {
  "ResNet-50 to ResNet-18": Pair(
    "resnet18", "resnet50", (128, 224, 224, 3), 0.2
  ),
  "ViT-B to ViT-S": Pair("vit_small16", "vit_base16", (128, 224, 224, 3), 0.4),
  "decoder, 135M to 60M": Pair(
    {"num_hidden_layers": 9}, {"num_hidden_layers": 30}, (8, 1024), 0.4
  ),
}
SMALL = {
  "ResNet-50 to ResNet-18": Pair("resnet8", "resnet8", (4, 16, 16, 3), 0),
  "ViT-B to ViT-S": Pair(
    "vit(patch=4, width=32, depth=1, heads=2)",
    "vit(patch=4, width=64, depth=2, heads=2)",
    (4, 16, 16, 3),
    0,
  ),
  "decoder, 135M to 60M": Pair(
    NARROW | {"num_hidden_layers": 1}, NARROW, (2, 32), 0
  ),
}
LOSSES = ("forward_kl", "jensen_shannon", "tvd")
SIZE, SMALL_SIZE = (4096, 128256, 1024), (64, 4096, 32)


def main() -> None:
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--only", default=",".join(PARTS))
  parser.add_argument("--peak", type=float, help="operations a second")
  parser.add_argument("--small", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  parts = {
    "steps": steps, "losses": losses, "generation": generation,
    "parity": parity,
  }  # fmt: skip
  found = {part: timing.written(options.output, part) for part in PARTS}
  most = options.peak or peak(jax.local_devices()[0].device_kind)
  for part in options.only.split(","):
    found[part] = list(parts[part](options.small))
    results = {**timing.machine(), "peak": most, **found}
    timing.write(results | {"summary": list(summary(results))}, options.output)


def steps(small: bool) -> Iterator[dict[str, Any]]:
  """Times a step of each pair."""
  count = 2 if small else 20
  for name, pair in (SMALL if small else PAIRS).items():
    goal, variables, teacher, item = made(pair, "bfloat16")
    optimizer = make_optimizer("adamw(clip=1)", "constant", 100)
    program = program_of(goal, optimizer)
    batch = program.read(item)
    state = jax.jit(program.init)(jax.random.key(0), variables, teacher, batch)
    held = [state]
    step = jax.jit(program.step, donate_argnums=0)
    work = operations(jax.make_jaxpr(program.step)(state, teacher, batch).jaxpr)

    def run(held=held, step=step, teacher=teacher, batch=batch):
      for _ in range(count):
        state, metrics = step(held.pop(), teacher, batch)
        held.append(state)
      return metrics

    times = timing.interleaved({"step": run}, rounds=3)["step"]
    seconds = timing.spread([x / count for x in times])
    yield {
      "pair": name,
      "batch": pair.shape,
      "enough": pair.enough,
      "parameters": [
        sum(x.size for x in jax.tree.leaves(arrays["params"]))
        for arrays in (variables, teacher.arrays)
      ],
      "GFLOP": work / 1e9,
      "seconds": seconds,
      "TFLOP/s": work / 1e12 / seconds["median"],
    }


def made(pair: Pair, dtype: str) -> tuple[Any, Any, Any, Any]:
  """Makes the objective, the student's variables, the teacher and a batch."""
  random = np.random.default_rng(0)
  if len(pair.shape) == 2:
    networks = [decoder(**sizes) for sizes in (pair.student, pair.teacher)]
    classes = (SMOLLM2 | pair.student)["vocab_size"]
    task, text = kdjax.tasks.language_model(classes), "forward_kl:0.9 + ce:0.1"
    item = {"tokens": random.integers(0, classes, pair.shape, np.int32)}
  else:
    classes = 1000
    networks = [
      kdjax.from_linen(make_model(one, classes=classes))
      for one in (pair.student, pair.teacher)
    ]
    task, text = kdjax.tasks.classification(classes), "kd:0.9 + ce:0.1"
    item = {
      "image": random.random(pair.shape, np.float32),
      "label": random.integers(0, classes, pair.shape[0], np.int32),
    }
  item = jax.device_put(item)
  student, teacher = (in_precision(one, dtype) for one in networks)
  inputs = {name: x for name, x in item.items() if name != "label"}
  variables = [drawn(one, inputs) for one in networks]
  method = kdjax.make_method(text, task=task)
  goal = kdjax.objective(method, student, task)
  return goal, variables[0], kdjax.live_teacher(teacher, variables[1]), item


def drawn(network: Any, inputs: Any) -> Any:
  """Draws a network's arrays, without a program that is compiled for it."""
  random = np.random.default_rng(0)

  def draw(path, x):
    if x.ndim > 1:
      return random.standard_normal(x.shape, np.float32) * 0.02
    return np.full(x.shape, path[-1].key in ("scale", "var"), np.float32)

  shapes = jax.eval_shape(network.init, jax.random.key(0), inputs)
  return jax.device_put(jax.tree_util.tree_map_with_path(draw, shapes))


def decoder(**sizes: int) -> Any:
  """A network of SmolLM2's kind."""
  config = {"model_type": "llama"} | SMOLLM2 | COMMON | sizes
  config |= {"initializer_range": 0.02}
  return kdjax.from_linen(Decoder(families.decoder_config(config)))


def losses(small: bool) -> Iterator[dict[str, Any]]:
  """Compares chunked losses with those of whole logits."""
  size = SMALL_SIZE if small else SIZE
  arrays = [jnp.asarray(x, jnp.bfloat16) for x in vocabulary.inputs(size)]
  for name in LOSSES:
    programs = {
      arm: step.lower(*arrays).compile()
      for arm, step in vocabulary.steps(name).items()
    }
    runs = {
      arm: functools.partial(step, *arrays) for arm, step in programs.items()
    }
    error = vocabulary.apart(runs["ours"]()[0], runs["naive"]()[0])
    assert error < 2e-2, f"{name}: ours and naive differ by {error:.1e}"
    times = timing.interleaved(runs, rounds=2 if small else 10)
    megabytes = {
      arm: step.memory_analysis().temp_size_in_bytes / 1e6
      for arm, step in programs.items()
    }
    yield {
      "loss": name,
      **vocabulary.sized(size),
      "seconds": {arm: timing.spread(x) for arm, x in times.items()},
      "ours over naive": timing.ratio(times, "ours", "naive"),
      "MB": megabytes,
      "times less": megabytes["naive"] / megabytes["ours"],
    }


def generation(small: bool) -> Iterator[dict[str, Any]]:
  """Times whole texts."""
  own = NARROW if small else {}
  network, new = decoder(**own), 8 if small else 128
  variables = drawn(network, np.zeros((1, 2), np.int32))
  variables = {**variables, "params": cast_params(variables["params"])}
  for batch in (1, 4) if small else (1, 8, 64):
    prompts = prompts_of(batch, 16, (SMOLLM2 | own)["vocab_size"])
    run = functools.partial(
      kdjax.generate, network, variables, prompts, max_new_tokens=new
    )
    times = timing.interleaved({"ours": run}, rounds=2 if small else 5)["ours"]
    seconds = timing.spread(times)
    rate = batch * new / seconds["median"]
    yield {"batch": batch, "seconds": seconds, "tokens_a_second": rate}


def parity(small: bool) -> Iterator[dict[str, Any]]:
  """Compares bfloat16 with float32; networks are small in any case."""
  for name, pair in SMALL.items():
    with jax.default_matmul_precision("highest"):
      loss, slope = slopes(pair, "float32")
    narrow_loss, narrow = slopes(pair, "bfloat16")
    lengths = jnp.linalg.norm(slope) * jnp.linalg.norm(narrow)
    yield {
      "what": f"{name}, small",
      "loss": abs(float(narrow_loss / loss) - 1),
      "cosine": float(slope @ narrow / lengths),
    }
  errors = vocabulary.half_precision()["relative rms error"]
  yield {"what": "chunked forward_kl, gradient of the head", "errors": errors}


def slopes(pair: Pair, dtype: str) -> tuple[jax.Array, jax.Array]:
  """A step's loss, and its gradient as a vector."""
  goal, variables, teacher, item = made(pair, dtype)

  @jax.jit
  def both(variables, teacher, item):
    key = jax.random.key(0)
    params, state = goal.init(key, variables, teacher, item)
    loss = functools.partial(goal.loss, step=0, key=key)
    (value, _), slope = jax.value_and_grad(loss, has_aux=True)(
      params, state, teacher, item
    )
    return value, jnp.concatenate([x.ravel() for x in jax.tree.leaves(slope)])

  return both(variables, teacher, item)


def summary(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
  """Says what was wanted and what was found."""
  line, most = timing.line, results["peak"]
  for row in results["steps"]:
    rate, name = row["TFLOP/s"], row["pair"]
    yield line(f"{name}: TFLOP/s of a step", "", rate, None)
    if most:
      share, enough = rate * 1e12 / most, row["enough"]
      yield line(f"{name}: MFU", f">= {enough}", share, share >= enough)
  for row in results["losses"]:
    what = f"{row['loss']}, V {row['vocabulary']}, N {row['tokens']}"
    over, less = row["ours over naive"]["median"], row["times less"]
    yield line(f"{what}: time over naive", "<= 1.1", over, over <= 1.1)
    yield line(f"{what}: temporaries of naive over", ">= 10", less, less >= 10)
  for row in results["generation"]:
    what = f"decoder, 135M, batch {row['batch']}: tokens a second"
    yield line(what, "", row["tokens_a_second"], None)
  for row in results["parity"]:
    what = f"bfloat16, {row['what']}"
    if "errors" in row:
      over = row["errors"]["ours"] / row["errors"]["naive"]
      yield line(f"{what}: error over naive", "<= 1.1", over, over <= 1.1)
    else:
      gap, cosine = row["loss"], row["cosine"]
      yield line(f"{what}: loss off by", "<= 0.01", gap, gap <= 0.01)
      yield line(f"{what}: cosine", ">= 0.98", cosine, cosine >= 0.98)


if __name__ == "__main__":
  main()
