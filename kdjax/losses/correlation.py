"""Response losses that relate the examples, or the classes, of a whole batch.

They return one number for the batch. With `axis_name`, inside a mapped step, the
batch is that of all devices: see `gather_batch`.
"""

import functools

import jax
import jax.numpy as jnp

from kdjax.losses import _math, _rows, checks


def dist(
  student: jax.Array,
  teacher: jax.Array,
  *,
  beta: float | jax.Array = 1.0,
  gamma: float | jax.Array = 1.0,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = True,
  eps: float = 1e-8,
  axis_name: str | None = None,
) -> jax.Array:
  """Correlation with the teacher's softmax, along rows and along columns.

  loss = T^2 * (beta (1 - mean_i rho(q_i, p_i)) + gamma (1 - mean_c rho(q_:c, p_:c)))
  rho(a, b) = <a - mean a, b - mean b> / (||a - mean a|| ||b - mean b|| + eps)

  with p = softmax(teacher / T), q = softmax(student / T) over n rows i (all
  leading dimensions flattened) and C classes c. Rows and columns of nothing but
  -inf leave the means. A row of equal student logits has no correlation to
  improve: finite, but the gradient near it is ill-conditioned.

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    beta: weight of the rows' term (inter-class relations).
    gamma: weight of the columns' term (intra-class relations).
    temperature: T > 0, a scalar.
    t_squared: whether to multiply by T^2.
    eps: added to the product of the norms; a class that nobody predicts has a
      norm of that size.
    axis_name: the mapped axis whose batches to gather, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, >= 0; 0 (up to `eps`) where
    the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ or T is not positive.

  Example:
    >>> student = jnp.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    >>> teacher = jnp.array([[0.0, 2.0, 2.0], [2.0, 0.0, 1.0]])
    >>> print(dist(student, teacher).round(3))
    0.163

  Source:
    Huang et al. 2022, arXiv:2205.10536 (the inter-class and intra-class
    relations).
  """
  checks.weights("dist", beta=beta, gamma=gamma, eps=eps)
  student, teacher = _flat("dist", student, teacher, axis_name)
  q, p, keep = _softmax_pair("dist", student, teacher, _scalar(temperature))
  rows = _mean_distance(q, p, keep, -1, eps)
  columns = _mean_distance(q, p, keep, 0, eps)
  loss = beta * rows + gamma * columns
  return _math.times_t_squared(loss, temperature, t_squared)


def class_correlation(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  axis_name: str | None = None,
) -> jax.Array:
  """Squared distance of the class-by-class matrices of the softmaxes.

  loss = ||P^T P - Q^T Q||^2 / C,  P = softmax(teacher / T), Q = softmax(student / T)

  C counts the classes that some row masks on neither side.

  Args:
    student: (n, C) float, logits.
    teacher: (n, C) float, logits; a constant.
    temperature: T > 0, a scalar. No T^2.
    axis_name: the mapped axis whose batches to gather, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, >= 0; 0 where the softmaxes
    agree.

  Raises:
    ValueError: at trace time, if the shapes differ or are not (n, C), or T is
      not positive.

  Example:
    >>> student, teacher = jnp.zeros((2, 2)), jnp.array([[50.0, 0.0], [0.0, 50.0]])
    >>> print(class_correlation(student, teacher))
    0.5

  Source:
    Jin, Wang, Lin 2023, Multi-level logit distillation, CVPR (class level).
  """
  student, teacher = _matrices("class_correlation", student, teacher, axis_name)
  q, p = _softmaxes("class_correlation", student, teacher, temperature)
  return _gram_distance(q.T, p.T, _classes(student, teacher))


def batch_correlation(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 1.0,
  axis_name: str | None = None,
) -> jax.Array:
  """Squared distance of the example-by-example matrices of the softmaxes.

  loss = ||P P^T - Q Q^T||^2 / n,  P = softmax(teacher / T), Q = softmax(student / T)

  Args:
    student: (n, C) float, logits.
    teacher: (n, C) float, logits; a constant.
    temperature: T > 0, a scalar. No T^2.
    axis_name: the mapped axis whose batches to gather, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, >= 0; 0 where the softmaxes
    agree.

  Raises:
    ValueError: at trace time, if the shapes differ or are not (n, C), or T is
      not positive.

  Example:
    >>> student, teacher = jnp.zeros((2, 2)), jnp.array([[50.0, 0.0], [0.0, 50.0]])
    >>> print(batch_correlation(student, teacher))
    0.5

  Source:
    Jin, Wang, Lin 2023, Multi-level logit distillation, CVPR (batch level).
  """
  student, teacher = _matrices("batch_correlation", student, teacher, axis_name)
  q, p = _softmaxes("batch_correlation", student, teacher, temperature)
  return _gram_distance(q, p, len(q))


