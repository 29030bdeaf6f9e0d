"""One step: what the teacher shows, what is counted, what moves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.core.method import Outputs, stateless, weighted_sum
from kdjax.core.task import Batch, batch_of
from kdjax.core.teacher import observe
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.taps.network import from_linen
from kdjax.tasks import classification
from kdjax.train.optimizer import make_optimizer
from kdjax.train.state import create_state, variables
from kdjax.train.step import take_step
from kdjax.train.teacher import live_teacher

IMAGES = np.random.default_rng(1).random((6, 4, 4, 1), np.float32)
LABELS = np.array([0, 1, 2, 0, 1, -1])
jitted_step = jax.jit(take_step, static_argnames="method")
NETWORK = from_linen(make_model("mlp(5, dropout=0.9)", classes=3))


def batch(mask=(1, 1, 1, 1, 1, 1)):
  index = np.arange(6)
  return Batch(IMAGES, LABELS, np.array(mask, bool), index, index)


def state(method, dropout=0.0, learning_rate=0.1):
  create = partial(
    create_state,
    make_model(f"mlp(5, dropout={dropout})", classes=3),
    method,
    make_optimizer("sgd", "constant", 10),
    task=classification(3),
    inputs=IMAGES[:1],
    teacher=None,
    learning_rate=learning_rate,
  )
  return jax.jit(lambda key: create(rng=key))(jax.random.key(0))


def test_teacher_is_asked_without_dropout():
  method = make_objective("hard")
  teacher = live_teacher(NETWORK, variables(state(method, dropout=0.9)))
  shown, (clean, _, _) = jax.jit(
    lambda teacher: (
      observe(teacher, batch_of(IMAGES)).answers,
      NETWORK.apply(teacher.arrays, IMAGES),
    )
  )(teacher)
  np.testing.assert_array_equal(shown, clean)


def test_teacher_gets_no_gradient():
  known = variables(state(make_objective("hard")))

  def total(known):
    teacher = live_teacher(NETWORK, known)
    return observe(teacher, batch_of(IMAGES)).answers.sum()

  grads = jax.jit(jax.grad(total))(known)
  assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_step_is_gradient_descent_on_the_mean():
  """By hand: one step of SGD on the mean cross-entropy of the labelled."""
  before = state(make_objective("hard"))
  after, metrics = jitted_step(
    before, make_objective("hard"), batch(), None, rng=jax.random.key(0)
  )

  def mean_loss(network):
    logits, _, _ = before.network.apply({"params": network}, IMAGES[:5])
    return (
      optax.softmax_cross_entropy_with_integer_labels(logits, LABELS[:5]).sum()
      / 6
    )  # the unlabelled example counts with 0

  network = before.params["network"]
  loss, grads = jax.jit(jax.value_and_grad(mean_loss))(network)
  want = jax.tree.map(
    lambda p, g: np.asarray(p) - 0.1 * np.asarray(g), network, grads
  )
  for got, expected in zip(
    jax.tree.leaves(after.params["network"]), jax.tree.leaves(want), strict=True
  ):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
  total, count = metrics["loss"]
  assert float(total / count) == pytest.approx(float(loss), rel=1e-5)
  assert int(metrics["accuracy"][1]) == 5 and int(after.step) == 1


def test_masked_examples_do_not_move_anything():
  method = make_objective("hard")
  some, _ = jitted_step(
    state(method),
    method,
    batch((1, 1, 0, 0, 0, 0)),
    None,
    rng=jax.random.key(0),
  )
  index = np.arange(2)
  alone = Batch(IMAGES[:2], LABELS[:2], np.ones(2, bool), index, index)
  few, _ = jitted_step(
    state(method), method, alone, None, rng=jax.random.key(0)
  )
  for got, want in zip(
    jax.tree.leaves(some.params), jax.tree.leaves(few.params), strict=True
  ):
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_method_parameters_train_with_the_student():
  """A method may learn a regressor; it is initialised, moved and kept apart."""
  from kdjax.core.method import Method

  def init(rng, inputs):
    return {"scale": jnp.ones(())}, {"steps": jnp.zeros((), jnp.int32)}

  def apply(params, method_state, inputs):
    gap = params["scale"] * inputs.student.answers - inputs.teacher.answers
    return jnp.mean(gap**2), {"steps": method_state["steps"] + 1}, {}

  method = weighted_sum({"regress": (Method(init, apply), 1.0)})
  before = state(method)
  teacher = Outputs(np.ones((6, 3), np.float32), {})
  after, _ = jitted_step(
    before, method, batch(), teacher, rng=jax.random.key(0)
  )
  assert float(after.params["method"]["regress"]["scale"]) != 1.0
  assert int(after.method_state["regress"]["steps"]) == 1
  assert set(variables(after)) == {"params"}


def test_schedules_see_the_step():
  one = stateless(lambda inputs: inputs.student.answers.sum() * 0 + 1.0)
  method = weighted_sum({"one": (one, lambda step: 1.0 + step)})
  first, metrics = jitted_step(
    state(method), method, batch(), None, rng=jax.random.key(0)
  )
  _, later = jitted_step(first, method, batch(), None, rng=jax.random.key(0))
  assert [float(m["loss"][0] / m["loss"][1]) for m in (metrics, later)] == [
    1,
    2,
  ]
