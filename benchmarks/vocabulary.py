"""Losses of large vocabularies: `kdjax.losses.chunked` against whole logits.

  python -m benchmarks.vocabulary [--quick] [--only=PART,..] [--output=FILE]

Value and gradient in student's hidden states and head, float32, from
`hidden @ head` on both sides, T as each loss has it:
  times       in turns: ours, `kdjax.losses` on the logits ("naive"), the matrix
              products alone (2 for the logits, 2 for the gradients), and PyTorch
              where it is installed: naive, torch.compile, and Liger-Kernel's
              chunked algorithm. Values and gradients are compared first.
  temporaries what XLA sets aside besides arguments and results, in MB, for
              V = 128256; compiled for shapes, nothing is run. Ours are mostly
              the head's gradient, as it adds up: 4 V d bytes.
  peaks       the most memory that a process of its own came to hold beyond its
              inputs, in MB: Jensen-Shannon, one step.
  bfloat16    error of the head's gradient against float64, relative, rms.

The process starts itself again with a malloc that keeps large arrays, or page
faults would be most of what is timed; the processes of "peaks" have the default.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

MALLOC = {
  "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
  "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
}
if (
  __name__ == "__main__"
  and "--arm" not in sys.argv
  and any(name not in os.environ for name in MALLOC)
):
  os.environ.update(MALLOC)
  command = [sys.executable, "-m", "benchmarks.vocabulary", *sys.argv[1:]]
  os.execv(sys.executable, command)

import jax  # noqa: E402  (malloc must be settled first)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import timing  # noqa: E402
from kdjax import losses  # noqa: E402
from kdjax.losses import chunked  # noqa: E402

try:
  from benchmarks import vocabulary_torch as peers
except ImportError:
  peers = None

KEYWORDS = {"topk_kd": {"k": 64}}
PEERS = ("forward_kl", "jensen_shannon")
FAMILY = (
  "kd",
  "soft_cross_entropy",
  "forward_kl",
  "reverse_kl",
  "symmetric_kl",
  "tvd",
  "adaptive_kl",
  "generalized_jsd",
  "jensen_shannon",
  "skew_kl",
  "skew_reverse_kl",
  "topk_kd",
)
# (tokens, vocabulary, width), and the losses that are run or compiled there.
TIMES = {
  (512, 32768, 512): ("forward_kl", "jensen_shannon", "tvd", "topk_kd"),
  (1024, 65536, 256): ("forward_kl", "jensen_shannon"),
}
QUICK_TIMES = {(256, 16384, 256): ("forward_kl", "jensen_shannon")}
TEMPORARIES = {
  (4096, 128256, 512): FAMILY,
  (4096, 128256, 1024): ("topk_kd",),
  (8192, 128256, 4096): ("forward_kl", "jensen_shannon"),
}
QUICK_TEMPORARIES = {(4096, 128256, 512): ("forward_kl",)}
PEAK, QUICK_PEAK = (4096, 32000, 512), (1024, 16384, 256)
ARMS = ("ours", "naive", "torch", "torch.compile", "chunks in torch")


def main() -> None:
  """Prints all, and a summary of what was wanted."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--only", help="of times,temporaries,peaks,bfloat16")
  parser.add_argument("--output")
  parser.add_argument("--arm", choices=ARMS, help="for a process of 'peaks'")
  options = parser.parse_args()
  if options.arm:
    size = QUICK_PEAK if options.quick else PEAK
    print(json.dumps(peak_of(options.arm, size)))
    return
  parts = {
    "times": all_times,
    "temporaries": all_temporaries,
    "peaks": all_peaks,
    "bfloat16": lambda options: half_precision(),
  }
  results = {"benchmark": "vocabulary", "machine": timing.machine()}
  results["torch"] = peers.torch.__version__ if peers else "not installed"
  for part in options.only.split(",") if options.only else parts:
    results[part] = parts[part](options)
  results["summary"] = summary(results)
  timing.write(results, options.output)


def all_times(options) -> list[dict]:
  return [
    timed(name, size, options.rounds)
    for size, names in (QUICK_TIMES if options.quick else TIMES).items()
    for name in names
  ]


def all_temporaries(options) -> list[dict]:
  sizes = QUICK_TEMPORARIES if options.quick else TEMPORARIES
  return [
    temporary(name, size) for size, names in sizes.items() for name in names
  ]


def all_peaks(options) -> dict:
  # Compiling in torch takes longer than a quick run may.
  arms = ARMS if peers and not options.quick else ARMS[:2]
  return {
    "loss": "jensen_shannon",
    **sized(QUICK_PEAK if options.quick else PEAK),
    "MB": {arm: in_own_process(arm, options.quick) for arm in arms},
  }


def sized(size) -> dict[str, int]:
  return dict(zip(("tokens", "vocabulary", "width"), size, strict=True))


def inputs(size, seed=0) -> list[np.ndarray]:
  """Returns hidden states and heads whose logits are of size 3."""
  tokens, classes, width = size
  random = np.random.default_rng(seed)
  shapes = ((tokens, width), (width, classes)) * 2
  scales = (1.0, 3 / width**0.5) * 2
  return [
    random.standard_normal(shape, np.float32) * np.float32(scale)
    for shape, scale in zip(shapes, scales, strict=True)
  ]


def steps(name):
  """Returns jitted value and gradient of the mean over tokens, by arm."""
  keywords = KEYWORDS.get(name, {})

  def ours(*arrays):
    return getattr(chunked, name)(*arrays, **keywords).mean()

  def naive(hidden, head, teacher_hidden, teacher_head):
    both = (hidden @ head, teacher_hidden @ teacher_head)
    return getattr(losses, name)(*both, **keywords).mean()

  return {
    arm: jax.jit(jax.value_and_grad(f, (0, 1)))
    for arm, f in (("ours", ours), ("naive", naive))
  }


