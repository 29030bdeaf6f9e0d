"""The contract of methods on the tasks besides classification, as their steps take it.

All methods that read a task's answers and fit a pair of networks are one sum, and so one
program: each term's loss, and the gradient of all of them. What reads features alone is
the same for every task (test_contract.py: it runs without answers and labels), but that
embeddings are features themselves; so the tasks of numbers, labels and pixels have some
of those, and the embeddings all.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import method_twins
import numpy as np
import pytest

import kdjax
from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.core.task import KINDS, as_batch
from kdjax.core.teacher import observe, stored_teacher
from kdjax.methods import MAKERS, make_objective
from kdjax.methods.registry import OF_EXAMPLES, READS
from kdjax.models import make_model
from kdjax.train.objective import objective
from kdjax.train.teacher import live_teacher

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
BATCH, WIDTH = 8, 4
# Of features: with a regressor, of several stages, of relations, with a memory.
FEATURES = ("fitnets", "attention_transfer", "rkd", "crd", "seed", "simkd")
OF_TEXTS = (
  "minilm",
  "minilmv2",
  "tinybert",
  "patient_kd",
  "rkd",
  "crd",
  "fitnets",
)
# They read what a run has drawn, or want more of their networks than these have.
ELSEWHERE = {"minillm", "policy_gradient"}


class Pixels(nn.Module):
  """Two stages and a classifier of each pixel."""

  width: int

  @nn.compact
  def __call__(self, images, train=False):
    x = images
    for i in range(2):
      x = nn.relu(nn.Conv(self.width, (3, 3), name=f"stage_{i}")(x))
    return nn.Conv(WIDTH, (1, 1), name="head")(x)


def of_images(labels):
  return {
    "image": RNG.uniform(size=(BATCH, 8, 8, 1)).astype(np.float32),
    "label": labels,
    "weight": np.arange(BATCH) < BATCH - 1,
  }


def of_texts():
  mask = np.arange(6)[None] < RNG.integers(2, 7, (BATCH, 1))
  return {
    "tokens": np.where(mask, RNG.integers(1, 20, (BATCH, 6)), 0),
    "mask": mask,
    "label": RNG.integers(0, WIDTH, BATCH).astype(np.int32),
    "weight": np.arange(BATCH) < BATCH - 1,
  }


VECTORS = RNG.normal(size=(BATCH, WIDTH)).astype(np.float32)
YES_NO = RNG.integers(-1, 2, (BATCH, WIDTH)).astype(np.int32)
MAP = RNG.integers(0, WIDTH, (BATCH, 8, 8)).astype(np.int32)
MAP[:, :2] = 255
BERTS = [
  f"bert(vocabulary=20, width={width}, depth=2, heads=2, mlp=8, positions=6,"
  " dropout=0.0)"
  for width in (8, 4)
]

# The task, its batch, the networks, and which methods of features alone.
CASES = {
  "multilabel": (
    tasks.multilabel(WIDTH), of_images(YES_NO), "convolutional", FEATURES,
  ),
  "regression": (
    tasks.regression(WIDTH), of_images(VECTORS), "projected", FEATURES,
  ),
  "embedding": (
    tasks.embedding(WIDTH), of_images(VECTORS), "convolutional", sorted(MAKERS),
  ),
  "embedding of tokens": (
    tasks.embedding(WIDTH), of_images(VECTORS), "transformer", OF_TEXTS,
  ),
  "segmentation": (
    tasks.segmentation(WIDTH), of_images(MAP), "pixels", FEATURES,
  ),
  "text": (
    tasks.text_classification(WIDTH), of_texts(), "texts", OF_TEXTS,
  ),
}  # fmt: skip


@functools.cache
def networks(kind):
  """Teacher and student, each with variables."""
  if kind in method_twins.PAIRS:
    return method_twins.make_pair(kind)["linen"]
  pair = []
  for i in range(2):
    if kind == "pixels":
      module, sample = Pixels((6, 5)[i]), jnp.zeros((1, 8, 8, 1))
    else:
      module = make_model(BERTS[i], classes=WIDTH)
      sample = jnp.ones((1, 6), jnp.int32)
    pair.append(
      (kdjax.from_linen(module), module.init(jax.random.key(i), sample))
    )
  return tuple(pair)


class Case:
  """A task's methods as one objective, at a step in the middle of training."""

  def __init__(self, name, only=None):
    self.task, self.item, kind, features = CASES[name]
    (teacher, known), (self.student, self.variables) = networks(kind)
    self.teacher = live_teacher(teacher, known)
    self.item = {**self.item, "index": np.arange(BATCH)[::-1].copy()}
    self.names = [
      name
      for name in only or self._all(features)
      if self._starts(self.make(name))
    ]
    self.objective = self.make(*self.names)

  def _all(self, features):
    reads = [name for name in sorted(MAKERS) if self.task.kind in READS[name]]
    of_answers = {*reads} - {name for name in reads if READS[name] == KINDS}
    of_answers |= {"ce", "logit_mse"} & {*reads}
    without = ELSEWHERE | (
      OF_EXAMPLES if self.task.name == "segmentation" else set()
    )
    return sorted((of_answers | {*features} & {*reads}) - without)

  def make(self, *names):
    text = " + ".join(f"{name}:1" for name in names)
    known = {"steps": 100, "examples": 20, "classes": WIDTH}
    method = make_objective(text, task=self.task, **known)
    return objective(method, self.student, self.task)

  def _starts(self, target):
    def start():
      params, state = target.init(KEY, self.variables, self.teacher, self.item)
      return self.loss(target, params, state, self.teacher, self.item)

    try:
      jax.eval_shape(start)
    except UserError:
      return False
    return True

  def loss(self, target, params, state, teacher, item, axis_name=None):
    return target.loss(
      params, state, teacher, item, step=50, key=KEY, axis_name=axis_name
    )

  def step(self, axis_name=None):
    def step(params, state, teacher, item):
      def loss(params):
        args = params, state, teacher, item
        return self.loss(self.objective, *args, axis_name=axis_name)

      (_, (_, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(params)
      grads = grads if axis_name is None else jax.lax.psum(grads, axis_name)
      terms = {name: metrics[name] for name in self.names}
      return {
        name: total / count for name, (total, count) in terms.items()
      }, grads

    return step

  def start(self):
    return jax.jit(self.objective.init)(
      KEY, self.variables, self.teacher, self.item
    )


def check_close(got, want):
  np.testing.assert_allclose(
    *(np.array([x[name] for name in want[0]]) for x in (got[0], want[0])),
    rtol=2e-4, atol=1e-6, err_msg=str([*want[0]]),
  )  # fmt: skip
  scale = max(np.abs(x).max() for x in jax.tree.leaves(want[1]["network"]))
  for one, other in zip(
    *(jax.tree.leaves(x[1]) for x in (got, want)), strict=True
  ):
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-5 * scale)


def check_finite(result):
  losses, grads = jax.device_get(result)
  assert all(np.isfinite(loss) for loss in losses.values()), losses
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))
  assert any(np.any(x) for x in jax.tree.leaves(grads["network"]))


