"""Losses of numbers and normal distributions: by hand, and by SciPy's densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from compiled import losses
from hand import check_value

NAN = float("nan")


def answers(means, variances):
  return np.float32(np.concatenate([means, np.log(variances)], axis=-1))


@pytest.mark.parametrize(
  ("student", "teacher", "targets", "margin", "want"),
  [
    # Errors 4 and 1: the student is worse.
    ([[2.0]], [[1.0]], [[0.0]], 0.0, [4.0]),
    ([[1.0]], [[2.0]], [[0.0]], 0.0, [0.0]),
    # Better by 3, and it has to be by more than 2, or 4.
    ([[1.0]], [[2.0]], [[0.0]], 2.0, [0.0]),
    ([[1.0]], [[2.0]], [[0.0]], 4.0, [1.0]),
    # As good as the teacher.
    ([[1.0]], [[-1.0]], [[0.0]], 0.0, [0.0]),
    ([[1.0]], [[-1.0]], [[0.0]], 0.5, [1.0]),
    # Means over outputs: (1 + 9) / 2 against (4 + 0) / 2.
    ([[1.0, 3.0]], [[2.0, 0.0]], [[0.0, 0.0]], 0.0, [5.0]),
    # What is not known counts nowhere: 1 against 4, then nothing.
    ([[1.0, 3.0]], [[2.0, 0.0]], [[0.0, NAN]], 0.0, [0.0]),
    ([[3.0, 1.0]], [[2.0, 0.0]], [[0.0, np.inf]], 0.0, [9.0]),
    ([[1.0, 3.0]], [[2.0, 0.0]], [[NAN, NAN]], 9.0, [0.0]),
  ],
)  # fmt: skip
def test_teacher_bounded_by_hand(student, teacher, targets, margin, want):
  given = [np.float32(x) for x in (student, teacher, targets)]
  check_value(losses.teacher_bounded, given, {"margin": margin}, want)


def test_teacher_bounded_has_the_gradient_of_its_error_where_it_binds():
  student, teacher = np.float32([[2.0], [1.0]]), np.float32([[1.0], [2.0]])
  zeros = np.zeros_like(student)
  slope = jax.grad(
    lambda s: losses.teacher_bounded(s, teacher, zeros).sum()
  )(student)  # fmt: skip
  np.testing.assert_array_equal(slope, [[4.0], [0.0]])


@pytest.mark.parametrize(
  ("student", "teacher", "want"),
  [
    # N(0, 1) from N(1, 1): 1/2. From N(0, 4): (ln 1/4 + 4 - 1) / 2.
    (([[0.0]], [[1.0]]), ([[1.0]], [[1.0]]), 0.5),
    (([[0.0]], [[1.0]]), ([[0.0]], [[4.0]]), (3 - np.log(4)) / 2),
    (([[0.0]], [[4.0]]), ([[0.0]], [[1.0]]), (np.log(4) - 0.75) / 2),
    (([[0.0, 0.0]], [[1.0, 1.0]]), ([[1.0, 3.0]], [[1.0, 1.0]]), 2.5),
  ],
)
def test_gaussian_kl_by_hand(student, teacher, want):
  given = [answers(*student), answers(*teacher)]
  check_value(losses.gaussian_kl, given, {}, [want])
  count = given[0].shape[-1] // 2
  check_value(losses.gaussian_kl, given, {"reduce": "sum"}, [count * want])


def test_gaussian_kl_is_the_integral():
  """By quadrature of densities that SciPy computes."""
  (m_s, s_s), (m_t, s_t) = (0.3, 0.7), (-0.4, 1.9)
  q, p = scipy.stats.norm(m_s, s_s), scipy.stats.norm(m_t, s_t)
  want, _ = scipy.integrate.quad(
    lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -25, 25
  )
  given = [answers([[m]], [[s**2]]) for m, s in ((m_s, s_s), (m_t, s_t))]
  np.testing.assert_allclose(losses.gaussian_kl(*given), [want], rtol=1e-5)


def test_gaussian_nll_is_scipys():
  random = np.random.default_rng(0)
  means, targets = random.normal(size=(2, 5, 3))
  deviations = np.exp(random.normal(size=(5, 3)))
  targets[1, 2], targets[3] = NAN, NAN
  surprise = -scipy.stats.norm.logpdf(targets, means, deviations)
  given = [answers(means, deviations**2), np.float32(targets)]
  total = np.nansum(surprise, axis=-1)
  got = losses.gaussian_nll(*given, reduce="sum")
  np.testing.assert_allclose(got, total, rtol=1e-5)
  mean = total / np.maximum(np.isfinite(targets).sum(-1), 1)
  np.testing.assert_allclose(losses.gaussian_nll(*given), mean, rtol=1e-5)


def test_near_each_other_no_digit_is_lost():
  """Where log variances differ by d, KL is d^2 / 4, far below what is subtracted."""
  teacher = np.float32([[0.0, 1.0]])
  for difference in (1e-1, 1e-3):
    student = teacher + np.float32([[0.0, difference]])
    apart = float(student[0, 1]) - 1.0
    want = 0.5 * (apart + np.expm1(-apart))
    np.testing.assert_allclose(
      losses.gaussian_kl(student, teacher), [want], rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extremes_are_finite(dtype):
  values = [0.0, 1.0, -1.0, 88.0, -88.0, 1e4, -1e4]
  student, teacher = (
    jnp.asarray(
      np.stack([x.ravel(), y.ravel()], axis=-1), dtype
    )
    for x, y in (np.meshgrid(values, values), np.meshgrid(values[::-1], values))
  )  # fmt: skip

  def total(student):
    kl = losses.gaussian_kl(student, teacher)
    return kl.sum() + losses.gaussian_nll(student, teacher[:, :1]).sum(), kl

  (value, kl), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(student)
  assert np.isfinite(value) and value.dtype == jnp.float32
  assert (kl >= 0).all() and np.isfinite(slope).all()


@pytest.mark.parametrize(
  ("name", "given", "keywords", "says"),
  [
    ("teacher_bounded", [(2, 3), (2, 3), (2,)], {}, r"targets must have .* \(2,\)"),
    ("teacher_bounded", [(2, 3)] * 3, {"margin": -1.0}, "margin"),
    ("gaussian_kl", [(2, 3)] * 2, {}, "an even last axis"),
    ("gaussian_kl", [(2, 4), (2, 2)], {}, "same shape"),
    ("gaussian_kl", [(2, 4)] * 2, {"reduce": "none"}, "reduce"),
    ("gaussian_nll", [(2, 4), (2, 4)], {}, "half as many"),
    ("gaussian_nll", [(2, 4), (2, 2)], {"reduce": 3}, "reduce"),
  ],
)  # fmt: skip
def test_misfits(name, given, keywords, says):
  with pytest.raises(ValueError, match=f"^{name}: .*{says}"):
    getattr(losses, name)(*(np.zeros(x, np.float32) for x in given), **keywords)