@jax.jit
def products(hidden, head, teacher_hidden, teacher_head):
  """The four matrix products that no algorithm can leave out."""
  grad = hidden @ head + teacher_hidden @ teacher_head
  return grad @ head.T, hidden.T @ grad


def timed(name, size, rounds) -> dict:
  """Returns seconds and ratios, after comparing the results."""
  host = inputs(size)
  arrays = [jnp.asarray(x) for x in host]
  runs = {arm: functools.partial(f, *arrays) for arm, f in steps(name).items()}
  error = apart(runs["ours"](), runs["naive"]())
  # The gradient of |p - q| jumps where they cross, and rounding may tell.
  if error > (1e-4 if name == "tvd" else 1e-5):
    raise SystemExit(f"{name} {size}: ours and naive differ by {error:.1e}")
  runs["products"] = functools.partial(products, *arrays)
  if peers and name in PEERS:
    others = peers.arms(name, host)
    value, *grads = (x.numpy() for x in others["chunks in torch"]())
    # Its terms cancel where the two sides agree, and it adds them in another order.
    error = apart((value, grads), runs["naive"]())
    if error > 1e-3:
      raise SystemExit(f"{name} {size}: torch is {error:.1e} away")
    runs |= others
  times = timing.interleaved(runs, rounds=rounds)
  over = {
    arm: timing.ratio(times, arm, "ours") for arm in runs if arm != "ours"
  }
  return {
    "loss": name,
    **sized(size),
    "error": error,
    "seconds": {arm: timing.spread(x) for arm, x in times.items()},
    "ours over": {
      arm: timing.ratio(times, "ours", arm) for arm in ("naive", "products")
    },
    "over ours": over,
  }


def apart(actual, expected) -> float:
  """Returns the largest difference, relative to each array's largest entry."""
  pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
  return max(
    float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs
  )


def temporary(name, size) -> dict:
  tokens, classes, width = size
  shapes = ((tokens, width), (width, classes)) * 2
  shapes = [jax.ShapeDtypeStruct(x, jnp.float32) for x in shapes]
  megabytes = {
    arm: step.lower(*shapes).compile().memory_analysis().temp_size_in_bytes
    / 1e6
    for arm, step in steps(name).items()
  }
  less = megabytes["naive"] / megabytes["ours"]
  return {"loss": name, **sized(size), "MB": megabytes, "times less": less}


def in_own_process(arm, quick) -> float:
  command = [sys.executable, "-m", "benchmarks.vocabulary", "--arm", arm]
  environment = {k: x for k, x in os.environ.items() if k not in MALLOC}
  ran = subprocess.run(
    command + ["--quick"] * quick,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  if ran.returncode:
    raise SystemExit(f"peak of {arm}: {ran.stderr[-2000:]}")
  return json.loads(ran.stdout.splitlines()[-1])


def peak_of(arm, size) -> float:
  """Returns the MB that one step of this process took beyond its inputs."""
  arrays = inputs(size)
  if arm in ("ours", "naive"):
    arrays = [jnp.asarray(x) for x in arrays]
    step = steps("jensen_shannon")[arm].lower(*arrays).compile()
    run = functools.partial(step, *arrays)
  else:
    run = peers.arms("jensen_shannon", arrays)[arm]
  before = held("VmRSS")
  # The peak so far, of compiling, is forgotten.
  Path("/proc/self/clear_refs").write_text("5")
  jax.block_until_ready(run())
  return (held("VmHWM") - before) / 1e3


def held(what) -> int:
  """Returns the kB that this process holds now, or has held at most."""
  lines = Path("/proc/self/status").read_text().splitlines()
  return next(int(x.split()[1]) for x in lines if x.startswith(what))


def half_precision() -> dict:
  """Returns the errors of the head's gradient, bfloat16 inputs."""
  size = (1024, 4096, 128)
  arrays = [jnp.asarray(x, jnp.bfloat16) for x in inputs(size)]
  wide = [np.asarray(x, np.float64) for x in arrays]
  q, p = (softmax(wide[i] @ wide[i + 1]) for i in (0, 2))
  want = wide[0].T @ (q - p) / len(q)
  step = steps("forward_kl")

  def in_parts(chunk_size):
    return jax.jit(
      jax.grad(
        lambda head: chunked.forward_kl(
          arrays[0], head, *arrays[2:], chunk_size=chunk_size
        ).mean()
      )
    )(arrays[1])

  gradients = {arm: step[arm](*arrays)[1][1] for arm in ("naive", "ours")}
  gradients["ours, 64 chunks"] = in_parts(len(q) // 64)
  rms = {
    arm: float(np.sqrt(np.mean((np.asarray(x, np.float64) - want) ** 2)))
    for arm, x in gradients.items()
  }
  scale = float(np.sqrt(np.mean(want**2)))
  return {"loss": "forward_kl", **sized(size)} | {
    "relative rms error": {arm: x / scale for arm, x in rms.items()}
  }


def softmax(logits):
  powers = np.exp(logits - logits.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def summary(results) -> list[dict]:
  lines = []
  if "times" in results:
    slowest = max(x["ours over"]["naive"]["median"] for x in results["times"])
    lines.append(
      timing.line(
        "time of ours over naive, the slowest",
        "<= 1.1",
        slowest,
        slowest <= 1.1,
      )
    )
  if "temporaries" in results:
    at = [x for x in results["temporaries"] if x["width"] == 512]
    least = min(x["times less"] for x in at)
    lines.append(
      timing.line(
        "temporaries of naive over ours, V 128256, N 4096, d 512, the least",
        ">= 10",
        least,
        least >= 10,
      )
    )
  return lines


if __name__ == "__main__":
  main()
