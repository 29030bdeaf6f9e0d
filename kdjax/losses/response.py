"""Losses between the softened outputs of student and teacher."""

import jax
import jax.numpy as jnp

from kdjax.losses import _label, _math, _quick, _rows, _terms, checks
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
    Sun et al. 2024, arXiv:2403.01427.
  """
  checks.same_shape("kd", student, teacher)
  if standardize:
    sides = _math.shared(student, teacher)
    student, teacher = map(standardize_logits, sides)
  loss = _rows.divergence(
    "kd", _terms.kl, _math.kl_of_softmaxes, student, teacher, temperature
  )
  return _math.times_t_squared(loss, temperature, t_squared)


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
  loss = _rows.divergence(
    "soft_cross_entropy",
    _terms.cross_entropy,
    lambda log_p, log_q: _math.cross_entropy(jnp.exp(log_p), log_q),
    student,
    teacher,
    temperature,
  )
  return _math.times_t_squared(loss, temperature, t_squared)


def logit_mse(
  student: jax.Array, teacher: jax.Array, *, reduce: str = "mean"
) -> jax.Array:
  """Mean squared difference of logits (or of hidden states, as `hidden_mse`).

  loss = mean_c (student_c - teacher_c)^2, or the sum with `reduce="sum"`

  The mean is over the classes that neither side masks with -inf. Half of the sum
  is Ba and Caruana's objective. On tokens the result is one value a token: reduce
  it with `masked_mean`.

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
    Ba, Caruana 2014, arXiv:1312.6184; Kim et al. 2021, arXiv:2105.08919.
  """
  checks.choice("logit_mse", ("mean", "sum"), reduce=reduce)
  student, teacher = _math.pair("logit_mse", student, teacher)
  # A class masked with -inf is as if removed: it differs by nothing, not by
  # NaN, and does not count in the mean.
  keep = _math.alive(student, teacher)
  difference = _math.masked(student, keep) - _math.masked(teacher, keep)
  total = jnp.sum(jnp.square(difference), axis=-1)
  if reduce == "sum":
    return total
  count = jnp.sum(keep.astype(total.dtype), axis=-1)
  return total / jnp.maximum(count, 1)


hidden_mse = logit_mse


def cosine_distance(
  student: jax.Array,
  teacher: jax.Array,
  *,
  axis: int = -1,
  eps: float = 1e-8,
) -> jax.Array:
  """One minus the cosine between the two vectors.

  loss = 1 - <student / ||student||, teacher / ||teacher||>

  A vector of length <= eps has distance 1 and zero gradient. Entries that are
  -inf on either side, masked classes, are as if removed.

  Args:
    student: (..., D) float, hidden states or logits.
    teacher: (..., D) float; a constant.
    axis: the axis of the vectors.
    eps: the length below which a vector has no direction, in its unit.

  Returns:
    (...) float32 (float64 for float64), between 0 and 2, no unit; 0 where the
    directions agree.

  Raises:
    ValueError: at trace time, if the shapes differ.

  Example:
    >>> student, teacher = jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]])
    >>> print(cosine_distance(student, teacher).round(3))
    [0.4]

  Source:
    Sanh et al. 2019 (DistilBERT), arXiv:1910.01108 (the cosine loss).
  """
  checks.weights("cosine_distance", eps=eps)
  student, teacher = (
    jnp.moveaxis(x, axis, -1)
    for x in _math.pair("cosine_distance", student, teacher)
  )

  def careful(student, teacher):
    keep = _math.alive(student, teacher)
    sides = (_math.masked(x, keep) for x in (student, teacher))
    return _math.unit_distance(*(_math.unit(x, eps=eps) for x in sides))

  def quick(student, teacher, inverse, inverse_t):
    gaps = student * inverse - teacher * inverse_t
    return 0.5 * jnp.sum(jnp.square(gaps), axis=-1)

  return _quick.unless_extreme(
    _quick.inverse_length, quick, careful, student, teacher, eps
  )


def hard_distillation(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Cross-entropy with the teacher's choice as the label.

  loss = - log softmax(student)[argmax_c teacher_c]

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 0.0]])
    >>> print(hard_distillation(student, teacher).round(4))
    [0.6931]

  Source:
    Touvron et al. 2021 (DeiT), arXiv:2012.12877 (hard-label distillation, its
    teacher's half).
  """
  if _rows.is_large(student):
    sums = _rows.add_up(
      "hard_distillation", _terms.nothing, student, teacher, 1.0
    )
    student, teacher = _math.shared(
      *_math.pair("hard_distillation", student, teacher)
    )
    labels = _label.argmax(teacher)
    share = _label.log_share(student, labels, sums.top_q, sums.log_z_q, 1.0)
    return -_math.masked(share, _math.alive(share))
  log_q, log_p = _math.softened("hard_distillation", student, teacher, 1.0)
  top_class = _math.is_label(jnp.argmax(log_p, axis=-1), log_p.shape[-1])
  return _math.cross_entropy(top_class.astype(log_q.dtype), log_q)


