"""Each loss alone, value and gradient: time against memory, formulas and PyTorch.

  python -m benchmarks.losses [--quick] [--only=kd,dkd] [--sizes=4096x32000]

In turns, for every loss and size: `kdjax.losses` (jitted); the plain formula of
`losses_textbook` (jitted); the same formula in PyTorch, eager and compiled, where
PyTorch is installed; and a copy of the student's array by as many threads as
there are processors. A loss must at least read the student and the teacher and
write the gradient, three arrays of that size: `of_memory` is its time over what
these would take at the copy's speed. `work` holds the seconds that the processors
were busy, which tell more than the clock where others use the machine.
Before anything is timed, values and gradients are compared.

Large arrays are given back to the system at each free, and page faults are all
one measures; so the process starts itself again with a malloc that keeps them
(one arena, no mmap), for both libraries alike.
"""

import argparse
import functools
import gc
import math
import os
import sys
import threading
import time
from pathlib import Path

MALLOC = {
  "MALLOC_ARENA_MAX": "1",
  "MALLOC_MMAP_MAX_": "0",
  "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
  "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
}
if __name__ == "__main__" and any(name not in os.environ for name in MALLOC):
  os.environ.update(MALLOC)
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  command = [sys.executable, "-m", "benchmarks.losses", *sys.argv[1:]]
  os.execv(sys.executable, command)

import jax  # noqa: E402  (malloc must be settled first)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import losses_textbook as textbook  # noqa: E402
from benchmarks import timing  # noqa: E402
from kdjax import losses  # noqa: E402

try:
  import torch
except ImportError:
  torch = None

LABELLED = ("dkd", "nkd", "wsld", "ofa")
# Kinds: sizes, and the losses that take two arrays of such a size (and labels).
RESPONSE = [
  "kd",
  "soft_cross_entropy",
  "forward_kl",
  "reverse_kl",
  "symmetric_kl",
  "jensen_shannon",
  "skew_kl",
  "skew_reverse_kl",
  "tvd",
  "logit_mse",
  "cosine_distance",
  "hard_distillation",
  "dkd",
  "nkd",
  "wsld",
  "ofa",
  "ttm",
  "dist",
  "batch_correlation",
  "topk_kd",
  "adaptive_kl",
  "uld",
]
FEATURE = [
  "fitnet",
  "attention_transfer",
  "factor_transfer",
  "nst",
  "cwd",
  "review_kd",
  "ab",
  "cat_kd",
  "similarity_preserving",
  "attention_mse",
  "attention_kl",
]
RELATION = [
  "similarity_preserving",
  "pkt",
  "correlation_congruence",
  "rkd_distance",
  "rkd_angle",
  "rkd",
  "relation_mse",
  "srd",
  "vkd",
  "patient_kd",
  "crd",
]
SIZES = {
  (1024, 1000): RESPONSE,
  (4096, 32000): RESPONSE,
  (64, 8, 8, 256): FEATURE,
  (256, 512): RELATION,
}
QUICK = {
  (256, 1000): ["kd", "dkd", "jensen_shannon"],
  (16, 4, 4, 64): ["attention_transfer"],
  (64, 64): ["rkd_angle"],
}
BANK = 8192
# Seconds of a turn, and of the runs before it that do not count.
TURN = 0.03
OPTIONS = {"topk_kd": {"k": 32}}


def arrays(shape):
  random = np.random.default_rng(0)
  both = [2 * random.standard_normal(shape, np.float32) for _ in range(2)]
  labels = random.integers(0, shape[-1], shape[0], dtype=np.int32)
  return [jnp.asarray(x) for x in (*both, labels)]


