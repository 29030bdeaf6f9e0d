"""Measures what extremes give and writes docs/numerics.md.

  python docs/make_numerics_page.py

Runs the scenarios of tests/losses on eight forced CPU devices.
"""

import functools
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
# Fewer threads than devices dead-lock in the collectives' rendezvous.
os.environ["NPROC"] = "32"
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "losses")]

import jax  # noqa: E402  (the environment above must come first)
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from loss_cases import CASES, couples_batch  # noqa: E402
from scenarios import results  # noqa: E402

from kdjax import losses  # noqa: E402

COLUMNS = {
  "±1e4": "large",
  "both at ±1e4": "agreeing at large",
  "constant rows": "constant",
  "constant student": "constant student",
  "student = teacher": "equal",
  "all zero": "zeros",
  "duplicates": "duplicates",
  "empty mask": "empty mask",
  "classes at -inf": "dead classes",
  "the student's alone": "masked by the student",
  "the teacher's alone": "masked by the teacher",
  "no class in common": "no class in common",
}
PRESENT = """\
## What is there and what is not

The same for plain losses, those of large inputs and `losses.chunked`, at every size.

- **A mean over classes** counts the classes that are there: `logit_mse`,
  `class_correlation`, `mlkd`, `dist` and `srrl` divide by the number of classes that
  neither side masks with -inf (in `class_correlation`, `mlkd` and `dist`: in some row).
  Padding a vocabulary changes nothing.
- **A label outside 0 to C - 1** (-1, -100, C, 65535) is no label, whatever its integer
  type. What is about the label is 0 there, with zero gradient: the whole row in `dkd`,
  `nkd` and `wsld`; the label's part in `ofa`, whose powers of the teacher stay, and in
  `losses.chunked`, whose divergence stays and whose `labelled` does not count the token.
  Methods keep to it: `ce` and every other one that reads labels.
- **A stored id outside 0 to C - 1** in `sparse_kd` is a missing entry, as if its
  log-probability were -inf. An id that repeats in its row counts once, the first time
  that it is not missing. A position with nothing left is 0, with zero gradient.
- **Numbers** (temperatures, weights, shares, k) may be Python's, NumPy's, or arrays of
  NumPy or JAX. Those that have a value while the loss is called or traced are checked,
  each entry: nan, an infinite or non-positive temperature, a negative weight, and what
  is 0 or infinite in the working precision raise a `ValueError`. Traced ones cannot be
  checked.
- **One logit** has the softmax 1 whatever it is, so that nothing could be learned from
  it: losses over a softmax of classes raise a `ValueError`. A logit z for yes or no is
  the two logits (0, z), `jnp.stack([jnp.zeros_like(z), z], -1)`. Masks may leave one
  class; it then teaches nothing.
- **Masks** (`mask=`): `masked_mean` and `losses.chunked` take a bool or weights >= 0, and
  divide by their sum. The losses of attention and `vitkd` take a bool, or 0 and 1 of any
  type: a token is a query and a key, or is erased, or is not. They refuse weights, and
  floats that are traced, which may be weights. `mgd` multiplies by its mask.
- **NaN** is not taken for a masked class: a diverged student's loss is NaN
  (in `hard_distillation` of large inputs: its gradient).
"""

DEVICES, LOCAL, FEATURES, CLASSES = 8, 8, 64, 10

HEAD = """\
# Numerics: what each loss gives for extreme inputs, masks and replicas

    python docs/make_numerics_page.py

measures and writes this page. The tests hold every entry of the first table to being
finite.

## What extremes give

Each cell is the largest value / the largest entry of the student's gradient, in
float32, over a batch of four. **±1e4**: every input is +1e4 or -1e4. **both at ±1e4**:
normal inputs times 1e4, the same for student and teacher. A dash: no such input, or
excluded by the definition (`srd` takes the logarithm of a distance, so it diverges
where the two are equal). `standardize_logits` leaves classes at -inf where they are.
"""

MASKS = """\
## Masks

A logit of -inf masks a class. **A class that either side masks is as if removed from
both softmaxes**: in every divergence and every loss over a pair of softmaxes, at every
size, in `losses.chunked`, with top-k classes and in the methods over them. It adds
nothing, is counted in no mean and gets no gradient; the others are normalised without
it, so that a divergence stays >= 0. (A Kullback-Leibler divergence would be infinite
where the student alone masks; to drop the class's term and keep its mass, as much code
does, makes it negative, or rewards a student for what its teacher forbids.)

- A row in which one side masks everything, or in which no class is left in common, gives
  0 and no gradient.
- A label whose class is masked on either side is no label.
- `ensemble_kd`: a class is removed where the student masks it, or all teachers do (with
  `combine="logits"`: or any does).
- `sparse_kd` stores no masks: a stored class that the student masks is removed from the
  teacher's softmax too.
- `uld` sorts each side's own probabilities, and `dino` compares views of one vocabulary:
  there nothing is shared.
- In `losses.chunked` a bias of -inf masks. The labels' cross-entropy is that of the
  student's own softmax, whatever the teacher masks.
- A large negative number, such as -1e9, is no mask: its class has a probability of 0, as
  is right for most losses, but it is counted. With `standardize=True` it is taken for a
  logit, and all others become equal: mask with -inf.
- A one-hot teacher is no row of 0 and -inf, which leaves one class and teaches nothing:
  give labels, or finite logits that are far apart.
"""

