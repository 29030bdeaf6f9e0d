"""Optimisers and their rates."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.core.errors import UserError
from kdjax.train.optimizer import make_optimizer, with_learning_rate


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
    ("cosine(end=0.5)", [1, 0.926777, 0.75, 0.573223]),
    ("milestones(0.5)", [1, 1, 0.1, 0.1]),
    ("milestones((0.25, 0.75), 0.5)", [1, 0.5, 0.5, 0.25]),
    # Two milestones that fall on one step count twice.
    ("milestones((0.5, 0.51), 0.1)", [1, 1, 0.01, 0.01]),
    ("milestones(0.75, warmup=0.25)", [0.5, 1, 1, 0.1]),
  ],
)
def test_schedule_shapes(schedule, expected):
  moves = walk(make_optimizer("sgd", schedule, 4), 0.1, 4)
  np.testing.assert_allclose(moves, 0.1 * np.array(expected), rtol=1e-5)


def test_milestones_are_the_published_epochs():
  """150, 180 and 210 epochs of 240 are trained before the rate falls."""
  schedule = "milestones((0.625, 0.75, 0.875), 0.1)"
  moves = walk(make_optimizer("sgd", schedule, 240), 1.0, 240)
  expected = np.repeat([1, 0.1, 0.01, 0.001], [150, 30, 30, 30])
  np.testing.assert_allclose(moves, expected, rtol=1e-5)


def test_sgd_is_torch_sgd():
  """PyTorch's rule by hand: L2 before the momentum, the rate after it."""
  rate, momentum, decay = 0.1, 0.9, 0.5
  optimizer = make_optimizer(
    f"sgd(momentum={momentum}, weight_decay={decay})", "constant", 3
  )
  weights = jnp.array([1.0, -2.0])
  state = with_learning_rate(optimizer.init(weights), rate)
  expected, buffer = np.array([1.0, -2.0]), 0.0
  for gradient in ([0.5, 1.0], [-1.0, 0.25], [2.0, 0.0]):
    update, state = optimizer.update(jnp.array(gradient), state, weights)
    weights = weights + update
    buffer = momentum * buffer + (np.array(gradient) + decay * expected)
    expected = expected - rate * buffer
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lion"])
def test_decay_can_spare_norms_and_biases(name):
  leaves = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
  params = {"network": {"head": leaves, "norm": {"scale": jnp.ones(2)}}}
  still = jax.tree.map(jnp.zeros_like, params)
  for spared, expected in ((False, 0.75), (True, 1.0)):
    text = f"{name}(weight_decay=0.5, decay_norms={not spared})"
    optimizer = make_optimizer(text, "constant", 1)
    state = with_learning_rate(optimizer.init(params), 0.5)
    update, _ = optimizer.update(still, state, params)
    moved = jax.tree.map(lambda x, y: float((x + y).mean()), params, update)
    found = moved["network"]
    assert found["head"]["kernel"] == pytest.approx(0.75)
    assert found["head"]["bias"] == pytest.approx(expected)
    assert found["norm"]["scale"] == pytest.approx(expected)


def test_clip_shortens_long_gradients_only():
  optimizer = make_optimizer("sgd(clip=1.0)", "constant", 2)
  params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
  state = with_learning_rate(optimizer.init(params), 1.0)
  for long, short in ((10.0, 1.0), (0.5, 0.5)):
    slope = {"a": jnp.array([0.6 * long]), "b": jnp.array([0.8 * long])}
    update, _ = optimizer.update(slope, state, params)
    np.testing.assert_allclose(update["a"], [-0.6 * short], rtol=1e-6)
    np.testing.assert_allclose(update["b"], [-0.8 * short], rtol=1e-6)


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
    ("adam", "cosine(end=2)", "in [0, 1], got 2"),
    ("adam", "milestones", "shares"),
    ("adam", "milestones((0.5, 0.25))", "rise between 0 and 1"),
    ("adam", "milestones((150, 180))", "rise between 0 and 1"),
    ("adam", "milestones(0.5, -1)", "factor must be > 0"),
    ("sgd(weight_decay=-1)", "cosine", "weight_decay must be >= 0"),
    ("sgd(clip=0)", "cosine", "clip must be > 0"),
    ("adam(decay_norms=False)", "cosine", "decay_norms is for"),
  ],
)
def test_bad_specs(optimizer, schedule, message):
  with pytest.raises(UserError, match=re.escape(message)):
    make_optimizer(optimizer, schedule, 10)


