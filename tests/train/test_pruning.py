"""Pruning: by hand, step by step, and the same for members side by side."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.train.pruning import (
  Pruning,
  magnitude_pruning,
  prunable,
  share_at,
)

# Ten weights, of which the smallest five are of both layers.
PARAMS = {
  "network": {
    "stage_0": {
      "kernel": np.float32([[1.0, -2.0, 0.3], [0.1, 4.0, -0.2]]),
      "bias": np.float32([1.0, 2.0, 3.0]),
    },
    "stage_1": {"kernel": np.float32([[5.0, 0.4], [6.0, -0.5]])},
    "head": {"kernel": np.float32([[0.01]])},
    "norm": {"scale": np.float32([0.01])},
    "embed": {"embedding": np.float32([[0.01]])},
  },
  "method": {"regressor": {"kernel": np.float32([[0.01]])}},
}
STILL = jax.tree.map(np.zeros_like, PARAMS)


def pruned(pruning, params=PARAMS, updates=STILL, steps=2):
  """The parameters after some steps that all have the same updates."""
  optimizer = magnitude_pruning(pruning)

  def body(carry, _):
    params, state = carry
    moves, state = optimizer.update(updates, state, params)
    return (optax.apply_updates(params, moves), state), None

  @jax.jit
  def run(params):
    return jax.lax.scan(body, (params, optimizer.init(params)), None, steps)[0]

  return run(params)


@pytest.mark.parametrize(
  ("scope", "structure", "sparsity", "first", "second", "bias"),
  [
    ("global", "weights", 0.5, "110010", "1010", "111"),
    ("layer", "weights", 0.5, "110010", "1010", "111"),
    ("global", "weights", 0.2, "111010", "1111", "111"),
    ("layer", "weights", 0.75, "010010", "0010", "111"),
    # Roots of mean squares: 0.71, 3.16, 0.25; 5.52, 0.45.
    ("global", "channels", 0.4, "110110", "1010", "110"),
    ("layer", "channels", 0.5, "010010", "1010", "010"),
    # A layer keeps its largest.
    ("global", "weights", 0.9, "000010", "0010", "111"),
    ("global", "channels", 0.99, "010010", "1010", "010"),
  ],
)
def test_by_hand(scope, structure, sparsity, first, second, bias):
  after, _ = pruned(Pruning(sparsity, scope, structure, end=1))
  before, network = PARAMS["network"], after["network"]
  for layer, name, kept in (
    ("stage_0", "kernel", first),
    ("stage_0", "bias", bias),
    ("stage_1", "kernel", second),
  ):
    mask = np.array([bit == "1" for bit in kept])
    value = before[layer][name]
    np.testing.assert_array_equal(
      network[layer][name], np.where(mask.reshape(value.shape), value, 0)
    )
  for name in ("head", "norm", "embed"):
    assert network[name] == before[name]
  assert after["method"] == PARAMS["method"]


def test_attention_is_pruned_weight_by_weight_alone():
  layer = {"kernel": jnp.ones((4, 2, 2))}
  params = {"network": {"attention": {"query": layer}}}
  assert list(prunable(params)) == ["attention/query"]
  assert not prunable(params, "channels")


def test_the_schedule_is_the_published_one():
  """s_t = s_f - s_f (1 - (t - t_0) / (n dt))^3, and nothing before t_0."""
  pruning = Pruning(0.8, begin=10, end=50)
  for step, share in ((0, 0), (10, 0), (30, 0.7), (50, 0.8), (99, 0.8)):
    assert share_at(pruning, step) == pytest.approx(share, abs=1e-6)


def test_masks_change_when_they_are_due_and_what_is_gone_stays_gone():
  """Every third step from the first to the fifth; the fifth though not due."""
  pruning = Pruning(0.8, begin=1, end=5, every=3)
  updates = jax.tree.map(lambda x: np.full_like(x, 0.7), PARAMS)
  optimizer = magnitude_pruning(pruning)
  params, zeros = PARAMS, []

  @jax.jit
  def step(updates, state, params):
    moves, state = optimizer.update(updates, state, params)
    return optax.apply_updates(params, moves), state

  state = optimizer.init(params)
  for number in range(1, 9):
    params, state = step(updates, state, params)
    kernels = prunable(params).values()
    zeros.append(sum(int((np.asarray(x) == 0).sum()) for x in kernels))
    assert state.count == number
  # Shares 0 and 0.8 (1 - 1/64) of ten weights, then 0.8.
  assert zeros == [0, 0, 0, 0, 8, 8, 8, 8]
  # What stays moves as it would have, by 8 * 0.7.
  assert params["network"]["stage_0"]["kernel"][1, 1] == pytest.approx(9.6)
  assert params["network"]["stage_1"]["kernel"][1, 0] == pytest.approx(11.6)
  assert params["network"]["head"]["kernel"][0, 0] == pytest.approx(5.61)


def test_members_are_pruned_as_if_alone_and_sorted_only_when_due():
  pruning = Pruning(0.5, end=3, every=2)
  both = jax.tree.map(lambda x: np.stack([x, x[::-1] * 2]), PARAMS)
  run = jax.vmap(lambda params: pruned(pruning, params, steps=4))
  found = run(both)
  for member in range(2):
    one = jax.tree.map(lambda x, m=member: x[m], both)
    want = pruned(pruning, one, steps=4)
    for x, y in zip(*map(jax.tree.leaves, (found, want)), strict=True):
      np.testing.assert_array_equal(x[member], y)
  program = str(jax.make_jaxpr(run)(both))
  assert program.count("cond[") == 1