def ttm(
  student: jax.Array,
  teacher: jax.Array,
  *,
  gamma: float | jax.Array = 0.25,
  weighted: bool = False,
) -> jax.Array:
  """Transformed teacher matching: a temperature on the teacher alone.

  loss = KL(p_g || q),  p_g = softmax(gamma log softmax(teacher)),
  q = softmax(student);  times sum_c softmax(teacher)_c^gamma if `weighted`

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    gamma: the exponent, > 0: one over the teacher's temperature.
    weighted: whether to weigh each example by its teacher's power sum (WTTM).

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where the student's
    softmax is the teacher's transformed one.

  Raises:
    ValueError: at trace time, if the shapes differ or gamma is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[4.0, 0.0]])
    >>> print(ttm(student, teacher).round(4))
    [0.1109]

  Source:
    Zheng, Yang 2024, arXiv:2402.11148 (TTM and WTTM).
  """
  checks.positive("ttm", gamma=gamma)
  checks.classes("ttm", student)
  student, teacher = _math.shared(*_math.pair("ttm", student, teacher))
  temperature = 1 / jnp.asarray(gamma, teacher.dtype)
  if _rows.is_large(student) and isinstance(gamma, int | float):
    # The powers are a softmax of their own: that of the logits times gamma.
    dead = ~_math.alive(teacher)
    power_logits = _math.without(gamma * _math.off_the_top(teacher), dead)
    loss = _rows.add_up("ttm", _terms.kl, student, power_logits, 1.0).total
  else:
    log_p = _math.log_softmax(teacher, temperature)
    loss = _math.kl_of_softmaxes(log_p, _math.log_softmax(student))
  if not weighted:
    return loss
  powers = _math.log_softmax(teacher)
  keep = _math.alive(powers)
  powers = jnp.exp(_math.masked(powers, keep) / temperature)
  return loss * jnp.sum(jnp.where(keep, powers, 0.0), axis=-1)


def ensemble_kd(
  student: jax.Array,
  teachers: jax.Array,
  *,
  weights: jax.Array | None = None,
  temperature: float | jax.Array = 4.0,
  combine: str = "probs",
  t_squared: bool = True,
) -> jax.Array:
  """`kd` with several teachers, combined into one.

  loss = T^2 * KL(p || q),  q = softmax(student / T),  and
  p = sum_k w_k softmax(teacher_k / T)  ("probs")  or
  p = softmax(sum_k w_k teacher_k / T)  ("logits")

  Args:
    student: (..., C) float, logits.
    teachers: (K, ..., C) float, logits; constants.
    weights: (K) float, >= 0, sum 1; uniform by default. Gradient flows in.
    temperature: T > 0; a scalar, or an array of the student's leading shape.
    combine: "probs" (arithmetic mean) or "logits" (geometric mean).
    t_squared: whether to multiply by T^2.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if a shape does not fit, T is not positive or
      `combine` is unknown.

  Example:
    >>> student = jnp.array([[0.0, 0.0]])
    >>> teachers = jnp.array([[[4.0, 0.0]], [[0.0, 0.0]]])
    >>> print(ensemble_kd(student, teachers).round(4))
    [0.431]

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531 (the arithmetic or geometric
    mean); You et al. 2017, Learning from multiple teacher networks.
  """
  checks.choice("ensemble_kd", ("probs", "logits"), combine=combine)
  checks.positive("ensemble_kd", temperature=temperature)
  checks.classes("ensemble_kd", student)
  student, teachers, weights = _ensemble(student, teachers, weights)
  temperature = _math.per_row(
    temperature, student.shape[:-1], student.dtype, "ensemble_kd"
  )
  # Removed: what the student masks, or all teachers do (of logits, any does).
  masks = jnp.all if combine == "logits" else jnp.any
  keep = _math.alive(student) & masks(_math.alive(teachers), axis=0)
  student, teachers = (_math.without(x, ~keep) for x in (student, teachers))
  log_q = _math.log_softmax(student, temperature)
  if combine == "probs":
    log_p = _log_mean(_math.log_softmax(teachers, temperature), weights)
    # What weights that do not add to one bring to sum p (log p - log q).
    extra = jnp.sum(weights) - 1
  else:
    logits = jnp.sum(weights * _math.off_the_top(teachers), axis=0)
    log_p = _math.log_softmax(_math.without(logits, ~keep), temperature)
    extra = 0.0
  loss = _math.kl_of_softmaxes(log_p, log_q) + extra
  return _math.times_t_squared(loss, temperature, t_squared)


def _ensemble(student, teachers, weights):
  """Checks the shapes; returns the weights as (K, 1, ..., 1)."""
  if teachers.ndim != student.ndim + 1 or teachers.shape[1:] != student.shape:
    raise ValueError(
      "ensemble_kd: teachers must be a stack of the student's shape, got"
      f" {student.shape} and {teachers.shape}"
    )
  count = teachers.shape[0]
  student, teachers = _math.at_least_float32(student), _math.constant(teachers)
  dtype = jnp.promote_types(student.dtype, teachers.dtype)
  if weights is None:
    weights = jnp.full((count,), 1 / count, dtype)
  checks.weights("ensemble_kd", weights=weights)
  weights = jnp.asarray(weights, dtype)
  if weights.shape != (count,):
    raise ValueError(
      f"ensemble_kd: weights must have shape {(count,)}, one a teacher of"
      f" {teachers.shape}, got {weights.shape}"
    )
  weights = weights.reshape((count,) + (1,) * student.ndim)
  return student.astype(dtype), teachers.astype(dtype), weights


def _log_mean(log_probs, weights):
  """Returns log sum_k w_k p_k. Weights of 0 send back no NaN."""
  keep = _math.alive(log_probs)
  counts = keep & (weights > 0)
  # The largest that counts goes first, or all others could underflow to log 0.
  top = jnp.max(jnp.where(counts, log_probs, -jnp.inf), axis=0)
  some = top > -jnp.inf
  top = jax.lax.stop_gradient(jnp.where(some, top, 0.0))
  shifted = jnp.where(counts, log_probs - top[None], 0.0)
  total = jnp.sum(jnp.where(counts, weights * jnp.exp(shifted), 0.0), axis=0)
  return jnp.where(some, jnp.log(jnp.where(some, total, 1.0)) + top, -jnp.inf)
