"""Memory of a distillation step of language models with a large vocabulary.

  python -m benchmarks.language_memory [--quick] [--output=FILE]

What XLA sets aside for a step of `kdjax.make_step` with the task `language_model`,
128256 classes, float32, 8 and 32 texts of 512 tokens, compiled for shapes; nothing
is run. A student of 6 x 576 learns by `forward_kl:0.9 + ce:0.1` from 30 x 576 whose forward pass is part of the
step, by AdamW with gradients of at most length 1:

  ours   as the task has it: no array of all positions' logits
  naive  the same step with `factored_from=None`, from whole logits

`temporaries` is what lies beside arguments and results; `peak` has these as well,
weights, the optimiser's moments and the teacher's weights, which are the same for
both. `remat` computes the student's blocks again for the gradient. On processors XLA
orders a program for concurrency, in which teacher and student, and what is computed
again and what it is for, lie beside each other; rows with "memory first" are compiled
with xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED, as XLA_FLAGS can say.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import kdjax
from benchmarks import timing
from benchmarks.generation import COMMON, SMOLLM2
from kdjax.models.decoder import Decoder
from kdjax.models.pretrained import families
from kdjax.train.make_step import program_of
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import with_precision

CLASSES, LENGTH = 128256, 512
ARMS = {"ours": 8192, "naive": None}
ORDERS = {
  "memory first": {
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"
  },
  "": {},
}
# Texts a step, and whether it is compiled with and without `remat`.
TEXTS = {8: (True, False), 32: (True,)}


def main() -> None:
  """Compiles, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  layers = (2, 4) if options.quick else (6, 30)
  rows = []
  cases = [(texts, remat) for texts, both in TEXTS.items() for remat in both]
  for texts, remat in cases[: 1 if options.quick else None]:
    steps = {
      arm: lowered(layers, texts, remat, least) for arm, least in ARMS.items()
    }
    for order, settings in ORDERS.items():
      parts = {arm: memory(step, settings) for arm, step in steps.items()}
      less = {
        part: parts["naive"][part] / parts["ours"][part]
        for part in ("temporaries", "peak")
      }
      rows.append(
        {
          "texts": texts,
          "remat": remat,
          "order": order,
          "MB": parts,
          "times less": less,
        }
      )
      result = {**timing.machine(), "layers": layers, "rows": rows}
      timing.write({**result, "summary": summary(rows)}, options.output)


def decoder(layers: int) -> Decoder:
  """A network of SmolLM2's width with the large vocabulary."""
  sizes = {"num_hidden_layers": layers, "vocab_size": CLASSES}
  config = {"model_type": "llama"} | SMOLLM2 | COMMON | sizes
  return Decoder(families.decoder_config(config))


def lowered(
  layers: tuple[int, int], texts: int, remat: bool, least: int | None
) -> Any:
  """Makes a step, for shapes."""
  student, teacher = map(decoder, layers)
  student = kdjax.from_linen(with_precision(student, remat=remat))
  task = kdjax.tasks.language_model(CLASSES, factored_from=least)
  method = kdjax.make_method("forward_kl:0.9 + ce:0.1", task=task)
  optimizer = make_optimizer(
    "adamw(b2=0.95, weight_decay=0.1, clip=1)", "cosine(warmup=0.05)", 100
  )
  program = program_of(kdjax.objective(method, student, task), optimizer)
  teacher = kdjax.from_linen(teacher)

  def first(item: Any) -> tuple[Any, Any]:
    batch = program.read(item)
    variables = teacher.init(jax.random.key(1), batch.inputs)
    live_teacher = kdjax.live_teacher(teacher, variables)
    return live_teacher, program.init(
      jax.random.key(0), None, live_teacher, batch
    )

  item = {"tokens": jax.ShapeDtypeStruct((texts, LENGTH), jnp.int32)}
  live_teacher, state = jax.eval_shape(first, item)
  step = jax.jit(
    lambda state, live_teacher, item: program.step(
      state, live_teacher, program.read(item)
    ),
    donate_argnums=0,
  )
  return step.lower(state, live_teacher, item)


def memory(step: Any, options: dict) -> dict[str, float]:
  """Compiles a step; MB."""
  needs = step.compile(compiler_options=options).memory_analysis()
  kept = needs.argument_size_in_bytes + needs.output_size_in_bytes
  kept -= needs.alias_size_in_bytes
  temporaries = needs.temp_size_in_bytes
  return {
    "temporaries": temporaries / 1e6,
    "peak": (temporaries + kept) / 1e6,
  }


def summary(rows: list[dict]) -> list[dict]:
  """Says what was wanted and what was found."""
  lines = []
  for row in rows:
    how = ["remat"] * row["remat"] + [row["order"]] * bool(row["order"])
    step = ", ".join([f"{row['texts']} x {LENGTH} tokens", *how])
    for part, less in row["times less"].items():
      what = f"{step}: {part} of the naive step over ours"
      lines.append(timing.line(what, ">= 8", less, less >= 8))
    ours = row["MB"]["ours"]["peak"]
    lines.append(timing.line(f"{step}: peak, MB", "", ours, None))
  return lines


if __name__ == "__main__":
  main()
