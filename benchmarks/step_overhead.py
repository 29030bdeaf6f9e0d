"""What a distillation step takes over its parts: teacher, student step, loss.

  python -m benchmarks.step_overhead [--output=FILE] [--quick] [--rounds=9]
    [--clock=wall|processor]

Every time is of the project's own training program, `train/loop.py`, an epoch a
round; trainings take turns. Four of them differ in what happens in a step:

  shown     a batch is gathered and made float, and that is all
  teacher   the teacher looks at it as well
  labels    the student learns from labels alone
  METHOD    the student learns from the teacher by that method
  cached    likewise by `kd`, from answers in a table

The overhead of a method is METHOD / (teacher + labels - shown), of a cached
teacher cached / labels: what a user pays above the two networks. What the loss by
itself takes, value and gradient of the same views and nothing else, is timed as
"METHOD alone"; with it among the parts the second ratio says whether the step
costs more than it must. All are medians over the rounds. The language models,
which the runner does not train, train here through the same loop: images are
token ids, and labels are the tokens that follow.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from kdjax import losses
from kdjax.core.method import Inputs, Outputs, stateless, weighted_sum
from kdjax.core.teacher import stored_teacher
from kdjax.data import to_float
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.taps import tapped
from kdjax.tasks import classification
from kdjax.train import loop
from kdjax.train.arm import Arm
from kdjax.train.loader import Loader
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import full_precision
from kdjax.train.schemes.scheme import OFFLINE
from kdjax.train.teacher import live_teacher

LIMITS = {"response": 1.03, "cached": 1.03}
OTHERS = 1.10
LENGTH, VOCABULARY = 32, 512


class Pair(NamedTuple):
  """A teacher and a student, and what they are compared by.

  Attributes:
    teacher: model.
    student: model.
    shape: of what they see.
    classes: how many.
    methods: objective by the kind of knowledge that it matches.
    steps: in an epoch, by batch size.
  """

  teacher: str
  student: str
  shape: tuple[int, ...]
  classes: int
  methods: dict[str, str]
  steps: dict[int, int]


RESPONSE = "kd:0.9 + ce:0.1"
PAIRS = {
  "mlp": Pair(
    "mlp(1200, 1200)",
    "mlp(100)",
    (28, 28, 1),
    10,
    {
      "response": RESPONSE,
      "feature": "ce:1 + fitnets(student_tap='stage_0', teacher_tap='stage_1'):1",
      "relation": "ce:1 + rkd:1",
      "similarity": "ce:1 + sp:1",
    },
    {64: 32, 256: 16},
  ),
  "resnet": Pair(
    "resnet32x4",
    "resnet8x4",
    (32, 32, 3),
    100,
    {
      "response": RESPONSE,
      "feature": "ce:1 + fitnets:1",
      "relation": "ce:1 + sp:1",
      "attention": "ce:1 + attention_transfer:1",
    },
    {64: 2, 256: 1},
  ),
  "vit": Pair(
    "vit(patch=8, width=192, depth=6, heads=4)",
    "vit(patch=8, width=96, depth=3, heads=4)",
    (32, 32, 3),
    100,
    {
      "response": RESPONSE,
      "feature": "ce:1 + fitnets:1",
      "relation": "ce:1 + sp:1",
      "attention": "ce:1 + minilm:1",
    },
    {64: 4, 256: 2},
  ),
  "gpt": Pair(
    f"gpt(width=128, depth=4, heads=4, positions={LENGTH}, tied=False, dropout=0)",
    f"gpt(width=64, depth=2, heads=4, mlp=256, positions={LENGTH}, tied=False, dropout=0)",
    (LENGTH,),
    VOCABULARY,
    {
      "response": "kd",
      "feature": "fitnets:1",
      "relation": "sp:1",
      "attention": "minilm:1",
    },
    {64: 4, 256: 2},
  ),
}


class NetworkWithVariables(NamedTuple):
  """A network and its variables."""

  network: Any
  variables: Any


class LastToken(NamedTuple):
  """A language model whose answer is that for its last token.

  All others' answers are at the tap `head`.
  """

  model: Any

  def init(self, *args, **kwargs):
    return self.model.init(*args, **kwargs)

  def apply(self, *args, mutable=False, **kwargs):
    results = self.model.apply(*args, mutable=mutable, **kwargs)
    logits, rest = results if mutable is not False else (results, None)
    last = logits[:, -1]
    return last if mutable is False else (last, rest)


def next_token(inputs) -> jax.Array:
  """Cross-entropy of each next token, the mean of a sequence."""
  tokens = inputs.student.feats["stem:in"]
  logits = inputs.student.feats["head"][:, :-1]
  each = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
  return each.mean(axis=1)


def all_tokens(inputs) -> jax.Array:
  """Softened answers for all tokens, the mean of a sequence."""
  student, teacher = inputs.student.feats["head"], inputs.teacher.feats["head"]
  each = losses.kd(
    student.reshape(-1, student.shape[-1]),
    teacher.reshape(-1, teacher.shape[-1]),
    temperature=4.0,
  )
  return each.reshape(student.shape[:2]).mean(axis=1)


def objective(pair: Pair, text: str | None):
  """Makes the method; None for labels alone."""
  if pair.shape != (LENGTH,):
    return make_objective(text or "hard")
  labels = stateless(
    next_token, student_taps=("stem:in", "head"), needs_teacher=False
  )
  if text is None:
    return labels
  return weighted_sum({"labels": (labels, 0.1), "other": (matched(text), 0.9)})


def matched(text: str):
  """Makes what of a method looks at the teacher."""
  if text == "kd":
    return stateless(all_tokens, student_taps=("head",), teacher_taps=("head",))
  terms = [term for term in text.split(" + ") if not term.startswith("ce:")]
  return make_objective(" + ".join(terms))


def alone(
  method,
  student: NetworkWithVariables,
  teacher: NetworkWithVariables,
  images,
  steps: int,
  together: bool,
):
  """Makes what takes a loss's gradient as often as an epoch has steps.

  Each time it is that of views a little lower, the teacher's too, so that none of it
  can be left out, or be found before the first.
  """
  count = len(images)
  views = [
    Outputs(*tapped(network.apply, taps)(variables, images, train=False))
    for (network, variables), taps in (
      (student, method.student_taps),
      (teacher, method.teacher_taps),
    )
  ]
  labels = jnp.zeros(count, jnp.int32)
  inputs = Inputs(*views, labels, labels[0], jnp.ones(count, bool))
  params, state = method.init(jax.random.key(0), inputs)
  student_outputs, teacher_outputs = views

  def lower(moved, _):
    teacher_outputs, *trained = moved

    def loss(outputs, params):
      new_inputs = inputs._replace(student=outputs, teacher=teacher_outputs)
      return method.apply(params, state, new_inputs)[0]

    grads = jax.grad(loss, (0, 1))(*trained)
    trained = jax.tree.map(lambda x, grad: x - 1e-6 * grad, trained, [*grads])
    return [
      jax.tree.map(lambda x: (1 - 1e-6) * x, teacher_outputs),
      *trained,
    ], None

  first = [teacher_outputs, student_outputs, params]
  if together:
    many = jax.jit(lambda moved: jax.lax.scan(lower, moved, length=steps)[0])
    return lambda: many(first)
  once = jax.jit(lambda moved: lower(moved, None)[0])

  def several():
    moved = first
    for _ in range(steps):
      moved = once(moved)
    return moved

  return several


def looks(state, method, batch, teacher, **options):
  """A step in which the student does nothing: the inputs are used, no more."""
  total = jnp.sum(batch.inputs, dtype=jnp.float32)
  if teacher is not None:
    total += sum(map(jnp.sum, (teacher.answers, *teacher.feats.values())))
  return state, {"loss": (total, jnp.sum(batch.weight))}


def trainings(
  pair: Pair, batch_size: int
) -> dict[str, Callable[[], dict[str, Any]]]:
  """Starts all that is compared; each call is an epoch."""
  random = np.random.default_rng(0)
  count = batch_size * pair.steps[batch_size]
  words = pair.shape == (LENGTH,)
  if words:
    images = random.integers(0, VOCABULARY, (count, LENGTH), np.int32)
  else:
    images = random.integers(0, 256, (count, *pair.shape), np.uint8)
  labels = random.integers(0, pair.classes, count).astype(np.int32)
  view = (lambda key, x, positions: x) if words else _floats
  sample = jnp.asarray(images[:1] if words else to_float(images[:1]))

  def batches(seed, start, stop):
    order = np.random.default_rng(seed).permutation(count)
    order = order.reshape(-1, batch_size)
    order = order[np.arange(start, stop) % len(order)]
    return order, np.ones(order.shape, np.float32)

  loader = Loader(batches, pair.steps[batch_size], labels, view)
  networks = [
    make_model(model, classes=pair.classes)
    for model in (pair.teacher, pair.student)
  ]
  teacher_network, network = map(LastToken, networks) if words else networks
  student_variables, teacher_variables = (
    jax.jit(partial(one.init, train=False))(jax.random.key(1), sample)
    for one in (network, teacher_network)
  )
  teacher = live_teacher(full_precision(teacher_network), teacher_variables)
  random_answers = random.normal(size=(count, pair.classes))
  table = stored_teacher(jnp.asarray(random_answers, jnp.float32))

  together = loop.side_by_side(networks[1], sample, jax.default_backend())

  def training(method, *, of=None, scheme=OFFLINE) -> Iterator:
    arm = Arm(
      "all",
      lambda settings: method,
      {"seed": np.array([0]), "learning_rate": np.array([1e-3])},
      teacher=None if of is None else "teacher",
      scheme=scheme,
    )
    return loop.train(
      network,
      make_optimizer("sgd(momentum=0.9)", "constant", 10**6),
      {"student": arm},
      {"all": loader},
      images,
      epochs=10**6,
      task=classification(pair.classes),
      sample=sample,
      teachers={} if of is None else {"teacher": of},
      devices=jax.local_devices()[:1],
      together=together,
    )

  labelled = objective(pair, None)
  looking = OFFLINE._replace(step=looks)
  streams = {
    "shown": training(labelled, scheme=looking),
    # Language models answer for all tokens, at a tap.
    "teacher": training(
      objective(pair, "kd") if words else labelled, of=teacher, scheme=looking
    ),
    "labels": training(labelled),
  }
  if not words:
    cached = make_objective(pair.methods["response"])
    streams["cached"] = training(cached, of=table)
  for kind, text in pair.methods.items():
    streams[kind] = training(objective(pair, text), of=teacher)
  epochs = {
    name: lambda stream=stream: next(stream).states["student"].params
    for name, stream in streams.items()
  }
  batch = jnp.asarray(images[:batch_size])
  return epochs | {
    f"{kind} alone": alone(
      matched(text),
      NetworkWithVariables(network, student_variables),
      NetworkWithVariables(teacher_network, teacher_variables),
      batch if words else to_float(batch),
      pair.steps[batch_size],
      together,
    )
    for kind, text in pair.methods.items()
  }


def _floats(key, images, positions):
  return to_float(images)


def measured(name: str, batch_size: int, rounds: int, clock: str) -> list[dict]:
  """Times a pair at one batch size; a row a method."""
  pair = PAIRS[name]
  times = timing.interleaved(
    trainings(pair, batch_size),
    rounds=rounds,
    warmup=2,
    clock=timing.CLOCKS[clock],
  )
  parts = [
    teacher + labels - shown
    for teacher, labels, shown in zip(
      times["teacher"], times["labels"], times["shown"], strict=True
    )
  ]
  steps = pair.steps[batch_size]
  rows = []
  for kind in ("cached", *pair.methods):
    if kind not in times:
      continue
    base = times["labels"] if kind == "cached" else parts
    loss = times.get(f"{kind} alone", times["response alone"])
    whole = [a + b for a, b in zip(base, loss, strict=True)]
    rows.append(
      {
        "pair": name,
        "batch_size": batch_size,
        "kind": kind,
        "objective": pair.methods.get(kind, pair.methods["response"]),
        "seconds_a_step": statistics.median(times[kind]) / steps,
        "parts_seconds_a_step": statistics.median(base) / steps,
        "loss_seconds_a_step": statistics.median(loss) / steps,
        "ratio": timing.ratio({"of": times[kind], "over": base}, "of", "over"),
        "ratio_with_loss": timing.ratio(
          {"of": times[kind], "over": whole}, "of", "over"
        ),
        "limit": LIMITS.get(kind, OTHERS),
      }
    )
  return rows


def write(rows: list[dict], path: Path | None) -> None:
  """Prints and writes all rows until now."""
  summary = [
    timing.line(
      f"{row['pair']}, batch {row['batch_size']}: {row['kind']} step over"
      f" {'plain training' if row['kind'] == 'cached' else 'both networks'}{more}",
      f"<= {row['limit']}",
      row[ratio]["median"],
      row[ratio]["median"] <= row["limit"],
    )
    for row in rows
    for ratio, more in (("ratio", ""), ("ratio_with_loss", " and the loss"))
  ]
  timing.write({**timing.machine(), "rows": rows, "summary": summary}, path)


def main() -> int:
  """Prints a row a pair, size and method, and writes them."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--pairs", default=",".join(PAIRS))
  parser.add_argument("--sizes", default="64,256", help="batch sizes")
  parser.add_argument("--clock", choices=timing.CLOCKS, default="wall")
  parser.add_argument("--quick", action="store_true")
  parser.add_argument("--output", type=Path)
  options = parser.parse_args()
  sizes = (64,) if options.quick else tuple(map(int, options.sizes.split(",")))
  names = ["mlp", "gpt"] if options.quick else options.pairs.split(",")
  # Pairs are measured apart where time is short: the others' rows stay.
  before = timing.written(options.output, "rows")
  rows = [row for row in before if row["pair"] not in names]
  for name in names:
    for size in sizes:
      rounds = 5 if options.quick else options.rounds
      rows += measured(name, size, rounds, options.clock)
    # The larger pairs take long: what is done is kept.
    write(rows, options.output)
  return 0


if __name__ == "__main__":
  sys.exit(main())
