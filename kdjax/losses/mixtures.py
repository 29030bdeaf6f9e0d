"""Divergences from a mixture of student and teacher: bounded where KL is not.

A mixture is not zero where only one side is, so these stay small and smooth
when student and teacher have little in common.
"""

import math

import jax
import jax.numpy as jnp

from kdjax.losses import _math, _rows, _terms, checks


def generalized_jsd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  beta: float = 0.5,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """Generalised Jensen-Shannon divergence (also `gkd`).

  loss = beta KL(p || m) + (1 - beta) KL(q || m),  m = beta p + (1 - beta) q

  with p = softmax(teacher / T), q = softmax(student / T). By convention `beta=0`
  returns KL(p || q) and `beta=1` returns KL(q || p), as TRL and Liger do. That
  is a jump: for small positive beta the value goes as beta KL(p || q), to 0.

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    beta: the teacher's share of the mixture, a Python number in [0, 1].
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ, T is not positive or `beta`
      is not a Python number in [0, 1].

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(generalized_jsd(student, teacher, beta=0.25).round(4))
    [0.021]

  Source:
    Agarwal et al. 2024 (GKD), arXiv:2306.13649, equation 1. DistiLLM's
    `js_distance(lam)` is `beta=1 - lam`.
  """
  checks.python_number(
    "generalized_jsd", "in [0, 1]", lambda x: 0 <= x <= 1, beta=beta
  )
  loss = _jsd("generalized_jsd", student, teacher, temperature, float(beta))
  return _math.times_t_squared(loss, temperature, t_squared)


gkd = generalized_jsd


def jensen_shannon(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """Jensen-Shannon divergence (also `jsd`): `generalized_jsd` at beta = 1/2.

  loss = 1/2 KL(p || m) + 1/2 KL(q || m),  m = (p + q) / 2

  with p = softmax(teacher / T), q = softmax(student / T).

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, between 0 and log 2; 0 where the
    softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ or T is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(jensen_shannon(student, teacher).round(4))
    [0.0285]

  Source:
    Lin 1991, Divergence measures based on the Shannon entropy.
  """
  loss = _jsd("jensen_shannon", student, teacher, temperature, 0.5)
  return _math.times_t_squared(loss, temperature, t_squared)


jsd = jensen_shannon


def skew_kl(
  student: jax.Array,
  teacher: jax.Array,
  *,
  lam: float = 0.1,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """Skew KL divergence: the teacher against a student mixed with the teacher.

  loss = KL(p || lam p + (1 - lam) q)

  with p = softmax(teacher / T), q = softmax(student / T).

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    lam: the teacher's share of the mixture, 0 < lam < 1.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, between 0 and -log lam; 0 where
    the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ, T is not positive or `lam`
      is not between 0 and 1.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(skew_kl(student, teacher).round(4))
    [0.0906]

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898. The authors' code leaves out
    the teacher's entropy, a constant.
  """
  checks.python_number(
    "skew_kl", "with 0 < lam < 1", lambda x: 0 < x < 1, lam=lam
  )
  loss = _rows.divergence(
    "skew_kl",
    _terms.SkewKL(float(lam)),
    lambda log_p, log_q: _math.kl_of_softmaxes(
      log_p, _log_mixture(log_p, log_q, lam)
    ),
    student,
    teacher,
    temperature,
  )
  return _math.times_t_squared(loss, temperature, t_squared)


def skew_reverse_kl(
  student: jax.Array,
  teacher: jax.Array,
  *,
  lam: float = 0.1,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """Skew reverse KL: the student against a teacher mixed with the student.

  loss = KL(q || (1 - lam) p + lam q)

  with p = softmax(teacher / T), q = softmax(student / T).

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    lam: the student's share of the mixture, 0 < lam < 1.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, between 0 and -log lam; 0 where
    the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ, T is not positive or `lam`
      is not between 0 and 1.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(skew_reverse_kl(student, teacher).round(4))
    [0.095]

  Source:
    Ko et al. 2024 (DistiLLM), arXiv:2402.03898.
  """
  checks.python_number(
    "skew_reverse_kl", "with 0 < lam < 1", lambda x: 0 < x < 1, lam=lam
  )
  loss = _rows.divergence(
    "skew_reverse_kl",
    _terms.SkewReverseKL(float(lam)),
    lambda log_p, log_q: _math.kl_of_softmaxes(
      log_q, _log_mixture(log_q, log_p, lam)
    ),
    student,
    teacher,
    temperature,
  )
  return _math.times_t_squared(loss, temperature, t_squared)


def _jsd(function, student, teacher, temperature, beta):
  terms = {0.0: _terms.kl, 1.0: _terms.reverse_kl}
  return _rows.divergence(
    function,
    terms.get(beta, _terms.JensenShannon(beta)),
    lambda log_p, log_q: _plain_jsd(log_p, log_q, beta),
    student,
    teacher,
    temperature,
  )


def _plain_jsd(log_p, log_q, beta):
  if beta == 0:
    return _math.kl_of_softmaxes(log_p, log_q)
  if beta == 1:
    return _math.kl_of_softmaxes(log_q, log_p)
  log_m = _log_mixture(log_p, log_q, beta)
  from_teacher = _math.kl_of_softmaxes(log_p, log_m)
  from_student = _math.kl_of_softmaxes(log_q, log_m)
  return beta * from_teacher + (1 - beta) * from_student


def _log_mixture(log_a, log_b, share):
  """Returns log(share a + (1 - share) b); both sides mask the same classes."""
  keep = _math.alive(log_a)
  # Dead entries leave before logaddexp, whose gradient at (-inf, -inf) is NaN.
  log_a = _math.masked(log_a, keep) + math.log(share)
  log_b = _math.masked(log_b, keep) + math.log1p(-share)
  return jnp.where(keep, jnp.logaddexp(log_a, log_b), -jnp.inf)
