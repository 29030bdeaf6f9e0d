"""What a method freezes no optimiser moves; what waits for its turn waits."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import kdjax
from kdjax.core.errors import UserError
from kdjax.core.method import Method, Outputs, stateless, weighted_sum
from kdjax.core.task import Batch, batch_of
from kdjax.core.teacher import observe
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.optimizer import make_optimizer, with_learning_rate
from kdjax.train.precision import full_precision
from kdjax.train.pruning import Pruning, magnitude_pruning
from kdjax.train.schemes.registry import make_scheme
from kdjax.train.state import (
  TrainState,
  create_state,
  descend,
)
from kdjax.train.step import take_step
from kdjax.train.teacher import live_teacher

IMAGES = np.random.default_rng(1).random((4, 4, 4, 1), np.float32)
LABELS = np.array([0, 1, 2, 0])
STEPS = 4
ADAMW = "adamw(weight_decay=0.1)"
SGD = "sgd(momentum=0.9, weight_decay=0.1)"
MORE = (
  "sgd(momentum=0.9, weight_decay=0.1, nesterov=True, clip=0.1)",
  "lamb(weight_decay=0.1)",
  "lion(weight_decay=0.1)",
  "nadam",
  "rmsprop",
)


class Maps(nn.Module):
  """One convolution and a classifier."""

  width: int

  @nn.compact
  def __call__(self, images, train=False):
    x = nn.Conv(self.width, (3, 3), name="stage_0")(images)
    return nn.Dense(3, name="head")(nn.relu(x).mean(axis=(1, 2)))


def taught_by(network, count=1):
  """A teacher's view of the images and its classifier; of several an ensemble."""
  full = full_precision(network)

  @jax.jit
  def show(key):
    made = full.init(key, IMAGES)
    teacher, taps = live_teacher(full, made), ("stage_*", "head:in")
    return observe(teacher, batch_of(IMAGES), taps), full.classifier(made)

  outputs, heads = zip(
    *(show(jax.random.key(7 + seed)) for seed in range(count)), strict=True
  )
  if count == 1:
    return outputs[0], heads[0]
  return Outputs(outputs[0].answers, {}, outputs), heads


def whole_batch():
  index = np.arange(len(LABELS))
  return Batch(IMAGES, LABELS, np.ones(len(LABELS), bool), index, index)


def course(student, objective, optimizer, teacher, head, last=None):
  """The states from the start to the end of a training of four steps."""
  method = make_objective(objective, steps=STEPS)
  create = partial(
    create_state,
    student,
    method,
    make_optimizer(optimizer, "constant", STEPS, last),
    task=classification(3),
  )
  state = jax.jit(create)(
    rng=jax.random.key(0),
    inputs=IMAGES,
    teacher=teacher,
    learning_rate=jnp.float32(0.05),
    head=head,
  )
  batch = whole_batch()

  @jax.jit
  def step(state):
    key = jax.random.key(2)
    return take_step(state, method, batch, teacher, rng=key, head=head)[0]

  states = [state]
  for _ in range(STEPS):
    states.append(step(states[-1]))
  return [jax.device_get(state.params) for state in states]


def same(left, right):
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, left, right)))


def moved(left, right):
  return not any(jax.tree.leaves(jax.tree.map(np.array_equal, left, right)))


SIMKD = "simkd(teacher_tap='head:in'):1"


@pytest.mark.parametrize(
  ("optimizer", "objective"),
  [
    (ADAMW, f"{SIMKD} + ce:0.5"),
    *(
      pytest.param(name, objective, marks=pytest.mark.slow)
      for name, objective in (
        (ADAMW, SIMKD),
        *((name, f"{SIMKD} + ce:0.5") for name in (SGD, *MORE)),
      )
    ),
  ],
)
def test_adopted_classifier_stays_the_teachers(optimizer, objective):
  teacher, head = taught_by(make_model("mlp(6)", classes=3))
  student = make_model("projected(mlp(5), width=6)", classes=3)
  *_, end = states = course(student, objective, optimizer, teacher, head)
  assert same(end["network"]["head"], head)
  assert moved(states[0]["network"]["projector"], end["network"]["projector"])


