"""Losses of networks that answer with numbers, or with normal distributions."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks

# exp is straight beyond this: its square and its product with any squared
# difference below 1e20 stay finite in float32.
_STEEP = 40.0


def teacher_bounded(
  student: jax.Array,
  teacher: jax.Array,
  targets: jax.Array,
  *,
  margin: float | jax.Array = 0.0,
) -> jax.Array:
  """The student's squared error where it is not better than the teacher's.

  e(x) = mean_c (x_c - y_c)^2
  loss = e(student) where e(student) + margin > e(teacher), else 0

  The teacher says how far a student has to go, and never where: it is a bound, so
  that an answer worse than the student's own does no harm. The mean is over the
  targets that are known.

  Args:
    student: (..., C) float.
    teacher: (..., C) float; a constant.
    targets: (..., C) float; nan where a target is not known, which counts nowhere.
    margin: m >= 0, in squared units of the targets: by how much the student has to
      be better before it is left alone.

  Returns:
    (...) float32 (float64 for float64), squared units of the targets, >= 0; 0 with
    zero gradient where no target is known.

  Raises:
    ValueError: at trace time, if the shapes differ or the margin is negative.

  Example:
    >>> student, teacher = jnp.array([[1.0], [3.0]]), jnp.array([[2.0], [2.0]])
    >>> print(teacher_bounded(student, teacher, jnp.array([[0.0], [0.0]])))
    [0. 9.]

  Source:
    Chen et al. 2017, "Learning efficient object detection models with knowledge
    distillation", equation 6; theirs is the sum over the numbers of a box, which
    C times this is, for a margin C times this one.
  """
  checks.weights("teacher_bounded", margin=margin)
  student, teacher = _math.pair("teacher_bounded", student, teacher)
  if targets.shape != student.shape:
    raise ValueError(
      "teacher_bounded: targets must have the answers' shape, got"
      f" {targets.shape} for answers {student.shape}"
    )
  targets = _math.constant(jnp.asarray(targets, student.dtype))
  known = jnp.isfinite(targets)
  count = jnp.maximum(jnp.sum(known, axis=-1), 1).astype(student.dtype)

  def error(answers):
    difference = jnp.where(known, answers - targets, 0.0)
    return jnp.sum(jnp.square(difference), axis=-1) / count

  own = error(student)
  worse = own + margin > error(teacher)
  return jnp.where(worse, own, 0.0)


def gaussian_kl(
  student: jax.Array, teacher: jax.Array, *, reduce: str = "mean"
) -> jax.Array:
  """KL divergence from the student's to the teacher's normal distributions.

  KL_c = 1/2 (v_s - v_t + exp(v_t - v_s) - 1 + (m_t - m_s)^2 exp(-v_s)),
  loss = mean_c KL(N(m_t, exp v_t) || N(m_s, exp v_s)), or the sum

  An answer is C means m and then C logs of variances v, of independent numbers,
  whose joint divergence is the sum. In log variances nothing has to be positive;
  the two parts are >= 0 each, so that nothing cancels where both sides agree.
  Beyond an exponent of 40 exp is continued straight, so that any answer has a
  finite loss and gradient.

  Args:
    student: (..., 2 C) float, means and log variances.
    teacher: (..., 2 C) float; a constant.
    reduce: "mean" or "sum" over the C numbers.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where both agree.

  Raises:
    ValueError: at trace time, if the shapes differ, the last axis is odd, or
      `reduce` is unknown.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(gaussian_kl(student, teacher))
    [0.5]

  Source:
    The closed form; as a loss of heteroscedastic regression, with the data term of
    Kendall, Gal 2017, arXiv:1703.04977, equation 8.
  """
  checks.choice("gaussian_kl", ("mean", "sum"), reduce=reduce)
  student, teacher = _math.pair("gaussian_kl", student, teacher)
  (mean, log_variance), (teacher_mean, teacher_log_variance) = (
    _halves("gaussian_kl", x) for x in (student, teacher)
  )
  apart = log_variance - teacher_log_variance
  near = _math.excess(jnp.clip(apart, -0.5, 0.5))
  far = apart + _exp(-apart) - 1
  spread = jnp.where(jnp.abs(apart) < 0.5, near, far)
  total = 0.5 * (spread + _scaled_square(teacher_mean - mean, log_variance))
  return total.mean(-1) if reduce == "mean" else total.sum(-1)


def gaussian_nll(
  answers: jax.Array, targets: jax.Array, *, reduce: str = "mean"
) -> jax.Array:
  """Negative log-likelihood of numbers under normal distributions.

  loss = mean_c 1/2 (log(2 pi) + v_c + (y_c - m_c)^2 exp(-v_c)), or the sum

  The mean is over the targets that are known. Beyond an exponent of 40 exp is
  continued straight, as in `gaussian_kl`.

  Args:
    answers: (..., 2 C) float, C means m and then C logs of variances v.
    targets: (..., C) float; nan where a target is not known, which counts nowhere.
    reduce: "mean" or "sum" over the C numbers.

  Returns:
    (...) float32 (float64 for float64), nats of a density in the targets' unit; 0
    with zero gradient where no target is known.

  Raises:
    ValueError: at trace time, if the targets are not half as many as the answers,
      or `reduce` is unknown.

  Example:
    >>> print(gaussian_nll(jnp.array([[0.0, 0.0]]), jnp.array([[1.0]])).round(4))
    [1.4189]

  Source:
    Nix, Weigend 1994, "Estimating the mean and variance of the target probability
    distribution"; in log variances as Kendall, Gal 2017, arXiv:1703.04977.
  """
  checks.choice("gaussian_nll", ("mean", "sum"), reduce=reduce)
  answers = _math.at_least_float32(answers)
  mean, log_variance = _halves("gaussian_nll", answers)
  if targets.shape != mean.shape:
    raise ValueError(
      "gaussian_nll: targets must be half as many as the answers, got"
      f" {targets.shape} for answers {answers.shape}"
    )
  targets = _math.constant(jnp.asarray(targets, mean.dtype))
  known = jnp.isfinite(targets)
  difference = jnp.where(known, targets - mean, 0.0)
  square = _scaled_square(difference, log_variance)
  values = 0.5 * (jnp.log(2 * jnp.pi) + log_variance + square)
  total = jnp.sum(jnp.where(known, values, 0.0), axis=-1)
  if reduce == "sum":
    return total
  return total / jnp.maximum(jnp.sum(known, axis=-1), 1).astype(total.dtype)


def _halves(function, answers):
  """Means and log variances."""
  if answers.ndim < 1 or answers.shape[-1] % 2 or not answers.shape[-1]:
    raise ValueError(
      f"{function}: an answer is C means and then C log variances, an even last"
      f" axis, got {answers.shape}"
    )
  return jnp.split(answers, 2, axis=-1)


def _scaled_square(difference, log_variance):
  """difference^2 exp(-log_variance), finite where its parts are not."""
  return jnp.square(difference) * _exp(-log_variance)


def _exp(x):
  """exp, continued straight beyond an exponent that nothing trained reaches."""
  beyond = jnp.maximum(x - _STEEP, 0.0)
  return jnp.exp(jnp.minimum(x, _STEEP)) * (1 + beyond)
