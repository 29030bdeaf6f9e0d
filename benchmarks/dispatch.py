"""Training loops: whole epochs in one dispatch here, step by step in PyTorch.

  python -m benchmarks.dispatch [--output=FILE] [--quick] [--rounds=7]
    [--clock=wall|processor]

The student 784-20-10, a larger one, and pairs of convolutional networks train
by plain SGD on the same images in the same order from the same weights: here by
`train/loop.py`, an epoch a round; in PyTorch by the loop that everyone writes, with
a DataLoader; by the same loop on slices of whole tensors, which nothing is faster
to read than; and by that with its forward pass compiled by `torch.compile`. All take
turns. Before that the losses of two epochs have agreed. Without PyTorch its
columns are missing; `examples/` and `Makefile` need none of it.
"""

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from kdjax.data import to_float
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train import loop
from kdjax.train.arm import Arm
from kdjax.train.loader import Loader
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import full_precision
from kdjax.train.teacher import live_teacher

RATE, TEMPERATURE, HARD = 0.05, 4.0, 0.1


class Case(NamedTuple):
  """What is trained.

  Attributes:
    student: hidden widths of a perceptron, or channels of a small
      convolutional network.
    teacher: likewise; None for labels alone.
    convolutional: which of the two.
    batch_size: images a step.
    steps: of an epoch.
    target: PyTorch's eager time over ours.
  """

  student: tuple[int, ...]
  teacher: tuple[int, ...] | None
  convolutional: bool
  batch_size: int
  steps: int
  target: float


CASES = {
  "784-20-10 on labels, batch 32": Case((20,), None, False, 32, 512, 10.0),
  "784-100-10 from 784-400-400-10, batch 64": Case(
    (100,), (400, 400), False, 64, 128, 1.0
  ),
  "small CNN from a larger one, batch 64": Case(
    (8, 16), (32, 64), True, 64, 4, 1.0
  ),
}
QUICK = (
  "784-20-10 on labels, batch 32",
  "small CNN from a larger one, batch 64",
)


class Data(NamedTuple):
  """Images (N, 28, 28, 1), labels, and two networks' parameters."""

  images: np.ndarray
  labels: np.ndarray
  student: Any
  teacher: Any


def model(case: Case, widths: tuple[int, ...]):
  if case.convolutional:
    channels = ", ".join(map(str, widths))
    return make_model(f"lenet({channels}, hidden=(), kernel=3)", classes=10)
  return make_model(f"mlp({', '.join(map(str, widths))})", classes=10)


def data(case: Case) -> Data:
  random = np.random.default_rng(0)
  count = case.batch_size * case.steps
  images = random.integers(0, 256, (count, 28, 28, 1), np.uint8)
  labels = random.integers(0, 10, count).astype(np.int32)
  sample = jnp.asarray(to_float(images[:1]))
  student, teacher = (
    widths and model(case, widths).init(jax.random.key(number), sample)
    for number, widths in enumerate((case.student, case.teacher))
  )
  return Data(images, labels, student, teacher)


def ours(case: Case, arrays: Data) -> Callable[[], float]:
  """An epoch a call; returns its mean loss."""
  count, size = len(arrays.images), case.batch_size

  def batches(seed, start, stop):
    order = np.arange(count).reshape(-1, size)
    order = order[np.arange(start, stop) % case.steps]
    return order, np.ones(order.shape, np.float32)

  loader = Loader(
    batches, case.steps, arrays.labels, lambda key, x, positions: to_float(x)
  )
  text = "hard" if case.teacher is None else f"kd:{1 - HARD} + ce:{HARD}"
  method = make_objective(text, temperature=TEMPERATURE)
  # The other loop starts from these weights too.
  method = method._replace(
    adopt=lambda params, inputs: arrays.student["params"]
  )
  arm = Arm(
    "all",
    lambda settings: method,
    {"seed": np.array([0]), "learning_rate": np.array([RATE])},
    teacher=case.teacher and "teacher",
  )
  network = model(case, case.student)
  sample = jnp.asarray(to_float(arrays.images[:1]))
  teachers = {}
  if case.teacher:
    frozen = full_precision(model(case, case.teacher)), arrays.teacher
    teachers = {"teacher": live_teacher(frozen)}
  epochs = loop.train(
    network,
    make_optimizer("sgd", "constant", 10**6),
    {"student": arm},
    {"all": loader},
    arrays.images,
    epochs=10**6,
    task=classification(10),
    sample=sample,
    teachers=teachers,
    devices=jax.local_devices()[:1],
    together=loop.side_by_side(network, sample, jax.default_backend()),
  )
  return lambda: float(next(epochs).metrics["student"]["loss"][0])


