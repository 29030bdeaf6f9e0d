"""Texts of unequal lengths: a step is the same in pieces and on any devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import kdjax
from kdjax.tasks import language_model

V, D, T = 40, 8, 16
LENGTHS = np.array([2, 2, 2, 2, 16, 16, 16, 16])
RNG = np.random.default_rng(0)
ITEM = {
  "tokens": RNG.integers(0, V, (8, T)).astype(np.int32),
  "mask": (np.arange(T) < LENGTHS[:, None]).astype(np.int32),
}


def mean_of_words(variables, inputs, *, train, rngs):
  """Logits of the mean of the words so far."""
  states = jnp.cumsum(variables["table"][inputs["tokens"]], axis=1)
  states = jnp.tanh(states / jnp.arange(1, T + 1)[None, :, None])
  return states @ variables["head"]


def variables_of(seed, width):
  rng = np.random.default_rng(seed)
  return {
    "table": jnp.asarray(rng.normal(size=(V, width)), jnp.float32),
    "head": jnp.asarray(rng.normal(size=(width, V)), jnp.float32),
  }


NETWORK = kdjax.from_apply(mean_of_words)
TEACHER = kdjax.live_teacher(NETWORK, variables_of(1, 12))
# An optimiser whose state is the gradient, every bit of it.
KEEP = optax.GradientTransformation(
  lambda params: params,
  lambda gradient, state, params=None: (
    jax.tree.map(jnp.zeros_like, gradient),
    gradient,
  ),
)


@functools.cache
def gradient(large, how, number):
  task = language_model(V, factored_from=8 if large else None)
  method = kdjax.make_method("forward_kl:0.9 + ce:0.1", task=task)
  goal = kdjax.objective(method, NETWORK, task)
  placed, pieces = kdjax.jit(), 1
  if how == "pieces":
    pieces = number
  elif how == "pmap":
    placed = kdjax.pmap(jax.local_devices()[:number])
  elif how == "fsdp":
    placed = kdjax.sharded(
      jax.make_mesh((number,), ("data",)), [(".", P("data"))]
    )
  else:
    mesh = jax.make_mesh((2, number), ("data", "model"))
    placed = kdjax.sharded(mesh, [("head", P(None, "model"))])
  step = kdjax.make_step(goal, KEEP, placed, pieces=pieces)
  teacher = placed.put(TEACHER)
  state = step.init(jax.random.key(0), variables_of(0, D), teacher, ITEM)
  state, metrics = step.step(state, teacher, ITEM)
  return jax.device_get((state.opt_state["network"], metrics))


HOW = [
  ("pieces", 2, 1e-6),
  ("pieces", 4, 1e-6),
  ("pmap", 2, 1e-6),
  ("pmap", 8, 1e-6),
  ("fsdp", 4, 1e-5),
  ("tensor", 4, 1e-5),
]
# Each way once; in pieces and over tensors from chunks of logits.
FAST = {
  (HOW[0], True), (HOW[3], False), (HOW[4], False), (HOW[5], True)
}  # fmt: skip
SOME = FAST | {(HOW[1], False)}


@pytest.mark.parametrize(
  ("how", "number", "within", "large"),
  [
    pytest.param(
      *how, large, marks=[pytest.mark.slow] * ((how, large) not in FAST)
    )
    for how in HOW
    for large in (False, True)
    # How many pieces or devices has nothing to do with chunks of logits.
    if how in (HOW[2], HOW[4], HOW[5]) or (how, large) in SOME
  ],
)
def test_a_step_is_that_of_the_whole_batch(how, number, within, large):
  want, sums = gradient(False, "pieces", 1)
  got, got_sums = gradient(large, how, number)
  assert sums["ce"][1] == (LENGTHS - 1).sum()
  for name, (total, count) in sums.items():
    assert got_sums[name][1] == count, name
    assert got_sums[name][0] == pytest.approx(total, rel=within)
  for name, x in want.items():
    np.testing.assert_allclose(got[name], x, atol=within * np.abs(x).max())