# A term on answers and, where there is one, a term on features, one by one.
EAGER = {
  "multilabel": ("binary_kd", "ce"),
  "regression": ("logit_mse", "ce"),
  "embedding": ("cosine", "pkt"),
}


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name != "embedding"))
    for name in EAGER
  ],
)
def test_compiled_and_not_compiled_are_the_same(name):
  case = Case(name, EAGER[name])
  assert case.names == [*EAGER[name]]
  params, state = case.start()
  args = params, state, case.teacher, case.item
  compiled = jax.jit(case.step())(*args)
  check_finite(compiled)
  check_close(case.step()(*args), compiled)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_method_that_reads_a_tasks_answers(name):
  """Finite; one device is two; what a teacher is stored as is what it says."""
  case = Case(name)
  assert len(case.names) >= 5, case.names
  params, state = case.start()
  args = params, state, case.teacher
  alone = jax.jit(case.step())(*args, case.item)
  check_finite(alone)

  item = case.item | {"position": np.arange(BATCH)}
  cut = jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), item)
  both = jax.pmap(
    case.step("devices"), "devices", in_axes=(None, None, None, 0),
    out_axes=None, devices=jax.local_devices()[:2],
  )(*args, cut)  # fmt: skip
  check_close(jax.device_get(both), jax.device_get(alone))

  # A method sees what is asked of a teacher, and nothing else but its classifier.
  batch = as_batch(case.task, case.item)
  taps = case.objective.method.teacher_taps
  shown = jax.jit(lambda teacher: teacher.show(teacher.arrays, batch, 0, taps))(
    case.teacher
  )
  place = np.argsort(case.item["index"])
  table = jax.tree.map(lambda x: x[place], (shown.answers, dict(shown.feats)))
  stored = stored_teacher(*table)
  live, cached = (
    observe(teacher, batch, taps, task=case.task)
    for teacher in (case.teacher, stored)
  )
  np.testing.assert_allclose(cached.answers, live.answers, rtol=1e-4, atol=1e-5)
  for tap in live.feats:
    np.testing.assert_allclose(
      cached.feats[tap], live.feats[tap], rtol=1e-4, atol=1e-5
    )
