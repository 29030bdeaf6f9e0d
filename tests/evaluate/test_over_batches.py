"""Metrics over batches: as on the whole set, however it is cut."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

import kdjax
from kdjax import evaluate, losses
from kdjax.core.errors import UserError
from kdjax.core.teacher import stored_teacher
from kdjax.evaluate import over_batches, scores
from kdjax.taps.network import from_apply, from_linen
from kdjax.tasks import classification
from kdjax.train.teacher import live_teacher

CLASSES = 3
TASK = classification(CLASSES)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(23, 5)).astype(np.float32)
# One example has no label.
LABELS = np.r_[RNG.integers(0, CLASSES, 22), -1].astype(np.int32)
WHOLE = {"image": IMAGES, "label": LABELS}


class Net(nn.Module):
  width: int = 4
  classes: int = CLASSES

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.Dropout(0.5, deterministic=not train)(
      nn.tanh(nn.Dense(self.width)(x))
    )
    return nn.Dense(self.classes, name="head")(x)


NETWORK = from_linen(Net())
VARIABLES = jax.jit(NETWORK.init)(jax.random.key(0), IMAGES[:1])
BIG = Net(9)
BIG_VARIABLES = jax.jit(BIG.init)(jax.random.key(1), IMAGES[:1])


@functools.cache
def teacher(network=BIG):
  variables = jax.jit(network.init)(jax.random.key(1), IMAGES[:1])
  return live_teacher(from_linen(network), variables)


def in_batches(*sizes):
  places = np.split(np.arange(len(IMAGES)), np.cumsum(sizes))
  return [
    {name: x[rows] for name, x in WHOLE.items()} for rows in places if len(rows)
  ]


@functools.cache
def answers_of_both():
  """To all images, the student's and the teacher's."""
  return jax.jit(
    lambda: (
      NETWORK.apply(VARIABLES, IMAGES)[0],
      BIG.apply(BIG_VARIABLES, IMAGES),
    )
  )()


@pytest.mark.parametrize(
  ("batches", "options"),
  [
    (WHOLE, {}),
    (WHOLE, {"batch_size": 8}),
    (in_batches(8, 8), {}),
    (lambda: iter(in_batches(23)), {}),
    (iter(in_batches(10, 10)), {}),
  ],
  ids=["arrays", "eights", "ragged", "function", "iterator"],
)
def test_metrics_are_those_of_the_whole_set(batches, options):
  logits, answers = map(np.asarray, answers_of_both())
  known = LABELS >= 0
  log_p, log_q = scores.log_softmax(answers), scores.log_softmax(logits)
  wanted = {
    "accuracy": scores.accuracy(logits[known], LABELS[known]),
    "negative_log_likelihood": scores.negative_log_likelihood(
      logits[known], LABELS[known]
    ),
    "agreement": scores.agreement(logits, answers),
    "kl_from_teacher": np.mean(np.sum(np.exp(log_p) * (log_p - log_q), -1)),
  }
  measured = kdjax.evaluate(
    NETWORK, VARIABLES, batches, task=TASK, teacher=teacher(), **options
  )
  assert measured == pytest.approx(wanted, rel=1e-5)
  assert all(type(value) is float for value in measured.values())


def test_several_are_measured_beside_one_pass_of_the_teacher():
  asked = []

  def answer(variables, inputs, *, train, rngs):
    jax.debug.callback(lambda: asked.append(1))
    return BIG.apply(variables, inputs)

  counted = live_teacher(from_apply(answer), BIG_VARIABLES)
  members = [jax.tree.map(lambda x, i=i: x + i, VARIABLES) for i in range(3)]
  batches = in_batches(8, 8)
  found = over_batches.evaluate_each(
    NETWORK, lambda: members, batches, task=TASK, teacher=counted
  )
  jax.effects_barrier()
  assert len(asked) == len(batches)
  for one, scores_of_one in zip(members, found, strict=True):
    alone = kdjax.evaluate(NETWORK, one, batches, task=TASK, teacher=teacher())
    assert scores_of_one == alone


def test_ragged_batches_are_one_program():
  network, measured = from_linen(Net(6)), []
  variables = jax.jit(network.init)(jax.random.key(0), IMAGES[:1])
  kdjax.evaluate(
    network, variables, in_batches(8, 8), task=TASK,
    advance=lambda: measured.append(1),
  )  # fmt: skip
  assert len(measured) == len(in_batches(8, 8))
  assert over_batches._program(network, TASK)._cache_size() == 1


def test_a_task_finishes_its_metrics():
  task = TASK._replace(
    kind="values",
    metrics={
      "error": lambda rows: (4.0 * rows.weight.sum(), rows.weight.sum())
    },
    finish={"error": np.sqrt},
  )
  measured = kdjax.evaluate(
    NETWORK, VARIABLES, WHOLE, task=task, teacher=teacher()
  )
  assert measured.pop("error") == 2.0
  logits, answers = map(np.asarray, answers_of_both())
  error = float(np.mean((logits - answers) ** 2))
  assert measured == pytest.approx({"squared_difference": error}, rel=1e-5)


def test_the_divergence_is_that_of_the_losses():
  """Classes that one side alone masks count on neither."""
  student = np.array([[0.0, 1.0, -np.inf], [0.0, 1.0, 2.0], [3.0, 0, 1]])
  answers = np.array([[0.0, 2.0, 1.0], [0.0, 1.0, -np.inf], [0.0, 0, 1]])
  network = from_apply(lambda variables, rows, *, train, rngs: rows)
  batches = {"image": student.astype(np.float32)}
  measured = kdjax.evaluate(
    network,
    {"params": {}},
    batches,
    task=TASK,
    teacher=stored_teacher(answers.astype(np.float32)),
  )
  wanted = float(np.mean(jax.jit(losses.forward_kl)(student, answers)))
  assert np.isfinite(wanted) and wanted > 0
  assert measured["kl_from_teacher"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"task": classification(4)}, r"network: it answers \(23, 3\), .* reads 4"),
    (
      {"network": Net()},
      "network= takes a Network .*got Net, which from_linen",
    ),
    ({"task": "classification"}, "task= takes a Task"),
    ({"teacher": NETWORK}, "teacher= takes a Teacher"),
    (
      {"variables": VARIABLES["params"]},
      "variables= takes arrays by collection",
    ),
    (
      {"teacher": stored_teacher(np.zeros((9, 3), np.float32))},
      "'index' has the place 9",
    ),
    ({"batches": {"image": IMAGES * np.nan}}, "entry 'image' has nan in it"),
  ],
)
def test_what_does_not_fit_is_one_line(change, message):
  options = {"network": NETWORK, "variables": VARIABLES, "batches": WHOLE}
  options |= {"task": TASK} | change
  with pytest.raises(UserError, match=message) as error:
    kdjax.evaluate(**options)
  assert "\n" not in str(error.value)


def test_nothing_that_counts_is_nan():
  unlabelled = WHOLE | {"label": np.full(23, -1)}
  measured = kdjax.evaluate(NETWORK, VARIABLES, unlabelled, task=TASK)
  assert np.isnan(measured["accuracy"])


def test_misfits_are_one_line():
  with pytest.raises(UserError, match="'image'"):
    kdjax.evaluate(NETWORK, VARIABLES, {"label": LABELS}, task=TASK)
  with pytest.raises(UserError, match=r"\[23, 7\].*\[23, 3\]"):
    kdjax.evaluate(
      NETWORK, VARIABLES, WHOLE, task=TASK, teacher=teacher(Net(9, 7))
    )


def test_the_package_stays_a_package():
  assert evaluate is kdjax.evaluate
  assert kdjax.evaluate.score.__name__ == "score"