RECIPES = """\
## What published code gives

Noted when the golden values were computed, in PyTorch, on their extreme cases; no
command here repeats it.

| situation | published code | kdjax |
| --- | --- | --- |
| logits of 1e4: `dkd`, `ofa`, `cwd` | nan loss in float32 (`dkd`: inf in float64 too) | finite: log space throughout |
| a gap of 110 between logits at T = 1: mdistiller's DKD | nan | the gap |
| logits of 1e4: DistiLLM's skew KLs and `js_distance` | nan in float32 and float64 | finite: `logaddexp` of log-probabilities |
| classes at -inf on both sides: mdistiller's KD, TRL's JSD | nan loss | as if removed |
| the same: DistiLLM's reverse and skew KL | right loss, all-nan gradient | zero gradient for the class |
| a constant row of logits: standardisation | gradient 2e7 | zeros, zero gradient |
| an all-zero row of features: `pkt` | right loss, nan gradient | zero gradient for the row |
| a dead channel: `cat_kd` | gradient 7e9 on it | zero gradient for the channel |
| student equal to teacher: AKL | 0/0 | ratio 1/2, loss 0 |
| raw variance parameter at 300: `vid` | inf in float32 | `softplus` |
| no valid position | nan in DistiLLM and TextBrewer | 0, zero gradient |
"""


def size(x) -> str:
  largest = np.max(np.abs(x))
  text = f"{largest:.1e}".replace("e+00", "").replace("e+0", "e")
  return text.replace("e-0", "e-") if largest else "0"


def report_card() -> list[str]:
  lines = ["| loss | " + " | ".join(COLUMNS) + " |"]
  lines.append("| --- " * (len(COLUMNS) + 1) + "|")
  for name in CASES:
    found = results(name)
    cells = [f"`{name}`"]
    for scenario in COLUMNS.values():
      if scenario in found:
        value, (student, _) = found[scenario]
        cells.append(f"{size(value)} / {size(student)}")
      else:
        cells.append("-")
    lines.append("| " + " | ".join(cells) + " |")
  return lines


def batch():
  """Returns features of both nets, in ten clusters: the teacher's the tighter."""
  random = np.random.default_rng(0)
  centres = random.normal(size=(CLASSES, FEATURES))
  labels = random.integers(0, CLASSES, size=DEVICES * LOCAL)
  noise = random.normal(size=(2, DEVICES * LOCAL, FEATURES))
  sides = centres[labels] + np.array([1.0, 0.3])[:, None, None] * noise
  return [jnp.asarray(x, jnp.float32) for x in sides]


def on_devices(function, student, teacher):
  """Returns the devices' values and the gradient of their mean."""

  def local(student, teacher):
    return jax.value_and_grad(function)(student, teacher)

  split = (x.reshape(DEVICES, LOCAL, -1) for x in (student, teacher))
  values, grads = jax.pmap(local, "devices")(*split)
  return values, grads.reshape(student.shape) / DEVICES


def replicas() -> list[str]:
  student, teacher = batch()
  lines = [
    "| loss | whole batch | mean of the replicas' own | ratio | gradient's error"
    " | ratio with `axis_name` | gradient's error |",
    "| --- | --- | --- | --- | --- | --- | --- |",
  ]
  for name in filter(couples_batch, CASES):
    function = functools.partial(CASES[name].call, getattr(losses, name))
    want, grad = jax.jit(jax.value_and_grad(function))(student, teacher)
    ways = (function, functools.partial(function, axis_name="devices"))
    cells = [f"`{name}`", f"{want:.3g}"]
    for k, way in enumerate(ways):
      values, got = on_devices(way, student, teacher)
      error = float(jnp.linalg.norm(got - grad) / jnp.linalg.norm(grad))
      ratio = float(values.mean() / want)
      if k == 0:
        cells += [f"{values.mean():.3g}", f"{ratio:.2f}", f"{error:.0%}"]
      else:
        cells += [f"{ratio:.6f}", f"{error:.0e}"]
    lines.append("| " + " | ".join(cells) + " |")
  return lines


REPLICAS = f"""\
## What replicas give

A batch of {DEVICES * LOCAL} examples over {DEVICES} devices, features in {CLASSES} clusters. A loss that relates examples
is another loss on a part of the batch: averaged over replicas, as DataParallel and DDP
do, its value and gradient are wrong, and depend on the number of devices. With
`axis_name` every device returns the value of the whole batch, and the mean of the
devices' parameter gradients is that of the whole batch. The error is the distance from
the whole batch's gradient, as a share of its norm.
"""


def main():
  table, by_devices = report_card(), replicas()
  parts = [HEAD, *table, "", MASKS, PRESENT, REPLICAS, *by_devices, "", RECIPES]
  (HERE / "numerics.md").write_text("\n".join(parts))


if __name__ == "__main__":
  main()
