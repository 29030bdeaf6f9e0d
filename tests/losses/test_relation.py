"""Relations of a batch: hand-worked values, both gradients, close pairs."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

ORTHOGONAL = ((1.0, 0.0), (0.0, 2.0))
PARALLEL = ((1.0, 1.0), (3.0, 3.0))

# name: (function, student, teacher, keywords, expected)
BY_HAND = {
  # S = ((1, 1/2), (1/2, 1)), Q = ((2, 1), (1, 2)) / 3, P = 1/2 everywhere
  "pkt": (
    losses.pkt,
    ORTHOGONAL,
    PARALLEL,
    {},
    (math.log(3 / 4) + math.log(3 / 2)) / 4,
  ),
  # A zero row has S = 1/2 with itself and with the others: P = 1/2 there.
  "pkt with a zero row": (
    losses.pkt,
    ((0.0, 0.0), (0.0, 2.0)),
    PARALLEL,
    {},
    (math.log(3 / 4) + math.log(3 / 2)) / 8,
  ),
  # G = I against all 1 / sqrt(2)
  "similarity_preserving": (
    losses.similarity_preserving,
    ORTHOGONAL,
    ((1.0,), (1.0,)),
    {},
    (2 * (1 - math.sqrt(0.5)) ** 2 + 1) / 4,
  ),
  # K = I against all 1: two of four entries differ by 1
  "cc bilinear": (
    losses.correlation_congruence,
    ORTHOGONAL,
    PARALLEL,
    {"kernel": "bilinear"},
    0.5,
  ),
  # (1, 4, 4) in ORTHOGONAL, K = ((2, 6), (6, 18)) in PARALLEL
  "cc bilinear, not normalised": (
    losses.correlation_congruence,
    ORTHOGONAL,
    PARALLEL,
    {"kernel": "bilinear", "normalize": False},
    (1 + 36 + 36 + 14**2) / 4,
  ),
  # exp(-0.8) (1 + 0.8 x + 0.32 x^2): x = 0 against x = 1, twice
  "cc gaussian": (
    losses.correlation_congruence,
    ORTHOGONAL,
    PARALLEL,
    {},
    math.exp(-1.6) * 1.12**2 / 2,
  ),
  "cc gaussian of order 0": (
    losses.correlation_congruence,
    ORTHOGONAL,
    PARALLEL,
    {"order": 0},
    0.0,
  ),
  # |(0, -1)| . |(-3, -1)|
  "cc consecutive": (
    losses.correlation_congruence,
    ORTHOGONAL,
    PARALLEL,
    {"kernel": "consecutive", "normalize": False},
    1.0,
  ),
  # <1, 2> = 0 against 6
  "inner": (losses.relation_mse, ORTHOGONAL, PARALLEL, {}, 36.0),
  "inner, summed": (
    losses.relation_mse,
    ORTHOGONAL,
    PARALLEL,
    {"reduce": "sum"},
    72.0,
  ),
  # sqrt(5) against sqrt(8)
  "euclidean": (
    losses.relation_mse,
    ORTHOGONAL,
    PARALLEL,
    {"phi": "euclidean"},
    (math.sqrt(5) - math.sqrt(8)) ** 2,
  ),
  # 0 against 1
  "cosine": (
    losses.relation_mse,
    ORTHOGONAL,
    PARALLEL,
    {"phi": "cosine"},
    1.0,
  ),
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
  assert loss == pytest.approx(expected, rel=1e-5, abs=1e-7)


def batch(seed=0, n=6, d=5):
  return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("kernel", ["gaussian", "bilinear", "consecutive"])
def test_correlation_congruence_teaches_both_sides(kernel):
  student, teacher = batch(0), batch(1)

  def loss(student, teacher):
    return losses.cc(student, teacher, kernel=kernel)

  slopes = jax.jit(jax.grad(loss, (0, 1)))
  to_student, to_teacher = slopes(student, teacher)
  # The loss is symmetric in its two sides, and so are the gradients.
  from_teacher, from_student = slopes(teacher, student)
  assert to_teacher.any()
  np.testing.assert_allclose(to_student, from_student, rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(to_teacher, from_teacher, rtol=1e-4, atol=1e-7)


def test_gaussian_series_tends_to_the_gaussian_kernel():
  student, teacher = batch(0), batch(1)

  def gaussian(x):
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    squares = ((x[:, None] - x[None]) ** 2).sum(-1)
    return np.exp(-0.4 * squares)

  expected = np.square(
    gaussian(np.asarray(student)) - gaussian(np.asarray(teacher))
  ).mean()
  loss = losses.cc(student, teacher, gamma=0.4, order=12)
  assert loss == pytest.approx(expected, rel=1e-4)


@functools.cache
def with_gradient(function, keywords=()):
  return jax.jit(
    jax.value_and_grad(functools.partial(function, **dict(keywords)))
  )


SCALE_FREE = [losses.pkt, losses.sp, losses.cc]


@pytest.mark.parametrize("function", SCALE_FREE)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e25])
def test_size_of_the_features_does_not_matter(function, size):
  student, teacher = batch(0), batch(1)
  # eps of pkt counts where features are of its size.
  keywords = (("eps", 1e-12),) if function is losses.pkt else ()
  slope = with_gradient(function, keywords)
  value, gradient = slope(student, teacher)
  scaled_value, scaled_gradient = slope(size * student, size * teacher)
  assert scaled_value == pytest.approx(float(value), rel=1e-3)
  np.testing.assert_allclose(
    size * scaled_gradient, gradient, rtol=1e-3, atol=1e-6
  )


@pytest.mark.parametrize("function", [losses.pkt, losses.cc])
def test_a_zero_row_has_no_gradient(function):
  student, teacher = batch(0), batch(1)
  student[2] = 0
  _, gradient = with_gradient(function)(student, teacher)
  assert not gradient[2].any()
  assert jnp.isfinite(gradient).all()
  assert gradient[0].any()


def test_a_zero_row_of_similarities_stays_zero():
  student = jnp.array([[0.0, 0.0], [1.0, 0.0]])
  value, gradient = with_gradient(losses.sp)(student, student)
  assert value == 0
  np.testing.assert_array_equal(gradient, 0)


def test_consecutive_has_no_gradient_at_its_minimum():
  student = batch(0)
  keywords = (("kernel", "consecutive"),)
  _, gradient = with_gradient(losses.cc, keywords)(student, student)
  np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("phi", ["inner", "euclidean", "cosine"])
def test_relation_mse_does_not_count_the_diagonal(phi):
  student, teacher = batch(0, n=4), batch(1, n=4)

  def relation(a, b):
    return {
      "inner": a @ b,
      "euclidean": np.linalg.norm(a - b),
      "cosine": a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    }[phi]

  s, t = np.asarray(student, np.float64), np.asarray(teacher, np.float64)
  expected = sum(
    (relation(s[i], s[j]) - relation(t[i], t[j])) ** 2
    for i in range(4)
    for j in range(4)
    if i != j
  )
  loss = losses.relation_mse(student, teacher, phi=phi, reduce="sum")
  assert loss == pytest.approx(expected, rel=1e-5)


def test_pkt_keeps_its_digits_near_its_minimum():
  # 30 000 times this is trained on: noise of 1e-8 would be visible.
  student = batch(0, n=8)
  teacher = student + np.float32(1e-3) * batch(1, n=8)
  value = losses.pkt(student, teacher)
  with jax.enable_x64(True):
    exact = losses.pkt(np.float64(student), np.float64(teacher))
  assert value == pytest.approx(float(exact), rel=1e-2)
  assert 0 < value < 1e-7


def test_aliases_are_the_same_objects():
  assert losses.sp is losses.similarity_preserving
  assert losses.cc is losses.correlation_congruence


ALL = [
  losses.pkt,
  losses.similarity_preserving,
  losses.correlation_congruence,
  losses.relation_mse,
]


@pytest.mark.parametrize("function", ALL)
def test_refused_shapes_are_named(function):
  with pytest.raises(ValueError, match=function.__name__) as error:
    function(batch(n=3), batch(n=4))
  assert "(3, 5) and (4, 5)" in str(error.value)


@pytest.mark.parametrize("function", ALL)
def test_one_example_has_no_relations(function):
  with pytest.raises(ValueError, match="at least two"):
    function(batch(n=1), batch(n=1))
