"""Bytes that devices tell each other in a distillation step; an estimate for clusters.

  python -m benchmarks.collectives [--quick] [--layouts=pmap,...] [--output=FILE]

A decoder of the size of Llama 3.2 1B learns from one of Llama 3.1 8B's by
`forward_kl:0.9 + ce:0.1`, AdamW, float32, texts of 2048 tokens. Steps of `kdjax.pmap`
and of meshes by the rules of `--shard_rules` are compiled for shapes on forced devices
of the CPU: no array is made and nothing runs. All collectives are read from the
optimised programs, loops unrolled.

Compiled are networks of one and of two blocks, with one and two texts a device. All
blocks are alike and all texts as long, so that the whole pair's bytes are a sum of
these; one of more blocks and texts checks it. Sizes do not depend on the number of
devices, of which a ring sends (n - 1) / n: counts for 8 devices (16 where 8 divide a
network) foretell those for twice as many, which are counted too.

The estimate computes, and measures nothing: these bytes at ASSUMED rates of links
beside the operations at an ASSUMED share of a chip's peak, a fixed number of texts a
step over ever more chips.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import hlo
from kdjax.runner.system.platform import prepare_environment

WORDS, LENGTH = 128256, 2048
SHARED = {
  "model_type": "llama", "vocab_size": WORDS, "num_key_value_heads": 8,
  "num_attention_heads": 32, "max_position_embeddings": 8192,
  "rope_theta": 5e5, "initializer_range": 0.02, "rms_norm_eps": 1e-5,
}  # fmt: skip
STUDENT = SHARED | {
  "hidden_size": 2048, "intermediate_size": 8192, "tie_word_embeddings": True,
}  # fmt: skip
TEACHER = SHARED | {
  "hidden_size": 4096, "intermediate_size": 14336, "tie_word_embeddings": False,
}  # fmt: skip
BLOCKS = (16, 32)
SMALL = {"hidden_size": 128, "intermediate_size": 256, "vocab_size": 8192}
# How many devices the axis `model` has, and the rules; None for `kdjax.pmap`.
LAYOUTS = {
  "pmap": None,
  "data": (1, None),
  "fsdp": (1, "fsdp"),
  "transformer": (8, "transformer"),
}
COUNTED = 8
# Hosts of 8 H100 SXM, data sheets: NVLink 450 GB/s each way a chip, one 400 Gb/s
# InfiniBand port a chip, 989 / 2 TFLOP/s dense in TF32, of which a step reaches a share
# that is usual for large matrix products, 80 GB.
ASSUMED = {
  "chips_a_host": 8,
  "bytes_a_second_in_a_host": 450e9,
  "bytes_a_second_among_hosts": 50e9,
  "operations_a_second": 0.4 * 494.5e12,
  "bytes_of_a_chip": 80e9,
}
CHIPS = (8, 16, 32, 64, 128, 256, 512, 1024)
TEXTS = 1024


def main() -> int:
  """Compiles in processes of their own, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--output", type=Path)
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--layouts", default=",".join(LAYOUTS))
  parser.add_argument("--jobs", help=argparse.SUPPRESS)
  parser.add_argument("--devices", type=int, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.jobs:
    prepare_environment("cpu", options.devices)
    jobs = json.loads(options.jobs)
    print(json.dumps([count(quick=options.quick, **job) for job in jobs]))
    return 0
  from benchmarks import timing

  # Layouts may be counted apart: the others' rows stay.
  rows = {row["layout"]: row for row in timing.written(options.output, "rows")}
  for layout in options.layouts.split(","):
    rows[layout] = row(layout, options.quick)
    found = [rows[one] for one in LAYOUTS if one in rows]
    results = timing.machine() | {
      "blocks": BLOCKS,
      "length": LENGTH,
      "texts": TEXTS,
      "assumed": ASSUMED,
      "rows": found,
      "summary": list(summary(found)),
    }
    timing.write(results, options.output)
  return 0


def row(layout: str, quick: bool) -> dict[str, Any]:
  """All that is counted and estimated of one layout."""
  model = 1 if layout == "pmap" else LAYOUTS[layout][0]
  print(f"compiling {layout}", file=sys.stderr)
  jobs = [
    {"layout": layout, "blocks": blocks, "texts": texts}
    for texts in (1, 2)
    for blocks in ((1, 1), (2, 1), (1, 2))
  ]
  larger = {"layout": layout, "blocks": (2, 2), "texts": 3}
  # At least two devices along every axis.
  devices = max(COUNTED, 2 * model)
  *parts, checked = compiled([*jobs, larger], devices, quick)
  (others,) = compiled(jobs[:1], 2 * devices, quick)
  expected = of_networks(parts, (2, 2), 3)
  once = of_networks(parts, BLOCKS, 0)
  one = of_networks(parts, BLOCKS, 1)
  return {
    "layout": layout,
    "model": model,
    "once": once,
    "a_text": {name: one[name] - once[name] for name in one},
    "counted_over_expected": {
      "of 2 blocks and 3 texts": sent(checked, devices, model)
      / sent(expected, devices, model),
      "of twice as many devices": sent(others, 2 * devices, model)
      / sent(parts[0], 2 * devices, model),
    },
    "estimate": [
      estimate(of_networks(parts, BLOCKS, TEXTS / chips), chips, model)
      for chips in CHIPS
    ],
  }


def compiled(
  jobs: list[dict[str, Any]], devices: int, quick: bool
) -> list[dict[str, float]]:
  """Counts in a process that has so many devices."""
  command = [
    *(sys.executable, "-m", "benchmarks.collectives"),
    *(f"--jobs={json.dumps(jobs)}", f"--devices={devices}"),
    *["--quick"] * quick,
  ]
  # The machine's code is thrown away.
  flags = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
  )
  environment = os.environ | {"XLA_FLAGS": flags.strip()}
  ended = subprocess.run(
    command, stdout=subprocess.PIPE, text=True, check=True, env=environment
  )
  return json.loads(ended.stdout.splitlines()[-1])


