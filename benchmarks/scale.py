"""How a distillation step's time and memory grow; and an estimate for clusters.

  python -m benchmarks.scale [--output=FILE] [--quick] [--plot=FILE]

A student 784-100-10 learns from 784-400-400-10 by `kd`, in the project's own
training program. One thing is varied at a time: the batch, the classes, the
devices that share a batch of 512, and the processes with a device each that do.
Every count of devices or processes has processes of its own. Time is wall time
of an epoch's dispatch over its steps, the median; memory is what the compiled
program says of one device (`kdjax/train/devices/memory.py`).

Devices and processes of one machine share its cores: the work is the same for
all counts, so a flat line is ideal, and what grows is overhead.

The estimate computes, and measures nothing: the time of a ring all-reduce of the
gradients' bytes, and of an all-gather of the features that a relation method
needs, at ASSUMED link rates, beside a step: for clusters of hosts like this one as
it was measured here, for clusters of GPUs at an ASSUMED speed of the device.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kdjax.runner.system.platform import prepare_environment

BATCHES = (32, 128, 512, 2048)
CLASSES = (10, 100, 1000, 10_000)
DEVICES = (1, 2, 4, 8)
PROCESSES = (1, 2, 4)
BATCH, STEPS = 512, 8
# Data sheets' figures, both directions of a link together halved: NVLink of an
# H100 450 GB/s each way; InfiniBand NDR 400 Gb/s a host. A device that reaches
# a third of an H100's dense float32 (TF32) peak, 989 / 2 TFLOP/s. Microseconds
# that a hop takes: the order of NCCL's own published tests, and of TCP's. Hosts
# without accelerators, each a device, with Ethernet of 10 Gb/s.
ASSUMED = {
  "gpus": {
    "devices_a_host": 8,
    "bytes_a_second_in_a_host": 450e9,
    "bytes_a_second_of_a_host": 50e9,
    "operations_a_second_of_a_device": 165e12,
    "seconds_a_hop": 5e-6,
  },
  "hosts": {
    "devices_a_host": 1,
    "bytes_a_second_in_a_host": 1.25e9,
    "bytes_a_second_of_a_host": 1.25e9,
    "seconds_a_hop": 50e-6,
  },
}
LARGE = (8, 16, 32, 64, 128, 256, 512, 1024)
# Student, teacher, what they see, batch of a device, features gathered.
ESTIMATED = (
  ("resnet8x4", "resnet32x4", (32, 32, 3), 64, 256),
  ("vit_tiny16", "vit_base16", (224, 224, 3), 64, 192),
)
FILE = Path(__file__).parent / "results" / "scale.json"


def main() -> int:
  """Measures in processes of their own; writes and draws."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--output", type=Path)
  parser.add_argument("--plot", type=Path)
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--epochs", type=int, default=9)
  parser.add_argument("--rows", help=argparse.SUPPRESS)
  parser.add_argument("--devices", type=int, default=1, help=argparse.SUPPRESS)
  parser.add_argument("--job", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.rows:
    rows = json.loads(options.rows)
    _join(options.devices, options.job)
    print(json.dumps([measured(options.epochs, **row) for row in rows]))
    return 0
  rows = list(everything(options.quick, 3 if options.quick else options.epochs))
  results = {
    "rows": rows,
    "assumed": ASSUMED,
    "estimate": list(estimates(rows)),
  }
  from benchmarks import timing

  results = timing.machine() | results | {"summary": list(summary(rows))}
  timing.write(results, options.output)
  if options.plot:
    draw(results, options.plot)
  return 0


def everything(quick: bool, epochs: int) -> Iterator[dict[str, Any]]:
  """All rows, each measured in a process with the devices that it needs."""
  sizes = [{"varied": "batch", "batch_size": x} for x in BATCHES]
  sizes += [
    {"varied": "classes", "batch_size": 128, "classes": x} for x in CLASSES
  ]
  sizes += [{"varied": "devices", "batch_size": BATCH}]
  yield from worker(sizes[::2] if quick else sizes, epochs)
  shared = [{"varied": "devices", "batch_size": BATCH}]
  for count in DEVICES[1 :: 2 if quick else 1]:
    yield from worker(shared, epochs, devices=count)
  for count in PROCESSES[: 2 if quick else 3]:
    row = {"varied": "processes", "batch_size": BATCH}
    yield from worker([row], epochs, processes=count)


def worker(rows, epochs: int, *, devices: int = 1, processes: int = 1):
  """Measures rows in new processes; returns what the first one found."""
  port = 20_000 + os.getpid() % 10_000
  command = [
    *(sys.executable, "-m", "benchmarks.scale"),
    *(f"--rows={json.dumps(rows)}", f"--epochs={epochs}"),
    f"--devices={devices}",
  ]
  running = [
    subprocess.Popen(
      command + [f"--job={port}:{processes}:{i}"] * (processes > 1),
      stdout=subprocess.PIPE,
      text=True,
    )
    for i in range(processes)
  ]
  try:
    outputs = [one.communicate(timeout=600)[0] for one in running]
  finally:
    for one in running:
      one.kill()
  if any(one.returncode for one in running):
    raise RuntimeError(f"a worker failed: {rows}")
  return json.loads(outputs[0].splitlines()[-1])


def _join(devices: int, job: str | None) -> None:
  prepare_environment("cpu", devices)
  if job is None:
    return
  import jax

  port, count, index = map(int, job.split(":"))
  jax.distributed.initialize(f"127.0.0.1:{port}", count, index)


def measured(
  epochs: int, *, varied: str, batch_size: int, classes: int = 10
) -> dict[str, Any]:
  """Trains, and says what a step took on each device."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from kdjax.data import to_float
  from kdjax.methods import make_objective
  from kdjax.models import make_model
  from kdjax.tasks import classification
  from kdjax.train import loop
  from kdjax.train.arm import Arm
  from kdjax.train.devices import memory
  from kdjax.train.devices import placement as on_devices
  from kdjax.train.loader import Loader
  from kdjax.train.observer import Observer
  from kdjax.train.optimizer import make_optimizer
  from kdjax.train.precision import full_precision
  from kdjax.train.teacher import live_teacher

  random = np.random.default_rng(0)
  count = batch_size * STEPS
  images = random.integers(0, 256, (count, 28, 28, 1), np.uint8)
  labels = random.integers(0, classes, count).astype(np.int32)
  sample = jnp.asarray(to_float(images[:1]))

  def batches(seed, start, stop):
    order = np.arange(count).reshape(-1, batch_size)
    order = order[np.arange(start, stop) % STEPS]
    return order, np.ones(order.shape, np.float32)

  loader = Loader(batches, STEPS, labels, lambda key, x, places: to_float(x))
  method = make_objective("kd:0.9 + ce:0.1")
  settings = {"seed": np.array([0]), "learning_rate": np.array([1e-3])}
  arm = Arm("all", lambda _: method, settings, teacher="teacher")
  network = make_model("mlp(400, 400)", classes=classes)
  variables = network.init(jax.random.key(1), sample)
  needs = []

  def step(run, arguments):
    if not needs:
      needs.append(memory.needs(run, arguments))

  devices = on_devices.choose("auto")
  stream = loop.train(
    make_model("mlp(100)", classes=classes),
    make_optimizer("sgd(momentum=0.9)", "constant", 10**6),
    {"student": arm},
    {"all": loader},
    images,
    epochs=epochs + 1,
    task=classification(classes),
    sample=sample,
    teachers={"teacher": live_teacher(full_precision(network), variables)},
    devices=devices,
    observer=Observer(step, lambda fed, idle: fed),
  )
  times = []
  for number in range(epochs + 1):
    start = time.perf_counter()
    last = jax.block_until_ready(next(stream).states["student"])
    times += [time.perf_counter() - start] if number else []
  return {
    "varied": varied,
    "batch_size": batch_size,
    "classes": classes,
    "devices": len(devices),
    "processes": jax.process_count(),
    "seconds_a_step": statistics.median(times) / STEPS,
    "bytes_of_a_device": needs[0].memory,
    "operations_of_a_device": needs[0].operations,
    "gradient_bytes": sum(x.nbytes for x in jax.tree.leaves(last.params)),
  }


def estimates(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """Weak scaling: every device has a batch of its own, gradients are summed."""
  alone = next(row for row in rows if row["varied"] == "devices")
  yield _estimate(
    "hosts",
    student="mlp(100)",
    teacher="mlp(400, 400)",
    batch_of_a_device=alone["batch_size"],
    gradient_bytes=alone["gradient_bytes"],
    gathered_bytes_of_a_device=2 * alone["batch_size"] * 100 * 4,
    seconds_alone=alone["seconds_a_step"],
  )
  for student, teacher, shape, batch_size, width in ESTIMATED:
    operations, size = _counted(student, teacher, (batch_size, *shape))
    speed = ASSUMED["gpus"]["operations_a_second_of_a_device"]
    yield _estimate(
      "gpus",
      student=student,
      teacher=teacher,
      batch_of_a_device=batch_size,
      gradient_bytes=size,
      gathered_bytes_of_a_device=2 * batch_size * width * 4,
      seconds_alone=operations / speed,
    )


def _counted(student: str, teacher: str, shape) -> tuple[float, int]:
  """Operations of a step, and bytes of the student's gradients."""
  import jax
  import jax.numpy as jnp

  from kdjax.models import make_model
  from kdjax.train.devices import memory

  images = jax.ShapeDtypeStruct(shape, jnp.float32)
  operations, size = 0.0, 0
  for text, passes in ((teacher, 1), (student, 3)):
    network = make_model(text, classes=100)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    forward = jax.make_jaxpr(network.apply)(variables, images)
    operations += passes * memory.operations(forward.jaxpr)
    size = sum(
      x.size * x.dtype.itemsize for x in jax.tree.leaves(variables["params"])
    )
  return operations, size


def _estimate(cluster: str, **setting: Any) -> dict[str, Any]:
  links, step = ASSUMED[cluster], setting["seconds_alone"]
  size, features = (
    setting["gradient_bytes"],
    setting["gathered_bytes_of_a_device"],
  )
  sums = {count: step + reduced(size, count, links) for count in LARGE}
  return setting | {
    "cluster": cluster,
    "efficiency": {count: step / x for count, x in sums.items()},
    "efficiency_with_gathered_features": {
      count: step / (x + gathered(features, count, links))
      for count, x in sums.items()
    },
  }


def reduced(size: int, devices: int, links: dict[str, float]) -> float:
  """Seconds of a ring all-reduce: within hosts first, then among them.

  2 (n - 1) / n of the bytes pass every link, in 2 (n - 1) hops.
  """
  own = min(devices, links["devices_a_host"])
  hosts = devices // own
  return sum(
    2 * (n - 1) * (size / n / rate + links["seconds_a_hop"])
    for n, rate in (
      (own, links["bytes_a_second_in_a_host"]),
      (hosts, links["bytes_a_second_of_a_host"]),
    )
  )


def gathered(size: int, devices: int, links: dict[str, float]) -> float:
  """Seconds until every host has every device's bytes, along a ring of hosts."""
  own = min(devices, links["devices_a_host"])
  hosts, hop = devices // own, links["seconds_a_hop"]
  inside = size * hosts / links["bytes_a_second_in_a_host"] + hop
  among = own * size / links["bytes_a_second_of_a_host"] + hop
  return (own - 1) * inside + (hosts - 1) * among


def summary(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """Time of the largest count over that of one."""
  from benchmarks import timing

  for varied in ("devices", "processes"):
    of = [row for row in rows if row["varied"] == varied]
    last = max(of, key=lambda row: row[varied])
    ratio = last["seconds_a_step"] / of[0]["seconds_a_step"]
    yield timing.line(
      f"a batch of {BATCH} on {last[varied]} {varied} of one machine over one",
      "flat is ideal",
      ratio,
      None,
    )


def draw(results: dict[str, Any], path: Path) -> None:
  """Time a step over all that was varied, and the estimate."""
  import matplotlib

  matplotlib.use("Agg")
  import matplotlib.pyplot as plt

  figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
  for axis, varied in zip(axes, ("batch", "classes", "devices"), strict=False):
    for name in (varied, "processes")[: 1 + (varied == "devices")]:
      key = "batch_size" if name == "batch" else name
      rows = [row for row in results["rows"] if row["varied"] == name]
      axis.plot(
        [row[key] for row in rows],
        [1e3 * row["seconds_a_step"] for row in rows],
        marker="o",
        label=name,
      )
    axis.set(xscale="log", xlabel=varied)
    values = {"batch": BATCHES, "classes": CLASSES, "devices": DEVICES}[varied]
    axis.set_xticks(values, list(map(str, values)))
    axis.minorticks_off()
    if varied == "devices":
      axis.set_ylim(0, None)
    else:
      axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)
  axes[0].set_ylabel("ms a step, measured")
  axes[2].set_xlabel("devices, processes sharing two cores")
  axes[2].legend(frameon=False)
  for row in results["estimate"]:
    values = row["efficiency"]
    label = f"{row['student']}, {row['cluster']}"
    axes[3].plot([*map(int, values)], [*values.values()], label=label)
  axes[3].set(
    xscale="log",
    xlabel="devices",
    ylim=(0, 1.05),
    ylabel="ESTIMATED efficiency",
  )
  axes[3].set_xticks(LARGE[::2], list(map(str, LARGE[::2])))
  axes[3].minorticks_off()
  axes[3].legend(frameon=False)
  axes[3].spines[["top", "right"]].set_visible(False)
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=110)


if __name__ == "__main__":
  sys.exit(main())
