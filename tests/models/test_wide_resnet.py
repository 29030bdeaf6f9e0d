"""The wide residual network is the textbook's, whatever stands where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import make_model


def textbook(variables, images, *, depth, train):
  """Pre-activation residual network, norm and ReLU at each block's start.

  Reads the module's own parameters in the places that the paper gives them.
  """
  blocks = (depth - 4) // 6
  params, stats = variables["params"], variables["batch_stats"]

  def convolve(x, kernel, stride=1):
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      (stride, stride),
      ((pad, pad), (pad, pad)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

  def norm_relu(x, *path):
    p, s = params, stats
    for name in path:
      p, s = p[name], s[name]
    mean, var = s["mean"], s["var"]
    if train:
      mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    shape = (1, 1, 1, -1)
    x = (x - mean.reshape(shape)) / jnp.sqrt(var.reshape(shape) + 1e-5)
    return jnp.maximum(
      x * p["scale"].reshape(shape) + p["bias"].reshape(shape), 0
    )

  x = convolve(images, params["stem"]["kernel"])
  for i in range(3):
    for j in range(blocks):
      block = params[f"stage_{i}"][f"block_{j}"]
      moved = i > 0 and j == 0
      norm_0 = (
        (f"stage_{i - 1}", "norm")
        if moved
        else (f"stage_{i}", f"block_{j}", "norm_0")
      )
      stride = 2 if moved else 1
      active = norm_relu(x, *norm_0)
      y = convolve(active, block["conv_0"]["kernel"], stride)
      y = norm_relu(y, f"stage_{i}", f"block_{j}", "norm_1")
      y = convolve(y, block["conv_1"]["kernel"])
      equal = x.shape[-1] == y.shape[-1]
      assert equal == ("conv_shortcut" not in block)
      shortcut = block.get("conv_shortcut")
      x = y + (x if equal else convolve(active, shortcut["kernel"], stride))
  x = norm_relu(x, "stage_2", "norm").mean((1, 2))
  return x @ params["head"]["kernel"] + params["head"]["bias"].reshape(1, -1)


def scrambled(tree):
  """The same tree with random values > 0 for all scales, means and so on."""
  leaves, structure = jax.tree.flatten(tree)
  rng = np.random.default_rng(0)
  return structure.unflatten(
    x + jnp.asarray(rng.uniform(0.1, 0.5, x.shape), x.dtype)
    if x.ndim == 1
    else x
    for x in leaves
  )


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("depth", "width"), [(10, 2), (16, 1)])
def test_same_as_the_textbook(depth, width, train):
  model = make_model(f"wrn({depth}, {width})", classes=5)
  images = jax.random.normal(jax.random.key(1), (3, 8, 8, 3))
  variables = scrambled(jax.jit(model.init)(jax.random.key(0), images))

  @jax.jit
  def both(variables):
    ours, _ = model.apply(
      variables, images, train=train, mutable=["batch_stats"]
    )
    return ours, textbook(variables, images, depth=depth, train=train)

  ours, expected = both(variables)
  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_stages_are_their_last_blocks_then_normalised_and_activated():
  model = make_model("wrn(10, 1)", classes=5)
  images = jax.random.normal(jax.random.key(1), (3, 8, 8, 3))
  variables = jax.jit(model.init)(jax.random.key(0), images)
  _, seen = jax.jit(
    lambda variables: model.apply(
      variables, images, capture_intermediates=True, mutable=["intermediates"]
    )
  )(variables)
  for i in range(3):
    stage = seen["intermediates"][f"stage_{i}"]
    np.testing.assert_array_equal(
      stage["__call__"][0], stage["block_0"]["__call__"][0]
    )
    before, after = (
      stage[name]["__call__"][0] for name in ("norm", "activation")
    )
    assert before.min() < 0
    np.testing.assert_array_equal(after, np.maximum(before, 0))


def test_dropout_in_training_only():
  model = make_model("wrn(10, 1, dropout=0.5)", classes=5)
  images = jnp.ones((2, 8, 8, 1))

  @jax.jit
  def train(key):
    rngs = {"params": jax.random.key(0), "dropout": key}
    return model.init_with_output(rngs, images, train=True)[0]

  first, other, again = (train(jax.random.key(seed)) for seed in (1, 2, 1))
  assert not np.array_equal(first, other)
  np.testing.assert_array_equal(first, again)
