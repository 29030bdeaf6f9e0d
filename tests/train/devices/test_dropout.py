"""Masks belong to examples."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import models
from kdjax.train.devices.dropout import by_example

RNGS = {"dropout": jax.random.key(3)}


def drop(layer, x, positions):
  with nn.intercept_methods(by_example(jnp.asarray(positions))):
    return layer.apply({}, x, rngs=RNGS)


def test_share_and_scale():
  out = drop(
    nn.Dropout(0.25, deterministic=False), jnp.ones((64, 256)), range(64)
  )
  assert set(np.unique(out)) == {0.0, np.float32(1 / 0.75)}
  assert abs(float(jnp.mean(out == 0)) - 0.25) < 0.02


def test_examples_differ_and_follow_their_position():
  layer = nn.Dropout(0.5, deterministic=False)
  whole = drop(layer, jnp.ones((4, 32)), [0, 1, 2, 3])
  turned = drop(layer, jnp.ones((4, 32)), [3, 2, 1, 0])
  np.testing.assert_array_equal(whole, turned[::-1])
  assert not np.array_equal(whole[0], whole[1])


@pytest.mark.parametrize(
  ("layer", "shape"),
  [
    (nn.Dropout(0.5, deterministic=True), (4, 8)),
    (nn.Dropout(0.0, deterministic=False), (4, 8)),
    (nn.Dropout(0.5, broadcast_dims=(0,), deterministic=False), (4, 8)),
    (nn.Dropout(1.0, deterministic=False), (4, 8)),
    (nn.Dropout(0.5, deterministic=False), (3, 8)),
  ],
  ids=[
    "deterministic",
    "rate 0",
    "shared mask",
    "rate 1",
    "other leading axis",
  ],
)
def test_left_alone(layer, shape):
  x = jnp.arange(float(np.prod(shape))).reshape(shape)
  np.testing.assert_array_equal(
    drop(layer, x, range(4)), layer.apply({}, x, rngs=RNGS)
  )


def test_broadcast_axes_share_a_mask():
  layer = nn.Dropout(0.5, broadcast_dims=(1,), deterministic=False)
  out = drop(layer, jnp.ones((2, 5, 16)), range(2))
  np.testing.assert_array_equal(out[:, :1] * jnp.ones((1, 5, 1)), out)


def test_an_encoder_drops_the_same_of_examples_on_any_device():
  """Its attention's weights too, whose stock mask is one a batch."""
  sizes = "width=8, depth=1, heads=2, mlp=16, vocabulary=11, dropout=0.3"
  network = models.read_model(f"bert({sizes})").make(classes=3)
  tokens = 1 + jnp.arange(24).reshape(4, 6) % 10
  variables = network.init(jax.random.key(0), tokens)

  @jax.jit
  def logits(tokens, positions):
    with nn.intercept_methods(by_example(positions)):
      return network.apply(variables, tokens, train=True, rngs=RNGS)

  positions = jnp.arange(4)
  halves = [logits(tokens[i::2], positions[i::2]) for i in (0, 1)]
  whole = logits(tokens, positions)
  np.testing.assert_allclose(whole[::2], halves[0], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(whole[1::2], halves[1], rtol=1e-5, atol=1e-6)