def mlkd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0),
  axis_name: str | None = None,
) -> jax.Array:
  """Multi-level distillation: instances, batch and classes, at temperatures.

  loss = sum_T mean_i T^2 KL(p_i || q_i) + batch_correlation + class_correlation

  with p = softmax(teacher / T), q = softmax(student / T). The authors evaluate it
  on a weakly and on a strongly augmented view. Their confidence mask multiplies
  terms that are already averaged: a factor of about one half, not a choice of
  examples; there is none here.

  Args:
    student: (n, C) float, logits.
    teacher: (n, C) float, logits; a constant.
    temperatures: the temperatures T > 0 that are added up.
    axis_name: the mapped axis whose batches to gather, if any.

  Returns:
    A scalar, float32 (float64 for float64), >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ or are not (n, C), or a T is
      not positive.

  Example:
    >>> student, teacher = jnp.zeros((2, 2)), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> print(mlkd(student, teacher, temperatures=(1.0, 2.0)).round(2))
    0.28

  Source:
    Jin, Wang, Lin 2023, Multi-level logit distillation, CVPR.
  """
  student, teacher = _matrices("mlkd", student, teacher, axis_name)
  total, count = jnp.zeros((), student.dtype), _classes(student, teacher)
  for temperature in temperatures:
    log_q, log_p = _math.softened("mlkd", student, teacher, temperature)
    divergences = _math.kl_of_softmaxes(log_p, log_q)
    q, p = jnp.exp(log_q), jnp.exp(log_p)
    total += _math.times_t_squared(jnp.mean(divergences), temperature, True)
    total += _gram_distance(q, p, len(q)) + _gram_distance(q.T, p.T, count)
  return total


def _scalar(temperature):
  if jnp.ndim(temperature):
    raise ValueError(
      f"dist: temperature must be a scalar, got shape {jnp.shape(temperature)}"
    )
  return temperature


def _flat(function, student, teacher, axis_name):
  """Returns both sides as (n, C), of all devices with `axis_name`."""
  student, teacher = _math.pair(function, student, teacher)
  classes = student.shape[-1]
  return (
    _math.gather_batch(student.reshape(-1, classes), axis_name),
    _math.gather_batch(teacher.reshape(-1, classes), axis_name),
  )


def _matrices(function, student, teacher, axis_name):
  checks.same_shape(function, student, teacher)
  if student.ndim != 2:
    raise ValueError(
      f"{function}: student and teacher must be (n, C), got {student.shape}"
      f" and {teacher.shape}"
    )
  return _flat(function, student, teacher, axis_name)


def _softmaxes(function, student, teacher, temperature):
  log_q, log_p = _math.softened(function, student, teacher, temperature)
  return jnp.exp(log_q), jnp.exp(log_p)


def _classes(student, teacher):
  """Returns how many classes some row masks on neither side, at least 1."""
  some = jnp.any(_math.alive(student, teacher), axis=0)
  return jnp.maximum(jnp.sum(some.astype(student.dtype)), 1)


def _gram_distance(q, p, count):
  """Returns ||Q Q^T - P P^T||^2 / count."""
  difference = _math.gram(q) - _math.gram(p)
  return jnp.sum(jnp.square(difference)) / count


def _softmax_pair(function, student, teacher, temperature):
  """Returns both softmaxes, and which classes neither side masks."""
  if not _rows.is_large(student):
    log_q, log_p = _math.softened(function, student, teacher, temperature)
    return jnp.exp(log_q), jnp.exp(log_p), _math.alive(log_q, log_p)
  checks.positive(function, temperature=temperature)
  student, teacher = _math.shared(*_math.pair(function, student, teacher))
  q, p = (_rows.softmax(x, 1 / temperature) for x in (student, teacher))
  return q, p, _math.alive(student, teacher)


def _mean_distance(q, p, keep, axis, eps):
  """Returns the mean of 1 - rho along an axis, over what has kept entries."""
  count = jnp.sum(keep.astype(q.dtype), axis=axis)
  distances = jnp.where(
    count > 0, _distances(q, p, keep, count, axis, eps), 0.0
  )
  some = jnp.sum((count > 0).astype(q.dtype))
  return jnp.sum(distances) / jnp.maximum(some, 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4, 5))
def _distances(q, p, keep, count, axis, eps):
  """Returns 1 - rho along an axis, of which `count` entries are kept."""
  return _distances_and_slopes(q, p, keep, count, axis, eps)[0]


@_distances.defjvp
def _(axis, eps, primals, tangents):
  # In closed form: differentiated as it stands, it keeps eight such arrays.
  distances, slopes = _distances_and_slopes(*primals, axis, eps)
  terms = (
    jnp.sum(slope * step, axis=axis)
    for slope, step in zip(slopes, tangents[:2], strict=True)
  )
  return distances, sum(terms)


def _distances_and_slopes(q, p, keep, count, axis, eps):
  """Returns 1 - rho along an axis, and its derivatives by q and by p."""
  count = jnp.expand_dims(count, axis)
  q, p = (_centred(x, keep, count, axis) for x in (q, p))
  covariance = jnp.sum(q * p, axis=axis, keepdims=True)
  # Squares that vanish are far below eps: no scale needs to be taken out.
  q_norm, p_norm = (
    _math.safe_sqrt(jnp.sum(jnp.square(x), axis=axis, keepdims=True))
    for x in (q, p)
  )
  below = q_norm * p_norm + eps
  rho = covariance / below

  def slope(values, other, own_norm, other_norm):
    some = own_norm > 0
    share = other_norm / (jnp.where(some, own_norm, 1.0) * below)
    return jnp.where(some, rho * share, 0.0) * values - other / below

  slopes = slope(q, p, q_norm, p_norm), slope(p, q, p_norm, q_norm)
  return jnp.squeeze(1 - rho, axis=axis), slopes


def _centred(x, keep, count, axis):
  total = jnp.sum(jnp.where(keep, x, 0.0), axis=axis, keepdims=True)
  return jnp.where(keep, x - total / jnp.maximum(count, 1), 0.0)