def _contrast(student, teacher):
  """`crd` with a bank of which each example samples an eighth."""
  keys = jax.random.split(jax.random.key(1), 2)
  bank = jax.random.normal(keys[0], (BANK, student.shape[-1])) / 20
  picks = jax.random.randint(keys[1], (len(student), BANK // 8), 0, BANK)
  sides = (x / 50 for x in (student, teacher))
  return losses.crd(*sides, bank, -bank, picks, z_student=9e3, z_teacher=9e3)


def ours(name):
  function = functools.partial(getattr(losses, name), **OPTIONS.get(name, {}))

  def mean(student, teacher, labels):
    if name == "crd":
      return jnp.mean(_contrast(student, teacher))
    arguments = (labels,) if name in LABELLED else ()
    return jnp.mean(function(student, teacher, *arguments))

  return mean


def programs(name, inputs):
  """Returns what to run, by name, and the compiler's analysis of ours."""
  results = {}
  compiled = jax.jit(jax.value_and_grad(ours(name))).lower(*inputs).compile()
  results["ours"] = functools.partial(compiled, *inputs)
  plain = getattr(textbook, name, None)
  if plain is None:
    return results, compiled.memory_analysis()
  mean = functools.partial(plain, jnp, jax.nn.log_softmax)
  formula = jax.jit(jax.value_and_grad(mean))
  results["formula"] = functools.partial(formula, *inputs)
  if torch is not None:
    torch.set_num_threads(os.cpu_count())
    torch._dynamo.reset()
    mean = functools.partial(
      plain, torch, functools.partial(torch.log_softmax, dim=-1)
    )
    compiled_mean = torch.compile(mean, dynamic=False)
    sides = [torch.from_dlpack(x) for x in inputs]
    results["torch"] = functools.partial(in_torch, mean, sides)
    results["compile"] = functools.partial(in_torch, compiled_mean, sides)
  return results, compiled.memory_analysis()


def in_torch(mean, sides):
  student = sides[0].detach().requires_grad_()
  value = mean(student, *sides[1:])
  (gradient,) = torch.autograd.grad(value, student)
  return value.detach(), gradient


def check(name, runs):
  """Raises unless all agree with ours, in value and in gradient."""
  want, slope = (np.asarray(x) for x in runs["ours"]())
  for other in [x for x in runs if x != "ours"]:
    value, gradient = runs[other]()
    np.testing.assert_allclose(
      np.asarray(value), want, rtol=2e-3, atol=1e-6, err_msg=f"{name}: {other}"
    )
    gap = np.max(np.abs(np.asarray(gradient) - slope))
    largest = np.max(np.abs(slope))
    if not gap <= 5e-3 * largest:
      raise AssertionError(
        f"{name}: gradients of {other} and ours differ by {gap / largest:.1e}"
      )


def copier(array):
  """A copy by as many threads as there are processors, if it is large."""
  source = np.asarray(array).reshape(-1)
  target = np.empty_like(source)
  parts = os.cpu_count() if source.nbytes > 1 << 24 else 1
  halves = [np.array_split(x, parts) for x in (target, source)]

  def run():
    threads = [
      threading.Thread(target=np.copyto, args=pair)
      for pair in zip(*halves, strict=True)
    ]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()

  return run if parts > 1 else functools.partial(np.copyto, target, source)


def measure(name, shape, rounds):
  inputs = arrays(shape)
  runs, memory = programs(name, inputs)
  check(name, runs)
  runs["copy"] = copier(inputs[0])
  # After a pause processors need some 20 ms to be as fast as they were.
  begun = time.perf_counter()
  jax.block_until_ready(runs["ours"]())
  repeats = max(1, math.ceil(TURN / (time.perf_counter() - begun)))

  def several(run):
    for _ in range(repeats):
      jax.block_until_ready(run())

  turns = {key: functools.partial(several, run) for key, run in runs.items()}
  clock = timing.interleaved(turns, rounds=rounds, settle=True)
  work = timing.interleaved(
    turns, rounds=max(2, rounds // 2), clock=time.process_time, settle=True
  )
  for times in (*clock.values(), *work.values()):
    times[:] = [x / repeats for x in times]
  return row(name, shape, clock, work, memory)


def row(name, shape, clock, work, memory):
  size = 4 * math.prod(shape)
  # A copy moves two arrays, a loss three: student, teacher, gradient.
  over_copy = timing.ratio(clock, "ours", "copy")
  return {
    "loss": name,
    "shape": list(shape),
    "ms": {k: 1e3 * timing.spread(v)["median"] for k, v in clock.items()},
    "work_ms": {k: 1e3 * min(v) for k, v in work.items()},
    "copy_gb_per_s": 2e-9 * size / timing.spread(clock["copy"])["median"],
    "of_memory": {key: x / 1.5 for key, x in over_copy.items()},
    "times_ours": {
      key: timing.ratio(clock, key, "ours")
      for key in clock
      if key not in ("ours", "copy")
    },
    "times_ours_work": {
      key: min(work[key]) / min(work["ours"])
      for key in work
      if key not in ("ours", "copy")
    },
    "temporary_mb": memory.temp_size_in_bytes / 1e6,
    "array_mb": size / 1e6,
  }


def text(entry):
  shape = "x".join(map(str, entry["shape"]))
  others = "".join(
    f"{entry['times_ours'][key]['median']:7.2f}/{x:<6.2f}"
    for key, x in entry["times_ours_work"].items()
  )
  return (
    f"{entry['loss']:24}{shape:>13}{entry['ms']['ours']:9.2f} ms"
    f"{entry['of_memory']['median']:7.1f} of memory"
    f"{entry['temporary_mb']:9.1f} MB  {others}"
  )


def summary(rows):
  results = []
  large = [x for x in rows if x["shape"] == [4096, 32000]]
  within = [x["loss"] for x in large if x["of_memory"]["median"] <= 1.5]
  if large:
    what = "losses within 1.5 of memory at 4096x32000"
    measured = f"{len(within)} of {len(large)}"
    results.append(
      timing.line(what, "all", measured, len(within) == len(large))
    )
  for other, target in (("torch", 1.0), ("compile", 0.5)):
    ratios = [x["times_ours"].get(other) for x in rows]
    ratios = [x["median"] for x in ratios if x]
    if ratios:
      ahead = sum(x > 1 for x in ratios)
      results.append(
        timing.line(
          f"losses ahead of PyTorch ({other})",
          "all" if target == 1 else "most",
          f"{ahead} of {len(ratios)}",
          ahead >= target * len(ratios),
        )
      )
  return results


def chosen(options):
  sizes = QUICK if options.quick else SIZES
  if options.sizes:
    shapes = [tuple(map(int, x.split("x"))) for x in options.sizes.split(",")]
    of_rank = {2: RESPONSE, 4: FEATURE}
    sizes = {x: SIZES.get(x, of_rank.get(len(x), [])) for x in shapes}
  only = options.only.split(",") if options.only else None
  return [
    (name, shape)
    for shape, names in sizes.items()
    for name in names
    if only is None or name in only
  ]


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--only", help="names, with commas")
  parser.add_argument("--sizes", help="such as 1024x1000,256x512")
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  print("PyTorch", torch.__version__ if torch else "is not installed: left out")
  print("columns: formula, torch, compile over ours, by the clock / by work")
  # Sizes are measured apart where time is short: the others' rows stay.
  failed, cases = [], chosen(options)
  rows = [
    row
    for row in timing.written(options.output, "losses")
    if (row["loss"], tuple(row["shape"])) not in cases
  ]
  for name, shape in cases:
    try:
      rows.append(measure(name, shape, 3 if options.quick else options.rounds))
      print(text(rows[-1]), flush=True)
    except AssertionError as error:
      failed.append(name)
      print(f"{name}: {error}", flush=True)
    gc.collect()
  listed = [(name, size) for size, names in SIZES.items() for name in names]
  place = {one: i for i, one in enumerate(listed)}
  rows.sort(
    key=lambda row: place.get((row["loss"], tuple(row["shape"])), len(place))
  )
  results = timing.machine() | {
    "torch": torch.__version__ if torch else None,
    "summary": summary(rows),
    "losses": rows,
  }
  timing.write(results, options.output)
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())
