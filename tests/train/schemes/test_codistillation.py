"""Co-distillation: peers over devices, old weights, and mutual learning as its
limit."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.core.task import Batch
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.optimizer import make_optimizer
from kdjax.train.schemes.codistillation import codistillation, owners
from kdjax.train.schemes.mutual import mutual
from kdjax.train.schemes.registry import check_devices

TOGETHER = "ce:1 + kd(temperature=1):1"


def together(settings):
  return make_objective(TOGETHER)


def final(epochs):
  state = epochs[-1].states["student"]
  return getattr(state, "own", state).params


@pytest.mark.parametrize(
  ("peers", "devices", "want"),
  [
    (2, 1, [[0, 1]]),
    (2, 2, [[0], [1]]),
    (4, 2, [[0, 1], [2, 3]]),
    (2, 4, [[0], [0], [1], [1]]),
  ],
)
def test_owners(peers, devices, want):
  assert owners(peers, devices).tolist() == want


ADAM = {"optimizer": "adam", "learning_rate": 1e-3}


@pytest.mark.parametrize(
  ("peers", "devices", "more"),
  [
    (2, 2, {"view": "none"}),
    pytest.param(2, 4, ADAM, marks=pytest.mark.slow),
    pytest.param(4, 2, ADAM, marks=pytest.mark.slow),
  ],
)
def test_devices_do_not_matter(fit, peers, devices, more):
  """One device owns all peers, each owns some, or groups own one each."""
  scheme = codistillation(peers=peers, every=2)
  options = {"scheme": scheme, "epochs": 1} | more
  one, many = (fit(together, devices=d, **options) for d in (1, devices))
  chex.assert_trees_all_close(final(one), final(many), rtol=1e-4, atol=1e-5)
  chex.assert_trees_all_close(one[0].metrics, many[0].metrics, rtol=1e-4)
  stale = [run[-1].states["student"].stale for run in (one, many)]
  chex.assert_trees_all_close(*stale, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_devices_do_not_matter_to_losses_that_relate_examples(fit):
  """A peer relates the examples of its own batch, on however many devices."""
  one, many = (
    fit(
      lambda settings: make_objective("ce:1 + sp:1 + fitnets:0.1"),
      scheme=codistillation(peers=2, every=2),
      epochs=1,
      drop_remainder=True,
      devices=d,
    )
    for d in (1, 4)
  )
  chex.assert_trees_all_close(final(one), final(many), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
  "devices", [1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_every_step_on_the_same_batches_is_mutual_learning(fit, devices):
  options = {
    "network": make_model("mlp(6)", classes=4),
    "view": "none",
    "epochs": 1,
  }
  apart = fit(
    together,
    scheme=codistillation(peers=2, every=1, same_batches=True),
    devices=devices,
    **options,
  )
  want = fit(together, scheme=mutual(peers=2), **options)
  chex.assert_trees_all_close(final(apart), final(want), rtol=1e-4, atol=1e-6)


def test_between_exchanges_nobody_is_heard():
  """The copies change at steps 0, 3, 6 and are then everyone's own weights."""
  scheme = codistillation(peers=2, every=3)
  exchange = scheme.layout.exchange
  method, images = together({}), jnp.ones((2, 2, 2, 1))
  create = functools.partial(
    scheme.create,
    make_model("mlp(3)", classes=2),
    method,
    make_optimizer("sgd", "constant", 9),
    task=classification(2),
    teacher=None,
  )
  state = jax.jit(create)(
    rng=jax.random.key(0), inputs=images, learning_rate=jnp.float32(0.3)
  )
  index = jnp.arange(4)
  images = jax.random.uniform(jax.random.key(1), (4, 2, 2, 1))
  batch = Batch(images, index % 2, jnp.ones(4, bool), index, index)
  move = jax.jit(
    lambda *given: scheme.step(
      given[0], method, given[1], None, rng=jax.random.key(2)
    )[0]
  )
  heard = []
  for step in range(7):
    members = jax.tree.map(lambda x: x[None], state)
    state = jax.tree.map(lambda x: x[0], exchange(members, step, None))
    own = state.own.params["network"]
    if step % 3 == 0:
      chex.assert_trees_all_equal(state.stale["params"], own)
    heard.append(np.asarray(state.stale["params"]["head"]["kernel"]))
    state = move(state, batch)
  changed = [
    not np.array_equal(a, b) for a, b in zip(heard, heard[1:], strict=False)
  ]
  assert changed == [False, False, True, False, False, True]


def test_each_peer_has_its_own_order_and_the_first_the_students(fit):
  """Without mutual terms peers are as many students, the first one's own."""
  labels = lambda settings: make_objective("ce:1")  # noqa: E731
  options = {
    "epochs": 1, "view": "none", "network": make_model("mlp(6)", classes=4)
  }  # fmt: skip
  apart = final(fit(labels, scheme=codistillation(peers=2), **options))
  same = final(
    fit(labels, scheme=codistillation(peers=2, same_batches=True), **options)
  )
  alone = final(fit(labels, **options))
  first, second = (
    [jax.tree.map(lambda x, p=p: x[:, p], tree) for tree in (apart, same)]
    for p in (0, 1)
  )
  chex.assert_trees_all_close(first[0]["network"], alone["network"], rtol=1e-5)
  chex.assert_trees_all_close(first[0], first[1], rtol=1e-5)
  assert not np.allclose(
    second[0]["network"]["head"]["kernel"],
    second[1]["network"]["head"]["kernel"],
    atol=1e-4,
  )


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"peers": 1}, "peers must be a whole number >= 2"),
    ({"every": 0}, "every must be a whole number >= 1"),
    ({"every": 2.5}, "every must be a whole number >= 1"),
    ({"same_batches": 1}, "same_batches must be True or False"),
  ],
)
def test_refuses(options, said):
  with pytest.raises(ValueError, match=said):
    codistillation(**options)


@pytest.mark.parametrize(
  ("peers", "devices", "fits"),
  [(2, 1, True), (2, 8, True), (4, 2, True), (3, 2, False), (2, 3, False)],
)
def test_peers_and_devices_must_divide(peers, devices, fits):
  scheme = codistillation(peers=peers)
  if fits:
    check_devices("codistillation", scheme, devices)
    return
  with pytest.raises(UserError, match=f"{peers} peers .* {devices} devices"):
    check_devices("codistillation", scheme, devices)
