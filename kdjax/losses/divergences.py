"""Divergences between the softened classes of student and teacher.

Named after a divergence, they return it as it is: T^2 only with `t_squared`.
"""

import jax
import jax.numpy as jnp

from kdjax.losses import _math, _rows, _terms, checks


def forward_kl(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """KL divergence from the student's classes to the teacher's.

  loss = KL(p || q),  p = softmax(teacher / T),  q = softmax(student / T)

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2 (`kd` does so by default).

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ or T is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(forward_kl(student, teacher).round(4))
    [0.1109]

  Source:
    Kim, Rush 2016, arXiv:1606.07947 (word-level distillation).
  """
  loss = _rows.divergence(
    "forward_kl",
    _terms.kl,
    _math.kl_of_softmaxes,
    student,
    teacher,
    temperature,
  )
  return _math.times_t_squared(loss, temperature, t_squared)


def reverse_kl(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """KL divergence from the teacher's classes to the student's.

  loss = KL(q || p),  p = softmax(teacher / T),  q = softmax(student / T)

  Mode seeking: the student pays for mass where the teacher has none. The
  gradient flows through both factors of q (log q - log p).

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ or T is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(reverse_kl(student, teacher).round(4))
    [0.1201]

  Source:
    Gu et al. 2024 (MiniLLM), arXiv:2306.08543, per position.
  """
  loss = _rows.divergence(
    "reverse_kl",
    _terms.reverse_kl,
    lambda log_p, log_q: _math.kl_of_softmaxes(log_q, log_p),
    student,
    teacher,
    temperature,
  )
  return _math.times_t_squared(loss, temperature, t_squared)


def symmetric_kl(
  student: jax.Array,
  teacher: jax.Array,
  *,
  lam: float | jax.Array = 0.5,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """Weighted sum of the two KL divergences.

  loss = (1 - lam) KL(p || q) + lam KL(q || p)

  with p = softmax(teacher / T), q = softmax(student / T). At `lam=0.5` it is
  half of Jeffreys' divergence; DistiLLM's code runs it at 0.9.

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    lam: the reverse direction's share, in [0, 1].
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ, T is not positive or `lam`
      lies outside [0, 1].

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(symmetric_kl(student, teacher).round(4))
    [0.1155]

  Source:
    The Jeffreys divergence; Ko et al. 2024 (DistiLLM), arXiv:2402.03898, whose
    code leaves out the teacher's entropy, a constant.
  """
  checks.between("symmetric_kl", 0, 1, lam=lam)
  if _rows.is_large(student):
    forward, reverse = (
      _rows.add_up("symmetric_kl", term, student, teacher, temperature).total
      for term in (_terms.kl, _terms.reverse_kl)
    )
  else:
    log_q, log_p = _math.softened("symmetric_kl", student, teacher, temperature)
    forward = _math.kl_of_softmaxes(log_p, log_q)
    reverse = _math.kl_of_softmaxes(log_q, log_p)
  loss = (1 - lam) * forward + lam * reverse
  return _math.times_t_squared(loss, temperature, t_squared)


def tvd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """Total variation distance.

  loss = 1/2 sum_c |p_c - q_c|,  p = softmax(teacher / T), q = softmax(student / T)

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), between 0 and 1, no unit; 0 where the
    softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ or T is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(tvd(student, teacher).round(4))
    [0.2311]

  Source:
    Wen et al. 2023 (f-distill), arXiv:2307.15190 (TVD), per position.
  """
  loss = _rows.divergence(
    "tvd",
    _terms.total_variation,
    lambda log_p, log_q: _math.total_variation(jnp.exp(log_p), jnp.exp(log_q)),
    student,
    teacher,
    temperature,
  )
  return _math.times_t_squared(loss, temperature, t_squared)


def adaptive_kl(
  student: jax.Array,
  teacher: jax.Array,
  *,
  mu: float = 0.5,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """KL divergences, weighted by where student and teacher disagree.

  loss = r KL(p || q) + (1 - r) KL(q || p),  r = h / (h + l), a constant,
  h = sum over the head of |p - q|,  l = sum over the tail of |p - q|

  with p = softmax(teacher / T), q = softmax(student / T). Sort the classes by
  falling p: a class is in the tail if the sum of p up to and including it is
  above `mu`; the first class is always in the head. Where student and teacher
  are equal, h + l = 0 and r is 1/2 (the authors' code gives NaN).

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    mu: the teacher's mass that the head may hold, in [0, 1].
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ, T is not positive or `mu`
      lies outside [0, 1].

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(adaptive_kl(student, teacher).round(4))
    [0.1155]

  Source:
    Wu et al. 2024 (AKL), arXiv:2404.02657.
  """
  checks.between("adaptive_kl", 0, 1, mu=mu)
  log_q, log_p = _math.softened("adaptive_kl", student, teacher, temperature)
  ratio = _head_share(jnp.exp(log_p), jax.lax.stop_gradient(jnp.exp(log_q)), mu)
  forward = _math.kl_of_softmaxes(log_p, log_q)
  reverse = _math.kl_of_softmaxes(log_q, log_p)
  loss = ratio * forward + (1 - ratio) * reverse
  return _math.times_t_squared(loss, temperature, t_squared)


def _head_share(p, q, mu):
  """Returns the head's share of sum |p - q|; 1/2 where nothing differs."""
  order = jnp.argsort(-p, axis=-1)
  p, q = (jnp.take_along_axis(x, order, axis=-1) for x in (p, q))
  tail = jnp.cumsum(p, axis=-1) > mu
  tail = tail.at[..., 0].set(False)
  gap = jnp.abs(p - q)
  total = jnp.sum(gap, axis=-1)
  head = jnp.sum(jnp.where(tail, 0.0, gap), axis=-1)
  return jnp.where(total > 0, head / jnp.where(total > 0, total, 1.0), 0.5)
