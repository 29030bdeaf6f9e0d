"""Multi-layer perceptrons: sizes, names, dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.models import make_model

IMAGES = jnp.ones((2, 28, 28, 1))


@pytest.mark.parametrize(
  ("text", "parameters"),
  [
    ("mlp(1200, 1200, dropout=0.5)", 784 * 1200 + 1200 + 1200 * 1201 + 12010),
    ("mlp(100)", 79_510),
    ("mlp(20)", 15_910),
    ("mlp", 7_850),
  ],
)
def test_parameter_counts(text, parameters):
  shapes = jax.eval_shape(
    make_model(text, classes=10).init, jax.random.key(0), IMAGES
  )
  assert sum(np.prod(x.shape) for x in jax.tree.leaves(shapes)) == parameters


def test_parts_are_named_for_taps():
  shapes = jax.eval_shape(
    make_model("mlp(5, 4)", classes=3).init, jax.random.key(0), IMAGES
  )
  assert set(shapes["params"]) == {"stage_0", "stage_1", "head"}


def test_pre_activations_are_seen():
  model = make_model("mlp(6)", classes=3)
  images = jax.random.normal(jax.random.key(1), (2, 4, 4, 1))
  variables = jax.jit(model.init)(jax.random.key(0), images)
  _, seen = model.apply(
    variables, images, capture_intermediates=True, mutable=["intermediates"]
  )
  stage = seen["intermediates"]["stage_0"]
  before, after = stage["dense"]["__call__"][0], stage["__call__"][0]
  np.testing.assert_array_equal(
    stage["activation"]["__call__"][0], np.maximum(before, 0)
  )
  np.testing.assert_array_equal(after, np.maximum(before, 0))


def test_dropout_in_training_only():
  model = make_model("mlp(64, dropout=0.5)", classes=3)
  params = jax.jit(model.init)(jax.random.key(0), IMAGES)
  train = jax.jit(
    lambda key: model.apply(params, IMAGES, train=True, rngs={"dropout": key})
  )
  first, second = (train(jax.random.key(i)) for i in (1, 2))
  assert not np.array_equal(first, second)
  # Without a key there is nothing to draw from.
  apply = jax.jit(model.apply)
  np.testing.assert_array_equal(apply(params, IMAGES), apply(params, IMAGES))


@pytest.mark.parametrize(
  "text",
  ["mpl(3)", "mlp(0)", "mlp(2.5)", "mlp(3, dropout=1)", "mlp(3, depth=2)"],
)
def test_refused(text):
  with pytest.raises(UserError):
    make_model(text, classes=10)