def count(
  *, layout: str, blocks: tuple[int, int], texts: int, quick: bool
) -> dict[str, float]:
  """Compiles a step, and counts.

  Returns:
    Bytes of the results of collectives on a device, by kind and axis, such as
    "all-reduce data"; "operations" of a device, "held" bytes of a device.
  """
  import jax

  from kdjax.train.devices import memory

  devices = jax.devices()
  model = 1 if layout == "pmap" else LAYOUTS[layout][0]
  lowered, jaxpr, held = step(layout, blocks, texts * len(devices), quick)
  sizes = Counter()
  for one in hlo.collectives(lowered.compile().as_text()):
    places = one.members or tuple(range(len(devices)))
    axis = "data" if places[1] - places[0] == model else "model"
    axis = "all" if 1 < model < len(places) else axis
    sizes[f"{one.kind} {axis}"] += one.size * one.times
  sharers = 1 if layout == "pmap" else len(devices)
  operations = memory.operations(jaxpr, sharers=sharers)
  print(f"{layout}, {blocks} blocks, {texts} texts a device", file=sys.stderr)
  return {**sizes, "operations": operations, "held": held}


def step(layout: str, blocks: tuple[int, int], texts: int, quick: bool) -> Any:
  """Makes a step for shapes.

  Returns:
    The lowered program, its jaxpr, and bytes of state and teacher on a device.
  """
  import jax
  import jax.numpy as jnp
  from jax.sharding import NamedSharding

  from kdjax.runner.pipeline.partition import read_partition
  from kdjax.train.devices import activations, placement
  from kdjax.train.devices.rules import layout as laid_out

  program, live_teacher, state, item = training(blocks, texts, quick)
  devices = jax.devices()
  if layout == "pmap":

    def mapped(state, live_teacher, batch):
      return program.step(state, live_teacher, batch, placement.AXIS, None)

    def part(x):
      shape = (len(devices), len(x) // len(devices), *x.shape[1:])
      return jax.ShapeDtypeStruct(shape, x.dtype)

    batch = jax.tree.map(part, jax.eval_shape(program.read, item))
    run = placement.parallel(mapped, devices, sharded=(2,), donated=(0,))
    arguments, held = (state, live_teacher, batch), (state, live_teacher)
  else:
    model, rules = LAYOUTS[layout]
    mesh = f"data={len(devices) // model},model={model}"
    partition = read_partition(mesh, rules, devices)
    rows = NamedSharding(partition.mesh, partition.batch)
    lies = (
      laid_out(state, partition),
      laid_out(live_teacher, partition),
      jax.tree.map(lambda _: rows, item),
    )

    def meshed(state, live_teacher, item):
      with activations.over(partition):
        return program.step(state, live_teacher, program.read(item))

    run = jax.jit(
      meshed,
      donate_argnums=0,
      out_shardings=(lies[0], partition.everywhere),
    )
    arguments = jax.tree.map(
      lambda x, how: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=how),
      (state, live_teacher, item),
      lies,
    )
    held = jax.tree.map(
      lambda x, how: jax.ShapeDtypeStruct(how.shard_shape(x.shape), x.dtype),
      (state, live_teacher),
      lies[:2],
    )
  size = sum(
    math.prod(x.shape) * jnp.dtype(x.dtype).itemsize
    for x in jax.tree.leaves(held)
    if jnp.issubdtype(x.dtype, jnp.number)
  )
  jaxpr = jax.make_jaxpr(run)(*arguments)
  return run.lower(*arguments), jaxpr.jaxpr, size


