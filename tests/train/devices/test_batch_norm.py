"""Normalising over the global batch equals the stock layer on all of it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.train.devices.batch_norm import over_the_batch


@pytest.fixture(scope="module")
def values():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(3.0, 2.0, (8, 3, 3, 5)), jnp.float32)


def run(layer, variables, x, mask, axis_name=None):
  with nn.intercept_methods(over_the_batch(mask, axis_name)):
    return layer.apply(variables, x, mutable=["batch_stats"])


@pytest.mark.parametrize(
  "options",
  [{}, {"use_bias": False}, {"use_scale": False}, {"momentum": 0.5}],
  ids=str,
)
def test_is_the_stock_layer(values, options):
  layer = nn.BatchNorm(use_running_average=False, **options)
  variables = jax.jit(layer.init)(jax.random.key(0), values)
  ours = run(layer, variables, values, jnp.ones(8, bool))
  stock = layer.apply(variables, values, mutable=["batch_stats"])
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    ours,
    stock,
  )


def test_padding_does_not_count(values):
  layer = nn.BatchNorm(use_running_average=False)
  variables = jax.jit(layer.init)(jax.random.key(0), values)
  padded = values.at[6:].set(jnp.inf)
  y, stats = run(layer, variables, padded, jnp.arange(8) < 6)
  want, kept = layer.apply(variables, values[:6], mutable=["batch_stats"])
  np.testing.assert_allclose(y[:6], want, rtol=1e-5, atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), stats, kept)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_an_example_that_weighs_two_is_there_twice(values, scale):
  layer = nn.BatchNorm(use_running_average=False)
  variables = jax.jit(layer.init)(jax.random.key(0), values)
  weights = scale * jnp.array([2.0, 1, 1, 0, 1, 1, 1, 1])
  y, stats = run(layer, variables, values.at[3].set(jnp.nan), weights)
  places = jnp.array([0, 0, 1, 2, 4, 5, 6, 7])
  want, kept = layer.apply(variables, values[places], mutable=["batch_stats"])
  np.testing.assert_allclose(y[places], want, rtol=1e-5, atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), stats, kept)


@pytest.mark.parametrize(
  "devices", [2, pytest.param(8, marks=pytest.mark.slow)]
)
def test_devices_agree_in_value_statistics_and_gradient(values, devices):
  """One device is left with padding alone."""
  layer = nn.BatchNorm(use_running_average=False)
  variables = jax.jit(layer.init)(jax.random.key(0), values)
  mask = jnp.arange(8) < 7

  def loss(params, x, mask, axis_name):
    y, stats = run(layer, variables | {"params": params}, x, mask, axis_name)
    value = jnp.sum(jnp.where(mask[:, None, None, None], y**3, 0.0))
    return value, stats

  def spread(x, mask):
    grads, stats = jax.grad(loss, (0, 1), has_aux=True)(
      variables["params"], x, mask, "devices"
    )
    return jax.lax.psum(grads[0], "devices"), grads[1], stats

  cut = [x.reshape(devices, -1, *x.shape[1:]) for x in (values, mask)]
  mapped = jax.pmap(
    spread, "devices", in_axes=0, out_axes=(None, 0, None),
    devices=jax.local_devices()[:devices],
  )  # fmt: skip
  params, inputs, stats = mapped(*cut)
  (whole, one), kept = jax.grad(loss, (0, 1), has_aux=True)(
    variables["params"], values, mask, None
  )
  for got, want in (
    (params, whole),
    (inputs.reshape(values.shape), one),
    (stats, kept),
  ):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      got,
      want,
    )


def test_running_averages_are_left_alone(values):
  layer = nn.BatchNorm(use_running_average=True)
  variables = jax.jit(layer.init)(jax.random.key(0), values)
  y, _ = run(layer, variables, values, jnp.ones(8, bool))
  np.testing.assert_allclose(y, layer.apply(variables, values))