@pytest.mark.parametrize(
  ("optimizer", "message"),
  [
    ("adam(b1=nan)", "b1 must be a share in [0, 1), got nan"),
    ("adam(b1=1)", "b1 must be a share in [0, 1), got 1"),
    ("adam(b2=-0.1)", "b2 must be a share in [0, 1), got -0.1"),
    # 1 in float32: the correction of the bias would divide by 0.
    ("adam(b2=0.999999999)", "b2 must be a share in [0, 1), got 0.999999999"),
    ("adam(b1='0.9')", "b1 must be a share in [0, 1), got '0.9'"),
    ("adam(b1=True)", "b1 must be a share in [0, 1), got True"),
    # 0 in float32: a gradient of 0 would be divided by 0.
    ("adam(eps=1e-60)", "eps must be > 0, got 1e-60"),
    ("adam(eps=0)", "eps must be > 0, got 0"),
    ("adam(eps_root=-1)", "eps_root must be >= 0, got -1"),
    ("adam(nesterov=2)", "nesterov is True or False, got 2"),
    ("adam(mu_dtype='int8')", "mu_dtype='int8' is none of float32, bfloat16"),
    ("adamw(weight_decay=inf)", "weight_decay must be >= 0, got inf"),
    ("adamw(weight_decay=1e39)", "weight_decay must be >= 0, got 1e+39"),
    ("adamw(decay_norms=0)", "decay_norms is True or False, got 0"),
    ("lamb(eps=nan)", "eps must be > 0, got nan"),
    ("lion(b2=1.5)", "b2 must be a share in [0, 1), got 1.5"),
    ("nadam(b1=inf)", "b1 must be a share in [0, 1), got inf"),
    ("rmsprop(decay=1)", "decay must be a share in [0, 1), got 1"),
    ("rmsprop(initial_scale=-1)", "initial_scale must be >= 0, got -1"),
    ("rmsprop(centered=1)", "centered is True or False, got 1"),
    ("sgd(momentum=inf)", "momentum must be a share in [0, 1), got inf"),
    ("sgd(momentum=-0.9)", "momentum must be a share in [0, 1), got -0.9"),
    ("sgd(momentum=1)", "momentum must be a share in [0, 1), got 1"),
    ("sgd(nesterov=True)", "nesterov=True needs a momentum"),
    ("sgd(clip=nan)", "clip must be > 0, got nan"),
    (f"sgd(clip=1{'0' * 400})", "clip must be > 0"),
    ("sgd(momentun=0.9)", "no argument 'momentun'; did you mean 'momentum'?"),
    (
      "sgd(learning_rate=1)",
      "no argument 'learning_rate'. sgd takes (momentum",
    ),
    ("adamw(mask=None)", "there is no argument 'mask'"),
  ],
)
def test_arguments_of_optimisers_have_ranges(optimizer, message):
  with pytest.raises(UserError, match=re.escape(message)):
    make_optimizer(optimizer, "constant", 10)


@pytest.mark.parametrize(
  ("schedule", "message"),
  [
    ("cosine(end=nan)", "end must be a share in [0, 1], got nan"),
    ("cosine(end='0')", "end must be a share in [0, 1], got '0'"),
    ("linear(warmup=nan)", "warmup must be a share in [0, 1), got nan"),
    ("constant(warmup=1)", "warmup must be a share in [0, 1), got 1"),
    ("milestones((0.5, 1e999))", "shares must rise between 0 and 1"),
    ("milestones(('a', 'b'))", "shares must rise between 0 and 1"),
    ("milestones(0.5, nan)", "factor must be > 0, got nan"),
    ("cosine(wramup=0.1)", "'wramup'; did you mean 'warmup'? cosine takes ("),
  ],
)
def test_arguments_of_rates_schedules_have_ranges(schedule, message):
  with pytest.raises(UserError, match=re.escape(message)):
    make_optimizer("sgd", schedule, 10)


@pytest.mark.parametrize(
  "optimizer",
  [
    "adam(b1=0, b2=0.9999999, nesterov=True, mu_dtype='bfloat16')",
    "adamw(weight_decay=0, decay_norms=False, clip=None)",
    "rmsprop(momentum=0.9, nesterov=True, centered=True)",
    "sgd(momentum=None)",
    "sgd(momentum=0)",
  ],
)
def test_arguments_within_their_ranges_move_finitely(optimizer):
  moves = walk(make_optimizer(optimizer, "constant", 3), 0.1, 3)
  assert np.isfinite(moves).all() and (moves > 0).all()
