"""Distances and angles: hand-worked values, blocks, close and equal pairs."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import losses
from kdjax.losses import _features, _math, geometry

LINE = ((0.0,), (1.0,), (2.0,))
EQUILATERAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

# name: (function, student, teacher, keywords, expected)
BY_HAND = {
  # Distances over their mean: (3/4, 3/4, 3/2) against 1; each pair twice.
  "distance": (
    losses.rkd_distance,
    LINE,
    EQUILATERAL,
    {},
    2 * (1 / 32 + 1 / 32 + 1 / 8) / 9,
  ),
  # Squares over their mean: (1/2, 1/2, 2) against 1; huber(1) = 1/2.
  "squared distance": (
    losses.rkd_distance,
    LINE,
    EQUILATERAL,
    {"squared": True},
    2 * (1 / 8 + 1 / 8 + 1 / 2) / 9,
  ),
  # Seen from the ends: 1 against 1/2; from the middle: -1 against 1/2.
  "angle": (
    losses.rkd_angle,
    LINE,
    EQUILATERAL,
    {},
    2 * (1 / 8 + 1 / 8 + 1) / 27,
  ),
  "both": (
    losses.rkd,
    LINE,
    EQUILATERAL,
    {"distance_weight": 9.0, "angle_weight": 27.0},
    3 / 8 + 5 / 2,
  ),
  "two examples": (losses.rkd, LINE[:2], EQUILATERAL[:2], {}, 0.0),
}


@pytest.mark.parametrize(
  ("function", "student", "teacher", "keywords", "expected"),
  BY_HAND.values(),
  ids=BY_HAND,
)
def test_value_by_hand(function, student, teacher, keywords, expected):
  student, teacher = jnp.array(student), jnp.array(teacher)
  loss = jax.jit(lambda s, t: function(s, t, **keywords))(student, teacher)
  assert loss.shape == ()
  assert loss == pytest.approx(expected, rel=1e-5, abs=1e-6)


def batch(seed=0, n=7, d=5):
  return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def huber(x):
  return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def test_angle_is_its_definition():
  student, teacher = (np.asarray(batch(seed), np.float64) for seed in (0, 1))

  def cosine(rows, i, j, k):
    a, b = rows[i] - rows[j], rows[i] - rows[k]
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

  total = sum(
    huber(cosine(student, i, j, k) - cosine(teacher, i, j, k))
    for i, j, k in itertools.product(range(7), repeat=3)
    if i not in (j, k)
  )
  loss = jax.jit(losses.rkd_angle)(batch(0), batch(1))
  assert loss == pytest.approx(total / 7**3, rel=1e-5)


PARTS = [losses.rkd_distance, losses.rkd_angle]
FUNCTIONS = [*PARTS, losses.rkd]


def with_gradient(function):
  """Compiled anew at each call, so that patched settings are seen."""
  return jax.jit(jax.value_and_grad(functools.partial(function)))


as_it_is = functools.cache(with_gradient)


@pytest.mark.parametrize("function", PARTS)
@pytest.mark.parametrize("elements", [1, 300], ids=["rows", "blocks"])
def test_blocks_change_nothing(monkeypatch, function, elements):
  student, teacher = batch(0), batch(1)
  value, gradient = as_it_is(function)(student, teacher)
  monkeypatch.setattr(_features, "BLOCK", elements)
  blocked_value, blocked_gradient = with_gradient(function)(student, teacher)
  assert blocked_value == pytest.approx(float(value), rel=1e-6)
  np.testing.assert_allclose(blocked_gradient, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("function", PARTS)
@pytest.mark.parametrize("block", [1 << 22, 1], ids=["at once", "in blocks"])
def test_gram_matrix_and_differences_agree(monkeypatch, function, block):
  # Student and teacher as far as possible from close pairs, and not centred.
  student = np.float32(5 * np.eye(7) + 0.3 * batch(0, d=7) + 2.0)
  teacher = np.float32(4 * np.eye(7, 9) + 0.3 * batch(1, d=9) - 3.0)
  value, gradient = with_gradient(function)(student, teacher)
  monkeypatch.setattr(geometry, "_MANY", 0)
  monkeypatch.setattr(_features, "BLOCK", block)
  monkeypatch.setattr(_features, "squared_distances", None)
  monkeypatch.setattr(_math, "unit", None)  # What the differences need.
  jax.clear_caches()
  with jax.disable_jit():  # Takes one branch alone.
    by_gram = jax.value_and_grad(function)(student, teacher)
  assert by_gram[0] == pytest.approx(float(value), rel=1e-4)
  np.testing.assert_allclose(by_gram[1], gradient, rtol=1e-3, atol=1e-5)


def with_second(rows, row):
  return np.concatenate([rows[:1], row[None], rows[2:]])


def close_pair(rows):
  return with_second(rows, rows[0] + 1e-3)


def duplicates(rows):
  return with_second(rows, rows[0])


def far_away(rows):
  return np.round(rows * 256) / 256 + 1000


@pytest.mark.slow
@pytest.mark.parametrize("function", PARTS)
@pytest.mark.parametrize(
  "change", [close_pair, duplicates, far_away, np.zeros_like]
)
def test_many_examples_keep_the_digits_of_few(monkeypatch, function, change):
  student, teacher = change(batch(0)), batch(1)
  value, gradient = with_gradient(function)(student, teacher)
  monkeypatch.setattr(geometry, "_MANY", 0)
  many_value, many_gradient = with_gradient(function)(student, teacher)
  assert many_value == pytest.approx(float(value), rel=1e-4)
  np.testing.assert_allclose(many_gradient, gradient, rtol=1e-3, atol=1e-4)
  stacked = jax.vmap(with_gradient(function))(student[None], teacher[None])
  assert stacked[0][0] == pytest.approx(float(value), rel=1e-4)
  np.testing.assert_allclose(stacked[1][0], gradient, rtol=1e-3, atol=1e-4)


def test_angles_of_a_large_batch_take_little_memory():
  shape = jax.ShapeDtypeStruct((512, 64), jnp.float32)
  compiled = jax.jit(jax.grad(losses.rkd_angle)).lower(shape, shape).compile()
  # The angles alone, of both sides: 2 * 512^3 * 4 bytes = 1 GB.
  assert compiled.memory_analysis().temp_size_in_bytes < 100e6


@pytest.mark.parametrize("function", PARTS)
def test_no_gradient_passes_through_a_pair_of_duplicates(function):
  student, teacher = np.array(batch(0)), np.array(batch(1))
  student[1] = student[0]
  value, gradient = as_it_is(function)(student, teacher)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()
  # Any motion of the pair that keeps its middle would come from the pair.
  _, alone = as_it_is(function)(student[:2], teacher[:2])
  np.testing.assert_array_equal(alone, 0)


@pytest.mark.parametrize("function", PARTS)
def test_a_batch_of_duplicates_is_finite(function):
  for size in (0.0, 1.0, 1e25):
    same = np.full((7, 5), size, np.float32)
    value, gradient = as_it_is(function)(same, batch(1))
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("function", PARTS)
@pytest.mark.parametrize("size", [1e-4, 1e25])
def test_size_of_the_features_does_not_matter(function, size):
  student, teacher = batch(0), batch(1)
  call = as_it_is(function)
  value, gradient = call(student, teacher)
  scaled_value, scaled_gradient = call(size * student, size * teacher)
  assert scaled_value == pytest.approx(float(value), rel=1e-4)
  np.testing.assert_allclose(
    size * scaled_gradient, gradient, rtol=1e-3, atol=1e-6
  )


@pytest.mark.parametrize("function", PARTS)
def test_close_pairs_far_from_the_origin_keep_their_digits(function):
  # On a grid, so that the shift by 1000 is exact: a Gram matrix of rows of
  # length 2000 is off by 0.5 where squared distances are of order 1e-3.
  random = np.random.default_rng(0)
  student, teacher = random.integers(-64, 64, size=(2, 7, 5)) / 1024
  call = as_it_is(function)
  near, far = (
    call(*((x + shift).astype(np.float32) for x in (student, teacher)))
    for shift in (0, 1000)
  )
  assert far[0] == pytest.approx(float(near[0]), rel=1e-4)
  np.testing.assert_allclose(far[1], near[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("function", PARTS)
def test_motion_of_the_batch_does_not_matter(function):
  student, teacher = np.asarray(batch(0)), batch(1)
  rotation, _ = np.linalg.qr(batch(2, n=5))
  moved = (3 * student @ rotation + np.arange(5.0)).astype(np.float32)
  call = as_it_is(function)
  assert call(moved, teacher)[0] == pytest.approx(
    float(call(student, teacher)[0]), rel=1e-4
  )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_refused_shapes_are_named(function):
  with pytest.raises(ValueError, match=function.__name__) as error:
    function(batch(n=3), batch(n=4))
  assert "(3, 5) and (4, 5)" in str(error.value)
  with pytest.raises(ValueError, match="at least two"):
    function(batch(n=1), batch(n=1))