def theirs(
  case: Case, arrays: Data, *, compiled: bool = False, loader: bool = False
) -> Callable[[], float]:
  """The same in PyTorch: images on the device, one step after the other."""
  import torch
  from torch.utils.data import DataLoader, TensorDataset

  images = torch.tensor(arrays.images.transpose(0, 3, 1, 2)).float() / 255
  labels = torch.tensor(arrays.labels, dtype=torch.long)
  student = _torch_network(case, case.student, arrays.student["params"])
  teacher = case.teacher and _torch_network(
    case, case.teacher, arrays.teacher["params"]
  )
  forward = torch.compile(student) if compiled else student
  asked_teacher = torch.compile(teacher) if compiled and teacher else teacher
  optimizer = torch.optim.SGD(student.parameters(), RATE)
  kl = torch.nn.KLDivLoss(reduction="batchmean")

  def step(x, y):
    logits = forward(x)
    loss = torch.nn.functional.cross_entropy(logits, y)
    if teacher is not None:
      with torch.no_grad():
        answers = asked_teacher(x)
      soft = TEMPERATURE**2 * kl(
        torch.log_softmax(logits / TEMPERATURE, -1),
        torch.softmax(answers / TEMPERATURE, -1),
      )
      loss = HARD * loss + (1 - HARD) * soft
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()

  def slices():
    for i in range(case.steps):
      cut = slice(i * case.batch_size, (i + 1) * case.batch_size)
      yield images[cut], labels[cut]

  read = DataLoader(TensorDataset(images, labels), case.batch_size)

  def epoch():
    total = torch.zeros(())
    for x, y in read if loader else slices():
      total += step(x, y)
    return float(total) / case.steps

  return epoch


def _torch_network(case: Case, widths, params):
  """A PyTorch network with our weights."""
  import torch
  from torch import nn

  def tensor(x, *axes):
    return torch.tensor(np.ascontiguousarray(np.transpose(x, axes or None)))

  layers, side, entering = [], 28, 1
  for i, width in enumerate(widths):
    stage = params[f"stage_{i}"]
    if case.convolutional:
      layer = nn.Conv2d(entering, width, 3, padding=1)
      (layer_params,) = (x for x in stage.values() if "kernel" in x)
      kernel = tensor(layer_params["kernel"], 3, 2, 0, 1)
      layers += [layer, nn.ReLU(), nn.MaxPool2d(2)]
      entering, side = width, side // 2
    else:
      layer_params = stage["dense"]
      kernel = tensor(layer_params["kernel"])
      layer = nn.Linear(*reversed(kernel.shape))
      layers += [layer, nn.ReLU()]
    layer.load_state_dict(
      {"weight": kernel, "bias": tensor(layer_params["bias"])}
    )
  head = params["head"]
  kernel = np.asarray(head["kernel"])
  if case.convolutional:
    # Ours flattens height, width, channels; theirs channels first.
    shaped = kernel.reshape(side, side, entering, -1)
    kernel = shaped.transpose(2, 0, 1, 3).reshape(kernel.shape)
  last = nn.Linear(*kernel.shape)
  last.load_state_dict({"weight": tensor(kernel), "bias": tensor(head["bias"])})
  layers = [*layers, nn.Flatten(), last]
  return nn.Sequential(*([] if case.convolutional else [nn.Flatten()]), *layers)


def measured(name: str, rounds: int, clock: str) -> dict[str, Any]:
  """Times one case; ratios are PyTorch's times over ours."""
  case = CASES[name]
  arrays = data(case)
  runs = {"kdjax": ours(case, arrays)}
  if importlib.util.find_spec("torch"):
    runs["torch DataLoader"] = theirs(case, arrays, loader=True)
    runs["torch"] = theirs(case, arrays)
    runs["torch.compile"] = theirs(case, arrays, compiled=True)
  agreed = {name: [run(), run()] for name, run in runs.items()}
  for name_of, results in agreed.items():
    np.testing.assert_allclose(
      results, agreed["kdjax"], rtol=1e-3, err_msg=name_of
    )
  times = timing.interleaved(
    runs, rounds=rounds, clock=timing.CLOCKS[clock], settle=True
  )
  return {
    "case": name,
    "target": case.target,
    "steps_an_epoch": case.steps,
    "losses": agreed,
    "seconds_a_step": {
      one: statistics.median(values) / case.steps
      for one, values in times.items()
    },
    "ratios": {
      one: timing.ratio(times, one, "kdjax") for one in runs if one != "kdjax"
    },
  }


def main() -> int:
  """Prints what was found, and writes it."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--clock", choices=timing.CLOCKS, default="wall")
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  rows = [
    measured(name, 3 if options.quick else options.rounds, options.clock)
    for name in (QUICK if options.quick else CASES)
  ]
  summary = [
    timing.line(
      f"{row['case']}: {other} loop over ours",
      f">= {row['target']:g}",
      row["ratios"][other]["median"],
      row["ratios"][other]["median"] >= row["target"],
    )
    for row in rows
    for other in row["ratios"]
  ]
  timing.write(
    {**timing.machine(), "rows": rows, "summary": summary}, options.output
  )
  return 0


if __name__ == "__main__":
  sys.exit(main())