def training(blocks: tuple[int, int], texts: int, quick: bool) -> tuple:
  """Makes a training and the shapes of its teacher, state and batch."""
  import jax
  import jax.numpy as jnp

  import kdjax
  from kdjax.models.decoder import Decoder
  from kdjax.models.pretrained import families
  from kdjax.train.make_step import program_of
  from kdjax.train.optimizer import make_optimizer

  sizes = SMALL if quick else {}
  student, teacher = (
    kdjax.from_linen(
      Decoder(
        families.decoder_config(config | sizes | {"num_hidden_layers": number})
      )
    )
    for config, number in zip((STUDENT, TEACHER), blocks, strict=True)
  )
  task = kdjax.tasks.language_model(sizes.get("vocab_size", WORDS))
  method = kdjax.make_method("forward_kl:0.9 + ce:0.1", task=task)
  optimizer = make_optimizer("adamw(clip=1)", "cosine(warmup=0.05)", 100)
  program = program_of(kdjax.objective(method, student, task), optimizer)

  def first(item: Any) -> tuple[Any, Any]:
    batch = program.read(item)
    variables = teacher.init(jax.random.key(1), batch.inputs)
    live_teacher = kdjax.live_teacher(teacher, variables)
    key = jax.random.key(0)
    return live_teacher, program.init(key, None, live_teacher, batch)

  length = 64 if quick else LENGTH
  item = {"tokens": jax.ShapeDtypeStruct((texts, length), jnp.int32)}
  return program, *jax.eval_shape(first, item), item


def of_networks(
  parts: list[dict[str, float]], blocks: tuple[int, int], texts: float
) -> dict[str, float]:
  """Sums up what networks of more blocks, and more texts, come to.

  Args:
    parts: counted of 1 and 1 blocks, 2 and 1, 1 and 2, with one text a device, and
      of the same with two.
  """
  names = sorted(set().union(*parts))

  def of_blocks(name, parts):
    base, *others = (part.get(name, 0) for part in parts)
    return base + sum(
      (number - 1) * (other - base)
      for number, other in zip(blocks, others, strict=True)
    )

  found = {}
  for name in names:
    one, two = (of_blocks(name, some) for some in (parts[:3], parts[3:]))
    found[name] = one + (texts - 1) * (two - one)
  return found


def messages(
  counts: Mapping[str, float], chips: int, model: int
) -> Iterator[tuple[str, float, int]]:
  """Goes through what one chip sends: along which axis, bytes, chips of a ring."""
  members = {"model": model, "data": chips // model, "all": chips}
  for name, size in counts.items():
    if name not in ("operations", "held"):
      kind, axis = name.split()
      yield axis, hlo.wire_bytes(kind, size, members[axis]), members[axis]


def sent(counts: Mapping[str, float], chips: int, model: int) -> float:
  """Bytes that one chip sends."""
  return sum(size for _, size, _ in messages(counts, chips, model))


def estimate(
  counts: Mapping[str, float], chips: int, model: int
) -> dict[str, Any]:
  """Computes a step of so many chips.

  A ring within a host goes over its links. One that leaves hosts uses as many ports
  of each as it has members there.
  """
  host, seconds = ASSUMED["chips_a_host"], 0.0
  for axis, size, members in messages(counts, chips, model):
    step = model if axis == "data" else 1
    here = min(members, max(host // step, 1))
    among = here * ASSUMED["bytes_a_second_among_hosts"]
    rate = ASSUMED["bytes_a_second_in_a_host"]
    seconds += size / (rate if here == members else min(rate, among))
  work = counts["operations"] / ASSUMED["operations_a_second"]
  return {
    "chips": chips,
    "tokens_a_chip": TEXTS * LENGTH / chips,
    "GB_sent": sent(counts, chips, model) / 1e9,
    "seconds_of_work": work,
    "seconds_of_messages": seconds,
    "efficiency_one_after_the_other": work / (work + seconds),
    "efficiency_at_once": work / max(work, seconds),
  }


def summary(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """Says what was wanted and what was found."""
  from benchmarks import timing

  for row in rows:
    for what, ratio in row["counted_over_expected"].items():
      yield timing.line(
        f"{row['layout']}: bytes counted {what} over those expected",
        "0.99 to 1.01",
        ratio,
        0.99 <= ratio <= 1.01,
      )


if __name__ == "__main__":
  sys.exit(main())
