"""Losses between the softened outputs of student and teacher."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math
from kdjax.losses.helpers import standardize_logits


def kd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 4.0,
  t_squared: bool = True,
  standardize: bool = False,
) -> jax.Array:
  """Temperature-softened distillation: the teacher's classes, softened, taught.

  loss = T^2 * KL(p || q),  p = softmax(teacher / T),  q = softmax(student / T)

  T^2 keeps the gradient's size as T grows; for large T the loss tends to half
  the squared distance of the centred logits over C. The gradient is that of
  T^2 * soft cross-entropy; the value is zero when the two agree. Maps of
  logits (segmentation, language) keep all their leading dimensions.

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0, no unit; a scalar, or an array that broadcasts to the
      leading dimensions. Gradient flows into it.
    t_squared: whether to multiply by T^2 (for each row its own T).
    standardize: whether to standardise both sides first, after Sun et al. 2024.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or T is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(kd(student, teacher, temperature=1.0).round(4))
    [0.1109]

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2; standardisation:
    Sun et al. 2024, arXiv:2403.01427, equation 7.
  """
  _math.check_same_shape("kd", student, teacher)
  if standardize:
    student, teacher = standardize_logits(student), standardize_logits(teacher)
  loss = forward_kl(student, teacher, temperature=temperature)
  return _times_t_squared(loss, temperature, t_squared)


def soft_cross_entropy(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = False,
) -> jax.Array:
  """Cross-entropy of the student's classes under the teacher's.

  loss = - sum_c p_c log q_c,  p = softmax(teacher / T),  q = softmax(student / T)

  This is `forward_kl` plus the teacher's entropy, which no student can change.

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats; its least value is the teacher's
    entropy, where both softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ or T is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(soft_cross_entropy(student, teacher).round(4))
    [0.6931]

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2, without T^2.
  """
  keep, log_q, log_p = _softened(
    "soft_cross_entropy", student, teacher, temperature
  )
  loss = -jnp.sum(
    jnp.where(keep, jnp.exp(log_p) * _math.masked(log_q, keep), 0.0), axis=-1
  )
  return _times_t_squared(loss, temperature, t_squared)


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
    Kim, Rush 2016, arXiv:1606.07947, section 3.1 (word-level distillation).
  """
  keep, log_q, log_p = _softened("forward_kl", student, teacher, temperature)
  loss = _math.kl_divergence(log_p, log_q, keep)
  return _times_t_squared(loss, temperature, t_squared)


def logit_mse(
  student: jax.Array, teacher: jax.Array, *, reduce: str = "mean"
) -> jax.Array:
  """Mean squared difference of logits (or of hidden states, as `hidden_mse`).

  loss = mean_c (student_c - teacher_c)^2, or the sum with `reduce="sum"`

  Half of the sum is Ba and Caruana's objective. On tokens the result is one
  value a token: reduce it with `masked_mean`.

  Args:
    student: (..., C) float.
    teacher: (..., C) float; a constant.
    reduce: "mean" or "sum" over the last axis.

  Returns:
    (...) float32 (float64 for float64), squared units of the input, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or `reduce` is unknown.

  Example:
    >>> print(logit_mse(jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]])))
    [2.]

  Source:
    Ba, Caruana 2014, arXiv:1312.6184, equation 1; Kim et al. 2021,
    arXiv:2105.08919, equation 5.
  """
  _math.check_same_shape("logit_mse", student, teacher)
  if reduce not in ("mean", "sum"):
    raise ValueError(
      f"logit_mse: reduce must be 'mean' or 'sum', got {reduce!r}"
    )
  student, teacher = _math.at_least_float32(student), _math.constant(teacher)
  # A class masked with -inf on both sides differs by nothing, not by NaN.
  keep = _math.alive(student, teacher)
  difference = _math.masked(student, keep) - _math.masked(teacher, keep)
  total = jnp.sum(jnp.square(difference), axis=-1)
  return total if reduce == "sum" else total / student.shape[-1]


hidden_mse = logit_mse


def _softened(function, student, teacher, temperature):
  """Returns the classes that count and both log-softmaxes at a temperature."""
  _math.check_same_shape(function, student, teacher)
  _math.check_positive(function, temperature=temperature)
  student, teacher = _math.at_least_float32(student), _math.constant(teacher)
  return (
    _math.alive(student, teacher),
    _math.log_softmax(student, temperature),
    _math.log_softmax(teacher, temperature),
  )


def _times_t_squared(loss, temperature, t_squared):
  if not t_squared:
    return loss
  return loss * jnp.square(_math.per_row(temperature, loss.shape, loss.dtype))
