"""Classes that one side alone masks, in the methods over a pair of softmaxes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.method import Inputs, View
from kdjax.methods import make_objective

METHODS = [
  "kd",
  "kd(standardize=True)",
  "divergence(kind='reverse_kl')",
  "divergence(kind='adaptive_kl')",
  "divergence(kind='jensen_shannon')",
  "dkd",
  "nkd",
  "wsld",
  "ttm",
  "dist",
  "mlkd",
  "logit_standardization",
  "logit_mse",
  "noisy_teacher(kind='softened', sigma=10.0)",
  "noisy_teacher(sigma=10.0)",
  "ctkd",
  "ctkd(instance=True)",
]
DEAD = 1  # the class, and the example, that are masked
LABELS = jnp.array([0, 2, 3, 2])


@functools.cache
def problem():
  random = np.random.default_rng(0)
  return [jnp.asarray(x, jnp.float32) for x in random.normal(size=(2, 4, 5))]


def run(name, student, teacher):
  method = make_objective(f"{name}:1")
  teacher = View(teacher, {})

  def inputs(logits):
    return Inputs(View(logits, {}), teacher, LABELS, jnp.array(3))

  params, state = method.init(jax.random.key(0), inputs(student))
  return jax.value_and_grad(
    lambda logits: method.apply(params, state, inputs(logits))[0]
  )(student)


@pytest.mark.parametrize("side", [0, 1], ids=["student", "teacher"])
@pytest.mark.parametrize("name", METHODS)
def test_class_masked_by_one_side_is_as_if_masked_by_both(name, side):
  both = [x.at[:, DEAD].set(-jnp.inf) for x in problem()]
  one = list(problem())
  one[side] = both[side]
  want, slopes = run(name, *both)
  value, gradient = run(name, *one)
  np.testing.assert_allclose(value, want, rtol=1e-5)
  np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-6)
  assert np.isfinite(value) and not gradient[:, DEAD].any()


@pytest.mark.parametrize("side", [0, 1], ids=["student", "teacher"])
@pytest.mark.parametrize("name", METHODS)
def test_example_that_one_side_masks_gives_no_gradient(name, side):
  sides = problem().copy()
  sides[side] = sides[side].at[DEAD].set(-jnp.inf)
  value, gradient = run(name, *sides)
  assert np.isfinite(value) and np.isfinite(gradient).all()
  assert gradient.any() and not gradient[DEAD].any()
