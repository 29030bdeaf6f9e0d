"""Losses between feature maps: hand-worked values, dead channels, blocks."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

from kdjax.losses import _features, maps


def row(*positions):
  """A map of one row: one tuple of channels (or one number) a position."""
  return np.array(positions, np.float32).reshape(1, 1, len(positions), -1)


def normal(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


# name: (function, student, teacher, keywords, expected)
BY_HAND = {
  # Energies (9, 16) / sqrt(337) and (1, 0)
  "attention": (
    losses.attention_transfer,
    row(3, 4),
    row(1, 0),
    {},
    ((9 / math.sqrt(337) - 1) ** 2 + 256 / 337) / 2,
  ),
  # |f|^1: (3, 4) / 5 - (1, 0) = (-0.4, 0.8)
  "attention p = 1": (
    losses.attention_transfer,
    row(-3, 4),
    row(2, 0),
    {"p": 1},
    0.4,
  ),
  "attention l1": (
    losses.attention_transfer,
    row(3, 4),
    row(-2, 0),
    {"p": 1, "distance": "l1"},
    0.6,
  ),
  "attention l2": (
    losses.attention_transfer,
    row(3, 4),
    row(2, 0),
    {"p": 1, "distance": "l2"},
    math.sqrt(0.8),
  ),
  # Two channels with mean |f| = (3, 4) against one.
  "attention over channels": (
    losses.attention_transfer,
    row((6, 0), (-3, 5)),
    row(3, 4),
    {"p": 1},
    0.0,
  ),
  # A dead student map is at distance 1 from any unit vector.
  "attention of nothing": (
    losses.attention_transfer,
    row(0, 0),
    row(1, 0),
    {},
    0.5,
  ),
  # x = (3, 4) / 5, y = (1, 0): 1 + 1 - 2 * 0.6^2
  "nst": (losses.nst, row(3, 4), row(2, 0), {}, 2 - 0.72),
  "nst linear": (losses.nst, row(3, 4), row(2, 0), {"kernel": "linear"}, 0.8),
  # x_1 = (1, 0), x_2 = (0, 1): mean k(x, x) = 1/2, mean k(x, y) = 1/2
  "nst of two channels against one": (
    losses.nst,
    row((1, 0), (0, 1)),
    row(2, 0),
    {},
    0.5,
  ),
  "nst with a dead channel": (
    losses.nst,
    row((1, 0), (0, 0)),
    row(2, 0),
    {},
    1 / 4 + 1 - 2 / 2,
  ),
  # KL((e, 1) / (e + 1) || (1, 1) / 2), the second channel agrees
  "cwd": (
    losses.cwd,
    row((0, 7), (0, 9)),
    row((1, 1), (0, 3)),
    {"temperature": 1.0},
    (math.e / (math.e + 1) - math.log((math.e + 1) / 2)) / 2,
  ),
  "cwd at T = 2": (
    losses.cwd,
    row(0, 0),
    row(2, 0),
    {"temperature": 2.0},
    4 * (math.e / (math.e + 1) - math.log((math.e + 1) / 2)),
  ),
  "cwd without T^2": (
    losses.cwd,
    row(0, 0),
    row(2, 0),
    {"temperature": 2.0, "t_squared": False},
    math.e / (math.e + 1) - math.log((math.e + 1) / 2),
  ),
  # Pooled to one cell each class map is 1 or -1.
  "cat_kd": (
    losses.cat_kd,
    row((1, 5), (3, 3)),
    row((9, -1)),
    {"size": 1},
    2.0,
  ),
  # ((2 - 9)^2 + (4 + 1)^2) / 2
  "cat_kd raw": (
    losses.cat_kd,
    row((1, 5), (3, 3)),
    row((9, -1)),
    {"size": 1, "normalize": False},
    37.0,
  ),
  "review_kd of one cell": (losses.review_kd, row(3), row(1), {}, 4.0),
  # Height 2: level 1 alone. Full map: 1/4 * (16 + 0 + 0 + 0) = 4, pooled: 1.
  "review_kd": (
    losses.review_kd,
    jnp.array([4.0, 0.0, 0.0, 0.0]).reshape(1, 2, 2, 1),
    jnp.zeros((1, 2, 2, 1)),
    {},
    (4 + 1 / 2) / 1.5,
  ),
}


@pytest.mark.parametrize(
  ("function", "student", "teacher", "keywords", "expected"),
  BY_HAND.values(),
  ids=BY_HAND,
)
def test_value_by_hand(function, student, teacher, keywords, expected):
  loss = jax.jit(lambda s, t: function(s, t, **keywords))(student, teacher)
  np.testing.assert_allclose(loss, [expected], rtol=1e-5, atol=1e-7)


def nst_by_definition(student, teacher):
  """The three means over channel pairs, in float64."""
  x, y = (
    np.asarray(f, np.float64).reshape(f.shape[0], -1, f.shape[-1])
    for f in (student, teacher)
  )
  x, y = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (x, y))

  def mean(a, b):
    return (np.einsum("npi,npj->nij", a, b) ** 2).mean(axis=(1, 2))

  return mean(x, x) + mean(y, y) - 2 * mean(x, y)


@pytest.mark.parametrize("block", [1 << 22, 1], ids=["at once", "in blocks"])
@pytest.mark.parametrize(
  ("student", "teacher"),
  [((4, 4, 3), (4, 4, 2)), ((2, 2, 7), (2, 2, 9)), ((2, 2, 5), (2, 2, 5))],
  ids=["few channels", "few positions", "same channels"],
)
def test_nst_is_its_definition(monkeypatch, block, student, teacher):
  monkeypatch.setattr(_features, "BLOCK", block)
  random = np.random.default_rng(0)
  x, y = (random.normal(size=(3, *s)) for s in (student, teacher))
  # Compiled anew, so that patched settings are seen.
  loss = jax.jit(functools.partial(maps.nst))(np.float32(x), np.float32(y))
  np.testing.assert_allclose(loss, nst_by_definition(x, y), rtol=1e-5)


def test_nst_has_the_same_gradient_in_blocks(monkeypatch):
  s, t = normal(2, 3, 4, 4, 2)

  def gradient(s):
    return jax.jit(jax.grad(lambda s: maps.nst(s, t).sum()))(s)

  whole = gradient(s)
  monkeypatch.setattr(_features, "BLOCK", 1)
  np.testing.assert_allclose(gradient(s), whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(1, 6, 6, 3), (1, 2, 2, 9)])
def test_nst_keeps_its_digits_near_its_minimum(shape):
  # The three means are about 1 and would leave 1e-7 of noise.
  s = np.random.default_rng(0).normal(size=shape)
  t = s + 1e-4 * np.random.default_rng(1).normal(size=shape)
  s, t = (np.float32(side) for side in (s, t))
  loss = losses.nst(jnp.array(s), jnp.array(t))
  assert loss[0] < 1e-7
  np.testing.assert_allclose(loss, nst_by_definition(s, t), rtol=1e-2)


@pytest.mark.parametrize("function", [losses.nst, losses.cat_kd])
def test_a_dead_channel_gets_no_gradient(function):
  student, teacher = normal(2, 1, 4, 4, 3)
  student[..., 1] = 0
  gradient = jax.jit(jax.grad(lambda s: function(s, teacher).sum()))(student)
  gradient = np.asarray(gradient)
  assert not gradient[..., 1].any()
  assert gradient[..., 0].any()


@pytest.mark.parametrize("distance", ["mse", "l2", "l1"])
@pytest.mark.parametrize("size", [1e-5, 1.0, 1e25])
def test_attention_does_not_depend_on_the_features_size(distance, size):
  student, teacher = normal(2, 1, 4, 4, 3)
  expected = losses.attention_transfer(student, teacher, distance=distance)
  loss = losses.attention_transfer(
    size * student, size * teacher, distance=distance
  )
  np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize("distance", ["mse", "l2", "l1"])
def test_attention_has_no_gradient_at_its_minimum(distance):
  features = np.float32([1.0, -2.0, 0.0]).reshape(1, 3, 1, 1)

  def gradient(features, p):
    return jax.grad(
      lambda s: maps.attention_transfer(
        s, features, p=p, distance=distance
      ).sum()
    )(features)

  powers = 0.5, 1, 2, 3
  found = jax.jit(lambda x: [gradient(x, p) for p in powers])(features)
  np.testing.assert_array_equal(found, np.zeros((4, *features.shape)))


def test_review_kd_skips_levels_as_large_as_the_map():
  student, teacher = normal(2, 1, 4, 4, 3)
  np.testing.assert_array_equal(
    losses.review_kd(student, teacher, levels=(8, 4, 2, 1)),
    losses.review_kd(student, teacher, levels=(2, 1)),
  )


def test_cwd_hands_a_gradient_to_the_temperature():
  student, teacher = normal(2, 1, 2, 2, 3)

  @jax.jit
  @jax.value_and_grad
  def loss(temperature):
    return maps.cwd(student, teacher, temperature=temperature).sum()

  slope = (loss(4.01)[0] - loss(3.99)[0]) / 0.02
  assert loss(4.0)[1] == pytest.approx(float(slope), rel=1e-2)


def test_aliases_are_the_same_objects():
  assert losses.at is losses.attention_transfer
  assert losses.hcl is losses.review_kd


ONE = jnp.zeros((1, 2, 2, 3))
REFUSED = {
  "attention_transfer": lambda: losses.attention_transfer(ONE, ONE[0]),
  "nst": lambda: losses.nst(ONE, jnp.zeros((2, 2, 2, 3))),
  "cwd": lambda: losses.cwd(ONE, ONE[:, :1]),
  "cat_kd": lambda: losses.cat_kd(ONE, ONE[..., :2]),
  "review_kd": lambda: losses.review_kd(ONE, ONE[:, :1]),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=REFUSED)
def test_refused_shapes_are_named(message, call):
  with pytest.raises(ValueError, match=message) as error:
    call()
  assert str(error.value).count("(") >= 2, "both shapes"


@pytest.mark.parametrize(
  "call",
  [
    lambda: losses.at(ONE, ONE, distance="l3"),
    lambda: losses.at(ONE, ONE, p=0),
    lambda: losses.nst(ONE, ONE, kernel="rbf"),
    lambda: losses.cwd(ONE, ONE, temperature=0.0),
    lambda: losses.cwd(ONE, ONE, temperature=jnp.ones(3)),
    lambda: losses.cat_kd(ONE, ONE, size=0),
  ],
)
def test_refused_settings(call):
  with pytest.raises(ValueError, match="got"):
    call()
