"""Losses on projected features: hand-worked values and edges."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

# name: (function, arguments, keywords, expected)
BY_HAND = {
  # The mean of (1, 3, 0, 4) is 2; (2 - 5)^2
  "simkd pools the larger map": (
    losses.simkd,
    ([[[[1.0], [3.0]], [[0.0], [4.0]]]], [[[[5.0]]]]),
    {},
    [9.0],
  ),
  # 2 * (mean (1, 3) - mean (0, 0))^2 + 3 * ((1 - 0)^2 + (0 - 2)^2) / 2
  "srrl": (
    losses.srrl,
    ([[[[1.0], [3.0]]]], [[[[0.0], [0.0]]]], [[1.0, 0.0]], [[0.0, 2.0]]),
    {"feature_weight": 2.0, "logit_weight": 3.0},
    [15.5],
  ),
  # log(1 + 16) and log(1 + 2)
  "srd": (losses.srd, ([[1.0], [0.0]], [[0.0], [2.0]]), {}, math.log(17)),
  "srd of order 1": (
    losses.srd,
    ([[1.0], [0.0]], [[0.0], [2.0]]),
    {"exponent": 1.0},
    math.log(3),
  ),
  # The teacher's layer norm is (-1, 1): huber(0.5) = 0.125, huber(-3) = 2.5.
  "vkd": (losses.vkd, ([[-0.5, -2.0]], [[4.0, 8.0]]), {}, [1.3125]),
  # A constant row becomes zeros, although 1e4 / 3 has no exact mean.
  "vkd of a constant teacher": (
    losses.vkd,
    ([[0.5, 0.5, 0.5]], [[3333.3333, 3333.3333, 3333.3333]]),
    {},
    [0.125],
  ),
}


@pytest.mark.parametrize(
  ("function", "arrays", "keywords", "expected"), BY_HAND.values(), ids=BY_HAND
)
def test_value_by_hand(function, arrays, keywords, expected):
  arrays = [jnp.array(array) for array in arrays]
  loss = jax.jit(lambda *arrays: function(*arrays, **keywords))(*arrays)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_srd_diverges_at_equality_without_a_gradient():
  x = jnp.array([[1.0, 2.0]])
  value, gradient = jax.value_and_grad(losses.srd)(x, x)
  assert value == -jnp.inf
  np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("size", [1e-20, 1e20])
def test_srd_takes_differences_of_any_size(size):
  student, teacher = jnp.array([[size, 0.0]]), jnp.array([[0.0, 0.0]])
  value, gradient = jax.value_and_grad(losses.srd)(student, teacher)
  assert value == pytest.approx(4 * math.log(size), rel=1e-5)
  # d/dx 4 log x
  np.testing.assert_allclose(gradient[0], [4 / size, 0], rtol=1e-5)


@pytest.mark.parametrize("size", [1.0, 1e10, 1e30])
def test_vkd_normalises_a_teacher_of_any_size(size):
  teacher = size * jnp.array([[4.0, 8.0]])
  np.testing.assert_allclose(
    losses.vkd(jnp.array([[-0.5, -2.0]]), teacher), [1.3125], rtol=1e-5
  )


def test_srrl_drops_classes_that_are_masked_on_both_sides():
  maps, logits = jnp.ones((1, 1, 1, 1)), jnp.array([[1.0, -jnp.inf]])
  value, gradient = jax.value_and_grad(
    lambda s: losses.srrl(maps, maps, s, logits + 2.0).sum()
  )(logits)
  # The mean is over the one class that is there: 2^2, and its slope -2 * 2.
  assert value == 4
  np.testing.assert_allclose(gradient, [[-4, 0]])


ONE, ROWS = jnp.zeros((1, 2, 2, 3)), jnp.zeros((2, 3))
REFUSED = {
  "simkd": lambda: losses.simkd(ONE, ONE[..., :2]),
  "srrl": lambda: losses.srrl(ONE, ONE[:, :1], ROWS[:1], ROWS[:1]),
  "srrl: logits": lambda: losses.srrl(ONE, ONE, ROWS, ROWS),
  "srd": lambda: losses.srd(ROWS, ROWS[:1]),
  "vkd": lambda: losses.vkd(ROWS, ROWS[:, :2]),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=message) as error:
    call()
  assert str(error.value).count("(") >= 2, "both shapes"
