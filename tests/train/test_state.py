"""Optimisers and their rates."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.errors import UserError
from kdjax.train.state import make_optimizer, with_learning_rate


def walk(optimizer, rate, steps):
  """The distances that a parameter moves under a gradient of 1."""
  params = jnp.zeros(())
  state = with_learning_rate(optimizer.init(params), rate)
  moves = []
  for _ in range(steps):
    update, state = optimizer.update(jnp.ones(()), state, params)
    moves.append(-float(update))
  return np.array(moves)


@pytest.mark.parametrize(
  ("schedule", "expected"),
  [
    ("constant", [1, 1, 1, 1]),
    ("linear", [1, 0.75, 0.5, 0.25]),
    ("cosine", [1, 0.853553, 0.5, 0.146447]),
    ("constant(warmup=0.5)", [1 / 3, 2 / 3, 1, 1]),
  ],
)
def test_schedule_shapes(schedule, expected):
  moves = walk(make_optimizer("sgd", schedule, 4), 0.1, 4)
  np.testing.assert_allclose(moves, 0.1 * np.array(expected), rtol=1e-5)


def test_adam_is_optax_adam():
  ours = walk(make_optimizer("adam", "constant", 3), 0.01, 3)
  theirs = optax.adam(0.01)
  params = jnp.zeros(())
  state, moves = theirs.init(params), []
  for _ in range(3):
    update, state = theirs.update(jnp.ones(()), state, params)
    moves.append(-float(update))
  np.testing.assert_allclose(ours, moves, rtol=1e-6)


def test_rates_live_side_by_side():
  optimizer = make_optimizer("sgd(momentum=0.9)", "constant", 2)
  params = jnp.zeros(2)
  state = jax.vmap(lambda p, r: with_learning_rate(optimizer.init(p), r))(
    params, jnp.array([0.1, 0.2])
  )
  update, _ = jax.vmap(optimizer.update)(jnp.ones(2), state, params)
  np.testing.assert_allclose(update, [-0.1, -0.2], rtol=1e-6)


@pytest.mark.parametrize(
  ("optimizer", "schedule", "message"),
  [
    ("adamm", "cosine", "did you mean 'adam'"),
    ("sgd(0.9)", "cosine", "name the arguments"),
    ("sgd(moment=0.9)", "cosine", "moment"),
    ("adam", "cosin", "did you mean 'cosine'"),
    ("adam", "cosine(warmup=1.5)", "share in [0, 1)"),
  ],
)
def test_bad_specs(optimizer, schedule, message):
  with pytest.raises(UserError, match=re.escape(message)):
    make_optimizer(optimizer, schedule, 10)
