"""Activations, the shape and the start of convolutions, normalisation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import layers
from kdjax.models.layers import (
  Activation,
  batch_norm,
  convolution,
  dot_of_rows,
  max_pool_2x2,
)

POINTS = jnp.array([-1.0, 0.0, 7.0])


@pytest.mark.parametrize(
  ("function", "expected"),
  [
    ("relu", [0.0, 0.0, 7.0]),
    ("relu6", [0.0, 0.0, 6.0]),
    ("tanh", np.tanh([-1.0, 0.0, 7.0])),
    ("silu", [-1 / (1 + np.e), 0.0, 7 / (1 + np.exp(-7.0))]),
  ],
)
def test_activation(function, expected):
  module = Activation(function)
  values, variables = module.init_with_output(jax.random.key(0), POINTS)
  assert not variables
  np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_activation_refuses_unknown_names():
  with pytest.raises(ValueError, match="unknown activation 'rely'; choices"):
    Activation("rely").apply({}, POINTS)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 8])
def test_convolution_pads_alike_on_all_sides(size, stride, side):
  """A kernel of ones counts the pixels that it meets, from the first corner."""
  layer = convolution(1, size, stride=stride, name="conv")
  images = np.ones((1, side, side, 1), np.float32)
  kernel = {"params": {"kernel": np.ones((size, size, 1, 1), np.float32)}}
  counts = np.asarray(layer.apply(kernel, images))[0, :, :, 0]
  starts = np.arange(0, side, stride) - size // 2
  met = np.minimum(starts + size, side) - np.maximum(starts, 0)
  np.testing.assert_array_equal(counts, np.outer(met, met))


def test_convolution_starts_he_normal_by_fan_out():
  layer = convolution(512, 3, name="conv")
  made = jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 3, 3, 8)))
  assert set(made["params"]) == {"kernel"}
  kernel = np.asarray(made["params"]["kernel"])
  assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 512)), rel=0.02)
  # Normal and not truncated: some values lie beyond three deviations.
  assert abs(kernel).max() > 3 * kernel.std()


def test_batch_norm_remembers_a_tenth():
  layer = batch_norm(train=True, name="norm")
  x = jnp.array([[1.0], [3.0]])
  variables = jax.jit(layer.init)(jax.random.key(0), x)
  y, state = layer.apply(variables, x, mutable=["batch_stats"])
  np.testing.assert_allclose(y, [[-1.0], [1.0]], rtol=1e-4)
  np.testing.assert_allclose(state["batch_stats"]["mean"], [0.2], rtol=1e-6)


def test_normed_convolution_names_its_parts():
  module = layers.NormedConvolution(4, 3)
  x = jnp.zeros((1, 4, 4, 2))
  shapes = jax.eval_shape(
    lambda key: module.init(key, x, train=False), jax.random.key(0)
  )
  assert set(shapes["params"]) == {"conv", "norm"}


@pytest.mark.parametrize("side", [4, 5])
def test_pooling_is_the_stock_one(side):
  x = np.random.default_rng(0).normal(size=(2, side, side, 3))

  def stock(x):
    return nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))

  def both(x):
    for pool in (max_pool_2x2, stock):
      yield pool(x), jax.grad(lambda x, pool=pool: jnp.sum(pool(x) ** 2))(x)

  ours, theirs = jax.jit(lambda x: [*both(x)])(np.float32(x))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_dense_layer_of_rows_is_the_same_without_a_transposed_copy():
  x = jax.random.normal(jax.random.key(0), (2, 8, 5))
  plain, ours = nn.Dense(3), nn.Dense(3, dot_general=dot_of_rows)
  variables = plain.init(jax.random.key(1), x)

  def gradient(layer):
    return jax.jit(
      jax.grad(lambda v, x: jnp.sum(layer.apply(v, x) ** 2), (0, 1))
    )

  expected, found = (gradient(layer)(variables, x) for layer in (plain, ours))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected
  )
  text = gradient(ours).lower(variables, x).compile().as_text()
  copies = [line for line in text.splitlines() if " copy(" in line]
  assert not [line for line in copies if "[3,2,8]" in line or "[5,2,8]" in line]