class Projected(nn.Module):
  """What a student of SimKD is, by other names, the classifier not on top."""

  @nn.compact
  def __call__(self, images):
    x = images.reshape(len(images), -1)
    x = nn.Dense(6, name="to_teacher")(nn.relu(nn.Dense(5, name="body")(x)))
    return End(name="end")(x)


class End(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.Dense(3, name="out")(x)


class ProjectedOfNnx(nnx.Module):
  def __init__(self, rngs):
    self.body = nnx.Linear(16, 5, rngs=rngs)
    self.to_teacher = nnx.Linear(5, 6, rngs=rngs)
    self.end = nnx.List([nnx.Linear(6, 3, rngs=rngs)])

  def __call__(self, images):
    x = nnx.relu(self.body(images.reshape(len(images), -1)))
    return self.end[0](self.to_teacher(x))


@pytest.mark.parametrize(
  ("path", "student"),
  [
    (
      ("end", "out"),
      lambda path: (kdjax.from_linen(Projected(), classifier=path), None),
    ),
    (
      ("end", "0"),
      lambda path: kdjax.from_nnx(ProjectedOfNnx(nnx.Rngs(0)), classifier=path),
    ),
  ],
)
def test_a_classifier_is_adopted_wherever_it_lies(path, student):
  network, start = student("/".join(path))
  big = kdjax.from_linen(make_model("mlp(6)", classes=3))
  teacher = kdjax.live_teacher(
    big, jax.jit(big.init)(jax.random.key(3), IMAGES)
  )
  task = classification(3)
  method = make_objective(
    "simkd(student_tap='to_teacher', teacher_tap='head:in'):1 + ce:1", task=task
  )
  goal = kdjax.objective(method, network, task)
  step = kdjax.make_step(goal, optax.adamw(0.1))
  batch = {"image": IMAGES, "label": LABELS}
  state = step.init(jax.random.key(0), start, teacher, batch)
  params, memory = jax.jit(goal.init)(jax.random.key(0), start, teacher, batch)
  loss = partial(goal.loss, step=0, key=jax.random.key(1))
  grads = jax.jit(jax.grad(loss, has_aux=True))(params, memory, teacher, batch)[
    0
  ]["network"]
  for _ in range(2):
    state, _ = step.step(state, teacher, batch)
  params = state.params["network"]
  for name in path:
    params, grads = params[name], grads[name]
  assert same(params, teacher.arrays["params"]["head"])
  assert not any(map(np.any, jax.tree.leaves(grads)))


def test_a_classifier_without_a_bias_cannot_be_anothers():
  flat = IMAGES.reshape(4, -1)
  module = nn.Sequential([nn.Dense(6), nn.Dense(3, use_bias=False)])
  student = kdjax.from_linen(module, classifier="layers_1")
  teacher = kdjax.live_teacher(
    student, jax.jit(student.init)(jax.random.key(3), flat)
  )
  task = classification(3)
  method = make_objective(
    "simkd(student_tap='layers_0', teacher_tap='layers_0'):1", task=task
  )
  with pytest.raises(UserError, match="a kernel and a bias of its own"):
    kdjax.objective(method, student, task).init(
      jax.random.key(0), None, teacher, {"image": flat}
    )


def test_adopted_classifier_is_not_pruned():
  teacher, head = taught_by(make_model("mlp(6)", classes=3))
  student = make_model("projected(mlp(5), width=6)", classes=3)
  prune = magnitude_pruning(Pruning(0.5, begin=0, end=STEPS - 1))
  *_, end = course(student, SIMKD, ADAMW, teacher, head, prune)
  assert same(end["network"]["head"], head)
  kernel = end["network"]["projector"]
  assert any(np.any(leaf == 0) for leaf in jax.tree.leaves(kernel))


def test_first_teachers_classifier_stays_where_there_are_several():
  teacher, heads = taught_by(make_model("mlp(6)", classes=3), 2)
  student = make_model("projected(mlp(5), width=6)", classes=3)
  *_, end = course(student, SIMKD, ADAMW, teacher, heads)
  assert same(end["network"]["head"], heads[0])


@pytest.mark.parametrize(
  ("optimizer", "teachers"),
  # What is frozen stays under all optimisers: the adopted classifier, above.
  [(SGD, 1), (ADAMW, 1), (ADAMW, 2)],
)
@pytest.mark.slow
def test_paraphraser_stays_after_its_stage_and_translator_before(
  optimizer, teachers
):
  """Steps 0 and 1 are the paraphraser's, 2 and 3 the translator's."""
  teacher, head = taught_by(Maps(6), teachers)
  objective = "ce:1 + factor_transfer(pretraining=0.5):1"
  states = course(Maps(4), objective, optimizer, teacher, head)
  own = [state["method"]["factor_transfer"] for state in states]
  for each in zip(*own, strict=True) if teachers == 2 else [own]:
    for part, free in (("encode", 0), ("decode", 0), ("translate", 2)):
      at = [one[part] for one in each]
      assert moved(at[free], at[free + 1]) and moved(at[free + 1], at[free + 2])
      held = 2 - free
      assert same(at[held], at[held + 1]) and same(at[held + 1], at[held + 2])


def test_frozen_parts_leave_no_momentum_behind():
  """By hand: w = 1, decay 0.5, momentum 0.5, rate 1; frozen at first.

  Freed, the first update is -(0.5 * 1): had the optimiser seen the weight
  before, its momentum would add 0.25.
  """
  params = {"network": {"w": jnp.ones(())}, "method": ()}
  state = state_of(params, "sgd(momentum=0.5, weight_decay=0.5)")
  still = jax.tree.map(jnp.zeros_like, params)
  for frozen, want in ((True, 1.0), (False, 0.5), (True, 0.5)):
    state = descend(state, still, {"network": {"w": jnp.array(frozen)}})
    assert float(state.params["network"]["w"]) == want


def state_of(params, optimizer):
  rule = make_optimizer(optimizer, "constant", 9)
  rates = with_learning_rate(rule.init(params), jnp.float32(1.0))
  return TrainState(jnp.int32(0), params, rates, tx=rule)


def test_sums_of_methods_freeze_what_their_parts_freeze():
  plain = stateless(lambda inputs: 0.0)
  late = Method(
    plain.init, plain.apply, frozen=lambda step: {"method": {"a": step > 3}}
  )
  head = plain._replace(
    frozen=lambda step: {"network": {"stem": True}, "classifier": True}
  )
  both = weighted_sum({"x": (late, 1.0), "y": (plain, 1.0), "z": (head, 1.0)})
  assert both.frozen(4) == {
    "network": {"stem": True},
    "classifier": True,
    "method": {"x": {"a": True}, "y": False, "z": False},
  }
  assert weighted_sum({"y": (plain, 1.0)}).frozen is None


@pytest.mark.parametrize(
  "regime",
  [
    "mutual(peers=2)",
    pytest.param("codistillation(peers=2)", marks=pytest.mark.slow),
    pytest.param("mean_teacher", marks=pytest.mark.slow),
  ],
)
def test_what_is_frozen_stays_where_networks_learn_together(regime):
  """Averages of weights, exchanged ones and momentum leave it alone."""
  scheme = make_scheme(regime)
  method = make_objective(
    "ce:1 + factor_transfer(pretraining=0.5):1", steps=STEPS
  )
  create = partial(
    scheme.create,
    Maps(4),
    method,
    make_optimizer(ADAMW, "constant", STEPS),
    task=classification(3),
    teacher=None,
    head=None,
  )
  state = jax.jit(create)(
    rng=jax.random.key(0), inputs=IMAGES, learning_rate=jnp.float32(0.05)
  )
  batch = whole_batch()

  @jax.jit
  def step(state):
    return scheme.step(state, method, batch, None, rng=jax.random.key(2))[0]

  parts = {"paraphraser": [], "translator": []}
  for _ in range(STEPS + 1):
    of_method = {
      jax.tree_util.keystr(path): leaf
      for path, leaf in jax.tree_util.tree_leaves_with_path(state)
      if "params" in str(path) and "factor_transfer" in str(path)
    }
    free = {key: x for key, x in of_method.items() if "translate" in key}
    parts["translator"].append(free)
    parts["paraphraser"].append(
      {key: x for key, x in of_method.items() if key not in free}
    )
    state = jax.device_get(step(state))
  for part, first in (("paraphraser", 0), ("translator", 2)):
    at = parts[part]
    assert at[0]
    assert moved(at[first], at[first + 1]) and same(
      at[2 - first], at[3 - first]
    )
    assert same(at[3 - first], at[4 - first])
