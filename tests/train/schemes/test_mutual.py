"""Deep mutual learning: two peers by hand, and what must not matter."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.task import Batch
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.optimizer import make_optimizer
from kdjax.train.schemes.mutual import mutual
from kdjax.train.schemes.scheme import OFFLINE
from kdjax.train.state import create_state

OBJECTIVES = {
  "answers": "ce:1 + kd(temperature=1):1",
  "labels": "ce:1",
  "features": "ce:1 + fitnets:0.1",
  "coupled": "ce:1 + sp:1",
}


def learns(kind):
  return lambda settings: make_objective(OBJECTIVES[kind])


def final(epochs):
  return epochs[-1].states["student"].params


def peer(tree, place):
  """Of all members, what belongs to one peer."""
  return jax.tree.map(lambda x: x[:, place], tree)


def linear(scheme, method, rate=0.5):
  """The scheme's state on two linear softmax nets, and a batch for them."""
  images = jax.random.normal(jax.random.key(1), (4, 1, 3, 1))
  create = partial(
    scheme.create,
    make_model("mlp", classes=2),
    method,
    make_optimizer("sgd", "constant", 1),
    task=classification(2),
    teacher=None,
  )
  state = jax.jit(create)(
    rng=jax.random.key(0), inputs=images, learning_rate=jnp.float32(rate)
  )
  index = jnp.arange(4)
  labels = jnp.array([0, 1, 1, 0])
  return state, Batch(images, labels, jnp.ones(4, bool), index, index)


def move(scheme, method, state, batch):
  """The state after one step."""
  step = jax.jit(
    lambda *given: scheme.step(
      given[0], method, given[1], None, rng=jax.random.key(2)
    )
  )
  return step(state, batch)[0]


def softmax(logits):
  shifted = np.exp(logits - logits.max(-1, keepdims=True))
  return shifted / shifted.sum(-1, keepdims=True)


def test_two_peers_by_hand():
  """The gradient of CE + KL(p_other || p_own) in the logits is
  (p_own - y) + (p_own - p_other), each over the batch; both move at once."""
  method, scheme = make_objective(OBJECTIVES["answers"]), mutual(peers=2)
  before, batch = linear(scheme, method)
  after = move(scheme, method, before, batch)
  x = np.asarray(batch.inputs).reshape(4, -1)
  y = np.eye(2)[np.asarray(batch.targets)]
  layers = before.params["network"]["head"]
  weights, biases = np.asarray(layers["kernel"]), np.asarray(layers["bias"])
  answers = [softmax(x @ weights[p] + biases[p]) for p in range(2)]
  for p in range(2):
    slope = (answers[p] - y + answers[p] - answers[1 - p]) / 4
    moved = after.params["network"]["head"]
    np.testing.assert_allclose(
      moved["kernel"][p], weights[p] - 0.5 * x.T @ slope, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
      moved["bias"][p], biases[p] - 0.5 * slope.sum(0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_permuted_peers_give_permuted_results():
  method, scheme = make_objective(OBJECTIVES["answers"]), mutual(peers=3)
  before, batch = linear(scheme, method)
  order = np.array([2, 0, 1])

  permuted = jax.tree.map(lambda x: x[order], before)
  chex.assert_trees_all_close(
    move(scheme, method, permuted, batch).params,
    jax.tree.map(
      lambda x: x[order], move(scheme, method, before, batch).params
    ),
    rtol=1e-6,
  )


def test_peers_start_apart_and_the_first_as_one_alone():
  method, scheme = make_objective("ce:1"), mutual(peers=3)
  (state, _), (alone, _) = linear(scheme, method), linear(OFFLINE, method)
  kernels = state.params["network"]["head"]["kernel"]
  np.testing.assert_array_equal(
    kernels[0], alone.params["network"]["head"]["kernel"]
  )
  assert all(
    not np.allclose(kernels[p], kernels[q]) for p, q in ((0, 1), (1, 2), (0, 2))
  )


@pytest.mark.slow
def test_without_mutual_terms_the_first_peer_is_alone(fit):
  together = fit(learns("labels"), scheme=mutual(peers=2), epochs=1)
  alone = fit(learns("labels"), epochs=1)
  chex.assert_trees_all_close(
    peer(final(together)["network"], 0), final(alone)["network"], rtol=1e-5
  )


@pytest.mark.parametrize(
  ("kind", "peers"),
  [
    pytest.param("answers", 3, marks=pytest.mark.slow),
    pytest.param("features", 2, marks=pytest.mark.slow),
    pytest.param("coupled", 3, marks=pytest.mark.slow),
  ],
)
def test_devices_do_not_matter(fit, kind, peers):
  options = {
    "scheme": mutual(peers=peers),
    "epochs": 1,
    "drop_remainder": kind == "coupled",
  }
  one, two = (fit(learns(kind), devices=d, **options) for d in (1, 2))
  chex.assert_trees_all_close(final(one), final(two), rtol=1e-4, atol=1e-5)
  chex.assert_trees_all_close(one[0].metrics, two[0].metrics, rtol=1e-4)


@pytest.mark.slow
def test_the_same_twice_is_the_same_bit_by_bit(fit):
  runs = [
    final(fit(learns("answers"), scheme=mutual(peers=2), epochs=1))
    for _ in range(2)
  ]
  chex.assert_trees_all_equal(*runs)


@pytest.mark.parametrize("peers", [0, 1, 1.5, True])
def test_refuses_too_few(peers):
  with pytest.raises(ValueError, match="peers must be a whole number >= 2"):
    mutual(peers=peers)


def test_refuses_methods_that_need_a_trained_teacher():
  with pytest.raises(ValueError, match="takes over a trained teacher's layers"):
    linear(mutual(peers=2), make_objective("simkd"))


def test_create_state_is_what_alone_means():
  assert OFFLINE.create is create_state
