"""The small convolutional net: sizes by hand, parts, dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import make_model
from kdjax.models.lenet import Stage


@pytest.mark.parametrize(
  ("text", "shape", "parameters"),
  [
    # Two stages leave 7 x 7 x 16 = 784 values of an MNIST digit.
    ("lenet", (28, 28, 1), 156 + 2416 + 784 * 120 + 120 + 121 * 84 + 85 * 10),
    ("lenet", (32, 32, 3), 456 + 2416 + 1024 * 120 + 120 + 121 * 84 + 850),
    ("lenet(4, hidden=())", (8, 8, 1), 26 * 4 + 4 * 4 * 4 * 10 + 10),
    ("lenet(4, hidden=5, kernel=3)", (8, 8, 1), 40 + 64 * 5 + 5 + 60),
    (
      "lenet(4, hidden=5, kernel=3, pool=False)",
      (8, 8, 1),
      40 + 64 * 5 + 5 + 60,
    ),
  ],
)
def test_parameter_counts(text, shape, parameters):
  shapes = jax.eval_shape(
    make_model(text, classes=10).init, jax.random.key(0), jnp.zeros((1, *shape))
  )
  assert sum(np.prod(x.shape) for x in jax.tree.leaves(shapes)) == parameters


def test_parts_are_named_for_taps():
  shapes = jax.eval_shape(
    make_model("lenet(4, 5, 6, hidden=(8, 7))", classes=3).init,
    jax.random.key(0),
    jnp.zeros((1, 8, 8, 1)),
  )
  stages = {"stage_0", "stage_1", "stage_2"}
  assert set(shapes["params"]) == stages | {"hidden_0", "hidden_1", "head"}


def test_stage_is_convolution_relu_max():
  """A kernel with a 1 in its middle copies the image; pooling before or after is one."""
  images = jax.random.normal(jax.random.key(0), (1, 6, 6, 1))
  kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
  params = {"conv": {"kernel": kernel, "bias": jnp.zeros(1)}}
  made = Stage(1, 3).apply({"params": params}, images)
  blocks = np.maximum(images, 0).reshape(1, 3, 2, 3, 2, 1)
  np.testing.assert_allclose(made, blocks.max((2, 4)), rtol=1e-6)


def test_dropout_in_training_only():
  model = make_model("lenet(4, hidden=32, dropout=0.5)", classes=3)
  images = jnp.ones((2, 8, 8, 1))
  params = jax.jit(model.init)(jax.random.key(0), images)
  train = jax.jit(
    lambda key: model.apply(params, images, train=True, rngs={"dropout": key})
  )
  first, second = (train(jax.random.key(i)) for i in (1, 2))
  assert not np.array_equal(first, second)
  # Without a key there is nothing to draw from.
  apply = jax.jit(model.apply)
  np.testing.assert_array_equal(apply(params, images), apply(params, images))
