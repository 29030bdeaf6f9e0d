"""Taps of nnx modules against the same numbers computed by hand."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kdjax.core.errors import UserError
from kdjax.taps import select
from kdjax.taps.nnx import edited, tapped

ROWS = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)


class Block(nnx.Module):
  def __init__(self, rngs):
    self.dense = nnx.Linear(4, 4, rngs=rngs)
    self.norm = nnx.BatchNorm(4, rngs=rngs)

  def __call__(self, x):
    return nnx.tanh(self.norm(self.dense(x)))


class Remat(Block):
  __call__ = nnx.remat(Block.__call__)


class Jit(Block):
  __call__ = nnx.jit(Block.__call__)


class Net(nnx.Module):
  def __init__(self, block, rngs):
    self.layers = nnx.List([block(rngs), block(rngs)])
    self.attention = nnx.MultiHeadAttention(2, 4, rngs=rngs, decode=False)
    self.shared = nnx.Linear(4, 4, rngs=rngs)
    self.drop = nnx.Dropout(0.5, rngs=rngs)
    self.head = nnx.Linear(4, 2, rngs=rngs)
    self.idle = nnx.Linear(4, 4, rngs=rngs)

  def encode(self, x):
    for layer in self.layers:
      x = layer(x)
    return x

  def __call__(self, x):
    x = self.attention(self.encode(x)[None])[0]
    return self.head(self.drop(self.shared(self.shared(x))))


TAPS = (
  "layers/*",
  "layers/1/dense:in",
  ".encode",
  "attention:weights",
  "shared#1",
  "head:in",
  ":out",
)
SHAPES = {
  "layers/0": (2, 4),
  "layers/1": (2, 4),
  "layers/1/dense:in": (2, 4),
  ".encode": (2, 4),
  "attention:weights": (1, 2, 2, 2),
  "shared#1": (2, 4),
  "head:in": (2, 4),
  ":out": (2, 2),
}


def net(block=Block, train=False):
  network = Net(block, nnx.Rngs(0))
  network.set_attributes(
    use_running_average=not train, deterministic=not train, raise_if_not_found=0
  )
  return network


def check_close(a, b):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), a, b
  )


def same_tree(a, b):
  return nnx.graphdef(a) == nnx.graphdef(b) and jax.tree.structure(
    nnx.state(a)
  ) == jax.tree.structure(nnx.state(b))


def split_jit(function, network, x):
  graphdef, state = nnx.split(network)
  return jax.jit(lambda state: function(nnx.merge(graphdef, state), x))(state)


RUNS = {
  "eager": lambda function, network, x: function(network, x),
  "nnx.jit": lambda function, network, x: nnx.jit(function)(network, x),
  "jax.jit": split_jit,
}


# Each way to run once, and each kind of block.
FAST = {("eager", Block), ("nnx.jit", Jit), ("jax.jit", Remat)}


@pytest.mark.parametrize(
  ("run", "block"),
  [
    pytest.param(*row, marks=[pytest.mark.slow] * (row not in FAST))
    for row in itertools.product(RUNS, (Block, Remat, Jit))
  ],
)
def test_taps_give_features_and_leave_the_module(run, block):
  network = net(block)
  before = nnx.clone(network)
  output, feats = RUNS[run](lambda m, x: tapped(m, TAPS)(x), network, ROWS)
  assert {tap: value.shape for tap, value in feats.items()} == SHAPES
  assert same_tree(network, before)
  assert type(network.head) is nnx.Linear
  check_close(nnx.state(network, nnx.Param), nnx.state(before, nnx.Param))
  first = network.layers[0](ROWS)
  check_close(output, network(ROWS))
  check_close(select(feats, "layers/*"), (first, network.layers[1](first)))
  check_close(feats["shared#1"], feats["head:in"])
  check_close(feats["attention:weights"].sum(-1), jnp.ones((1, 2, 2)))


def test_without_taps_the_program_is_the_same():
  network = net()
  plain = jax.make_jaxpr(lambda x: network(x))(ROWS)
  assert str(jax.make_jaxpr(lambda x: tapped(network, ())(x)[0])(ROWS)) == str(
    plain
  )
  assert edited(network, {}) is network


@pytest.mark.parametrize("block", [Block, Remat, Jit])
def test_gradients_flow(block):
  network = net(block)

  def loss(network):
    return jnp.sum(tapped(network, "layers/1/dense")(ROWS)[1]["layers/1/dense"])

  def by_hand(network):
    return jnp.sum(network.layers[1].dense(network.layers[0](ROWS)))

  check_close(nnx.grad(loss)(network), nnx.grad(by_hand)(network))


def test_the_module_may_be_closed_over():
  network = net()
  found = jax.grad(lambda x: tapped(network, "layers/0")(x)[0].sum())(ROWS)
  check_close(found, jax.grad(lambda x: network(x).sum())(ROWS))


def test_state_moves_on():
  network, twin = net(train=True), net(train=True)
  output, _ = nnx.jit(lambda m, x: tapped(m, ["layers/0"])(x))(network, ROWS)
  check_close(output, twin(ROWS))
  for kind in (nnx.BatchStat, nnx.RngCount):
    check_close(nnx.state(network, kind), nnx.state(twin, kind))
  check_close(tapped(network, "head")(ROWS)[0], twin(ROWS))


def test_edits():
  network = net()
  zero = edited(network, {"head:in": jnp.zeros_like})
  assert not np.any(zero(ROWS))
  second = edited(network, {"shared#1": lambda x: 2 * x})
  check_close(second(ROWS), 2 * network(ROWS))  # the biases are zero
  slope = jax.grad(
    lambda scale: edited(network, {":in": lambda x: scale * x})(ROWS).sum()
  )(1.0)
  check_close(slope, jnp.sum(ROWS * jax.grad(lambda x: network(x).sum())(ROWS)))
  feats = tapped(second, ["shared#1", "head:in"])(ROWS)[1]
  check_close(feats["shared#1"], feats["head:in"])
  check_close(
    feats["head:in"], 2 * tapped(network, "shared#1")(ROWS)[1]["shared#1"]
  )
  encode = edited(network.encode, {"layers/*": jnp.ones_like})
  check_close(encode(ROWS), jnp.ones((2, 4)))
  with pytest.raises(UserError, match="can be read, not edited"):
    edited(network, {"attention:weights": jnp.sin})


def test_layers_in_a_scan_are_stacked():
  class Stack(nnx.Module):
    def __init__(self, rngs):
      make = nnx.vmap(Block, in_axes=0, out_axes=0)
      self.layers = make(rngs.split(3))

    def __call__(self, x):
      scan = nnx.scan(
        lambda layer, x: layer(x), in_axes=(0, nnx.Carry), out_axes=nnx.Carry
      )
      return scan(self.layers, x)

  network = nnx.eval_shape(lambda: Stack(nnx.Rngs(0)))
  shapes = nnx.eval_shape(lambda m: tapped(m, "layers/dense")(ROWS)[1], network)
  assert shapes["layers/dense"].shape == (3, 2, 4)


@pytest.mark.parametrize(
  ("tap", "says"),
  [
    ("layers/2", "did you mean 'layers/[01]'.*There is: "),
    ("layers_0", "is not reached"),
    ("head.encode", "head does not run encode"),
    ("shared#3", "was called 2 times, so the last call is #1"),
    ("idle", "idle was not called"),
    ("head:weights", "head is a Linear, and only the stock attention"),
  ],
)
def test_a_miss_says_what_there_is(tap, says):
  network = net()
  with pytest.raises(UserError, match=says):
    tapped(network, (tap,))(ROWS)
  if not tap.endswith("weights"):
    with pytest.raises(UserError, match=says):
      edited(network, {tap: jnp.sin})(ROWS)
  assert type(network.shared) is nnx.Linear


def test_what_cannot_be_tapped_is_refused():
  class Closure(nnx.Module):
    def __init__(self):
      self.first = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
      self.dense = nnx.Linear(4, 4, rngs=nnx.Rngs(0))

    def __call__(self, x):
      return jax.checkpoint(lambda x: self.dense(x))(self.first(inputs=x))

  with pytest.raises(UserError, match="Linear .*closes over it"):
    tapped(Closure(), "dense")(ROWS)
  with pytest.raises(UserError, match="'first:in': .*without positional"):
    tapped(Closure(), "first:in")(ROWS)
  with pytest.raises(TypeError, match="bound method of one, got function"):
    tapped(functools.wraps(net)(lambda x: x), "dense")
