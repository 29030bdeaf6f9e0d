"""Feature losses: values worked by hand, and what is peculiar to each."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

from kdjax.losses.feature import mgd

SOFTPLUS_0 = math.log(2)  # softplus(0) = log(1 + 1)

# name: (function, arguments, keywords, expected)
BY_HAND = {
  # ((1 - 3)^2 + (2 - 2)^2) / 2, ((0 - 1)^2 + (0 + 3)^2) / 2
  "fitnet": (
    losses.fitnet,
    ([[1.0, 2.0], [0.0, 0.0]], [[3.0, 2.0], [1.0, -3.0]]),
    {},
    [2.0, 5.0],
  ),
  "fitnet summed": (
    losses.fitnet,
    ([[1.0, 2.0], [0.0, 0.0]], [[3.0, 2.0], [1.0, -3.0]]),
    {"reduce": "sum"},
    [4.0, 10.0],
  ),
  "fitnet of single numbers": (losses.fitnet, ([1.0], [4.0]), {}, [9.0]),
  # v = log 2 + 1; ((1 - 3)^2 / v + log v) / 2
  "vid": (
    losses.vid,
    ([[[[1.0]]]], [[[[3.0]]]], [0.0]),
    {"eps": 1.0},
    [(4 / (SOFTPLUS_0 + 1) + math.log(SOFTPLUS_0 + 1)) / 2],
  ),
  # The student's 2 x 2 map is averaged to 2; softplus(300) = 300.
  "vid pooled, huge variance": (
    losses.vid,
    ([[[[1.0], [3.0]], [[0.0], [4.0]]]], [[[[5.0]]]], [300.0]),
    {},
    [(9 / 300 + math.log(300)) / 2],
  ),
  # (3, 4) / 5 - (1, 0): (|-0.4| + |0.8|) / 2
  "factor_transfer": (
    losses.factor_transfer,
    ([[3.0, 4.0]], [[2.0, 0.0]]),
    {},
    [0.6],
  ),
  "factor_transfer squared": (
    losses.factor_transfer,
    ([[3.0, 4.0]], [[2.0, 0.0]]),
    {"p": 2},
    [(0.16 + 0.64) / 2],
  ),
  # 2 - 2 cosine = 2 - 2 * 3/5
  "patient_kd": (losses.patient_kd, ([[3.0, 4.0]], [[2.0, 0.0]]), {}, [0.8]),
  # The mean of 0.8 and of 4 (opposite directions).
  "patient_kd over layers": (
    losses.patient_kd,
    ([[[3.0, 4.0], [1.0, 0.0]]], [[[2.0, 0.0], [-1.0, 0.0]]]),
    {},
    [2.4],
  ),
  # A zero state is at distance 1 from any unit vector.
  "patient_kd of zero": (
    losses.patient_kd,
    ([[0.0, 0.0]], [[2.0, 0.0]]),
    {},
    [1.0],
  ),
  # 0.5 * ((2 - 0)^2 + (1 - 1)^2) + 0.1 / 0.25 * (3 - 1)^2
  "vitkd": (
    losses.vitkd,
    ([[[[2.0], [1.0]]]], [[[[0.0], [1.0]]]])
    + ([[[3.0], [9.0]]], [[[1.0], [0.0]]], [[True, False]]),
    {"alpha": 0.5, "beta": 0.1, "lam": 0.25},
    [3.6],
  ),
}


@pytest.mark.parametrize(
  ("function", "arrays", "keywords", "expected"), BY_HAND.values(), ids=BY_HAND
)
def test_value_by_hand(function, arrays, keywords, expected):
  arrays = [jnp.array(array) for array in arrays]
  loss = jax.jit(lambda *arrays: function(*arrays, **keywords))(*arrays)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_vid_trains_the_variances():
  # d/dv (d^2 / v + log v) / 2 is zero at v = d^2 = 4.
  raw = np.float32(np.log(np.expm1([4.0 - 1e-5, 1.0, 9.0])))
  student, teacher = jnp.zeros((1, 1, 1, 3)), jnp.full((1, 1, 1, 3), 2.0)
  gradient = jax.jit(
    jax.grad(lambda raw: jnp.sum(losses.vid(student, teacher, raw)))
  )(raw)
  assert gradient[0] == pytest.approx(0, abs=1e-5)
  assert gradient[1] < 0 < gradient[2]


@pytest.mark.parametrize("raw", [-1e4, 1e4])
def test_vid_is_finite_for_any_variance(raw):
  student, teacher = jnp.zeros((1, 1, 1, 1)), jnp.ones((1, 1, 1, 1))
  value, gradient = jax.jit(
    jax.value_and_grad(lambda raw: jnp.sum(losses.vid(student, teacher, raw)))
  )(jnp.array([raw]))
  assert jnp.isfinite(value)
  assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("p", [0.5, 1, 2])
def test_factor_transfer_has_no_gradient_at_its_minimum(p):
  factor = jnp.array([[1.0, -2.0, 0.0]])
  gradient = jax.jit(
    jax.grad(lambda s: jnp.sum(losses.factor_transfer(s, factor, p=p)))
  )(factor)
  np.testing.assert_array_equal(gradient, 0)


def test_factor_transfer_ignores_the_size_of_a_factor():
  student, teacher = jnp.array([[3e30, 4e30]]), jnp.array([[2e-9, 0.0]])
  np.testing.assert_allclose(
    losses.factor_transfer(student, teacher), [0.6], rtol=1e-5
  )


def test_mgd_generates_in_the_students_own_precision():
  seen = []

  def generate(x):
    seen.append(x)
    return jnp.concatenate([x, x], axis=-1)

  student = jnp.ones((2, 1, 1, 2), jnp.bfloat16)
  mask = jnp.array([[[[True, False]]]])
  loss = mgd(student, jnp.zeros((2, 1, 1, 4)), mask, generate=generate)
  assert seen[0].dtype == jnp.bfloat16
  np.testing.assert_array_equal(seen[0][0, 0, 0], [1, 0])
  assert loss.dtype == jnp.float32
  np.testing.assert_array_equal(loss, [2, 2])


def test_mgd_teaches_the_generation_block():
  student, teacher = jnp.ones((1, 1, 1, 2)), jnp.full((1, 1, 1, 2), 3.0)
  mask = jnp.array([[[[1.0, 0.0]]]])

  def loss(scale):
    return losses.mgd(
      student, teacher, mask, generate=lambda x: x * scale
    ).sum()

  # (scale - 3)^2 + (0 - 3)^2 at scale 1
  assert loss(1.0) == 13
  assert jax.grad(loss)(1.0) == -4


def test_vitkd_lets_kept_tokens_hold_anything():
  shallow, deep = jnp.zeros((1, 1, 2, 1)), jnp.array([[[jnp.nan], [1.0]]])
  erased = jnp.array([[False, True]])
  gradient = jax.jit(
    jax.grad(
      lambda deep: jnp.sum(
        losses.vitkd(shallow, shallow, deep, jnp.zeros_like(deep), erased)
      )
    )
  )(deep)
  # 2 * 3e-6 / 0.5
  np.testing.assert_allclose(gradient.ravel(), [0, 1.2e-5], rtol=1e-6)


def test_aliases_are_the_same_objects():
  assert losses.hint is losses.fitnet
  assert losses.ft is losses.factor_transfer
  assert losses.pkd is losses.patient_kd


ONE = jnp.zeros((1, 2, 2, 3))
REFUSED = {
  "fitnet": lambda: losses.fitnet(ONE, ONE[..., :2]),
  "vid": lambda: losses.vid(ONE, ONE[..., :2], jnp.zeros(3)),
  "vid: log_scale": lambda: losses.vid(ONE, ONE, jnp.zeros(2)),
  "factor_transfer": lambda: losses.factor_transfer(ONE, ONE[:, :1]),
  "mgd: mask": lambda: losses.mgd(
    ONE, ONE, jnp.ones((1, 1, 1, 2)), generate=lambda x: x
  ),
  "mgd: generate": lambda: losses.mgd(
    ONE, ONE, jnp.ones((1, 1, 1, 3)), generate=lambda x: x[..., :1]
  ),
  "vitkd": lambda: losses.vitkd(
    ONE, ONE, ONE[0], ONE[0, :1], jnp.ones((2, 2), bool)
  ),
  "vitkd: mask": lambda: losses.vitkd(
    ONE, ONE, ONE[0], ONE[0], jnp.ones((1, 2), bool)
  ),
  "patient_kd": lambda: losses.patient_kd(ONE, ONE),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=message) as error:
    call()
  assert str(error.value).count("(") >= 2, "both shapes"
