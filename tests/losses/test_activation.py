"""Losses on pre-activations: every side of every threshold."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

# student, teacher, margin, expected: one neuron each
ALTERNATIVE = {
  "fires, too low": (0.5, 1.0, 1.0, 0.25),
  "fires, far below": (-2.0, 1.0, 1.0, 9.0),
  "fires, at the margin": (1.0, 1.0, 1.0, 0.0),
  "fires, high enough": (3.0, 1.0, 1.0, 0.0),
  "silent, too high": (0.5, -1.0, 1.0, 2.25),
  "silent, at the margin": (-1.0, -1.0, 1.0, 0.0),
  "silent, low enough": (-3.0, -1.0, 1.0, 0.0),
  "zero is silent": (0.5, 0.0, 1.0, 2.25),
  "wider margin": (0.5, 1.0, 2.0, 2.25),
}


@pytest.mark.parametrize(
  ("student", "teacher", "margin", "expected"),
  ALTERNATIVE.values(),
  ids=ALTERNATIVE,
)
def test_ab_by_hand(student, teacher, margin, expected):
  student, teacher = jnp.array([[student]]), jnp.array([[teacher]])
  assert losses.ab(student, teacher, margin=margin)[0] == expected


def test_ab_adds_up_the_neurons_of_an_example():
  student = jnp.array([[[0.5, 0.5]], [[2.0, -2.0]]])
  teacher = jnp.array([[[1.0, -1.0]], [[1.0, -1.0]]])
  np.testing.assert_array_equal(losses.ab(student, teacher), [2.5, 0.0])


# student, teacher, margin, expected: one element each
PARTIAL = {
  "positive target, below": (1.0, 2.0, -1.0, 1.0),
  "positive target, above": (4.0, 2.0, -1.0, 4.0),
  "negative target, above": (1.0, -0.5, -1.0, 2.25),
  "negative target, below: left alone": (-3.0, -0.5, -1.0, 0.0),
  "target cut off at the margin": (0.0, -9.0, -1.0, 1.0),
  "between target and margin: left alone": (-1.5, -9.0, -1.0, 0.0),
}


@pytest.mark.parametrize(
  ("student", "teacher", "margin", "expected"), PARTIAL.values(), ids=PARTIAL
)
def test_ofd_by_hand(student, teacher, margin, expected):
  loss, gradients = jax.value_and_grad(
    lambda *arrays: losses.ofd(*arrays).sum(), argnums=(0, 1, 2)
  )(jnp.array([[student]]), jnp.array([[teacher]]), jnp.array([margin]))
  assert loss == expected
  sign = np.sign(student - max(teacher, margin))
  assert gradients[0][0, 0] == 2 * math.sqrt(expected) * sign
  assert not gradients[1].any()
  assert not gradients[2].any()


def test_ofd_margin_is_the_mean_below_zero():
  scale, bias = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, -0.3])
  draws = np.random.default_rng(0).normal(size=(400_000, 3))
  draws = draws * np.abs(scale) + bias
  expected = [column[column < 0].mean() for column in draws.T]
  margin = losses.ofd_margin(jnp.array(scale), jnp.array(bias))
  np.testing.assert_allclose(margin, expected, rtol=1e-2)


# scale, bias, expected
MARGINS = {
  "half normal": (1.0, 0.0, -math.sqrt(2 / math.pi)),
  "always below": (1.0, -30.0, -30.0),
  "never below": (2.0, 60.0, -6.0),
  "no spread, below": (0.0, -2.0, -2.0),
  "no spread, above": (0.0, 2.0, 0.0),
  "no spread, at zero": (0.0, 0.0, 0.0),
}


@pytest.mark.parametrize(
  ("scale", "bias", "expected"), MARGINS.values(), ids=MARGINS
)
def test_ofd_margin_by_hand(scale, bias, expected):
  margin = losses.ofd_margin(jnp.array([scale]), jnp.array([bias]))
  np.testing.assert_allclose(margin, [expected], rtol=1e-6)


ONE = jnp.zeros((1, 2, 3))
REFUSED = {
  "ab": lambda: losses.ab(ONE, ONE[..., :2]),
  "ofd": lambda: losses.ofd(ONE, ONE[..., :2], jnp.zeros(3)),
  "ofd: margin": lambda: losses.ofd(ONE, ONE, jnp.zeros(2)),
  "ofd_margin": lambda: losses.ofd_margin(jnp.ones(2), jnp.ones(3)),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=message) as error:
    call()
  assert str(error.value).count("(") >= 2, "both shapes"
