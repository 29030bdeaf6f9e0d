"""Losses between hidden features: plain, probabilistic, normalised, generated.

Features come as they are matched: regressors, translators and generators are
the caller's modules.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, _quick, checks, pooling


def fitnet(
  student: jax.Array, teacher: jax.Array, *, reduce: str = "mean"
) -> jax.Array:
  """Mean squared difference of features: the teacher's hint, followed.

  loss_b = mean over all elements of example b of (student - teacher)^2,
  or the sum with `reduce="sum"`

  Differs from the paper, whose objective is half the squared norm (half of
  `reduce="sum"`): the mean is what the published code bases use, and what
  their loss weights (100 for CIFAR) assume.

  Args:
    student: (B, ...) float, already through the regressor.
    teacher: (B, ...) float, same shape; a constant.
    reduce: "mean" or "sum" over the elements of an example.

  Returns:
    (B,) float32 (float64 for float64), squared units of the input, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or have no batch dimension,
      or if `reduce` is unknown.

  Example:
    >>> print(fitnet(jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]])))
    [2.]

  Source:
    Romero et al. 2015, arXiv:1412.6550 (the hint loss).
  """
  checks.same_shape("fitnet", student, teacher)
  checks.choice("fitnet", ("mean", "sum"), reduce=reduce)
  _features.check_at_least_rank("fitnet", 1, student, teacher)
  student, teacher = _features.working_pair(student, teacher)
  squares = _features.per_example(jnp.square(student - teacher))
  return jnp.mean(squares, -1) if reduce == "mean" else jnp.sum(squares, -1)


hint = fitnet


def vid(
  student: jax.Array,
  teacher: jax.Array,
  log_scale: jax.Array,
  *,
  eps: float = 1e-5,
) -> jax.Array:
  """Negative log-likelihood of the teacher's map: information transferred.

  loss_b = mean over positions and channels of
           ((student - teacher)^2 / v_c + log v_c) / 2,
  v = softplus(log_scale) + eps

  The student's map is the mean of a Gaussian with one learned variance v a
  channel. The larger map is average-pooled to the smaller one's size.

  Differs from the published code in `softplus`, which is exact for a raw
  parameter of any size; log(1 + exp(x)) is infinite from 89 on in float32.

  Args:
    student: (B, H, W, C) float, the predicted mean (after the regressor).
    teacher: (B, H', W', C) float; a constant.
    log_scale: (C,) float, the raw variances, which are trained as well.
      log(exp(5 - eps) - 1) starts them at the variance 5.
    eps: > 0, the least variance, in squared units of the map.

  Returns:
    (B,) float32 (float64 for float64), nats, without the constant
    log(2 pi) / 2; negative where the variances are small.

  Raises:
    ValueError: at trace time, if the batches or channels differ, a map has no
      four dimensions, `log_scale` is not (C,), or `eps` is not positive.

  Example:
    >>> student = jnp.ones((1, 1, 1, 1))
    >>> print(vid(student, 3 * student, jnp.zeros(1), eps=1.0).round(4))
    [1.4445]

  Source:
    Ahn et al. 2019, arXiv:1904.05835 (the Gaussian model).
  """
  checks.positive("vid", eps=eps)
  student, teacher = pooling.pool_to_smaller("vid", student, teacher)
  if log_scale.shape != student.shape[-1:]:
    raise ValueError(
      "vid: log_scale must have one entry a channel, got"
      f" {log_scale.shape} for maps {student.shape}"
    )
  raw = _math.at_least_float32(log_scale).astype(student.dtype)
  variance = (jax.nn.softplus(raw) + eps)[None, None, None, :]
  loss = jnp.square(student - teacher) / variance + jnp.log(variance)
  return 0.5 * jnp.mean(_features.per_example(loss), axis=-1)


def factor_transfer(
  student: jax.Array, teacher: jax.Array, *, p: float = 1
) -> jax.Array:
  """Distance of normalised factors: the teacher's paraphrase, translated.

  loss_b = mean over all elements of example b of |u(student) - u(teacher)|^p,
  u(x) = x / ||x|| over the whole example

  Not to be confused with RepDistiller's class `FactorTransfer`, which compares
  attention maps: that is `attention_transfer(distance="l1")`. Differs from the
  published code where a factor is all zero: it stays zero, with zero gradient.

  Args:
    student: (B, ...) float, the translator's factor.
    teacher: (B, ...) float, the paraphraser's factor, same shape; a constant.
    p: > 0, the exponent; 1 in the published code.

  Returns:
    (B,) float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or have no batch dimension,
      or if `p` is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 4.0]]), jnp.array([[2.0, 0.0]])
    >>> print(factor_transfer(student, teacher))
    [1.]

  Source:
    Kim, Park, Kwak 2018, arXiv:1802.04977 (the student's loss).
  """
  checks.same_shape("factor_transfer", student, teacher)
  checks.positive("factor_transfer", p=p)
  _features.check_at_least_rank("factor_transfer", 1, student, teacher)
  student, teacher = map(
    _features.per_example, _features.working_pair(student, teacher)
  )

  def mean_power(u, v):
    return jnp.mean(_features.power(u - v, p), axis=-1)

  return _quick.unless_extreme(
    _quick.inverse_length,
    lambda s, t, inverse, inverse_t: mean_power(s * inverse, t * inverse_t),
    lambda s, t: mean_power(_math.unit(s), _math.unit(t)),
    student,
    teacher,
  )


ft = factor_transfer


def mgd(
  student: jax.Array,
  teacher: jax.Array,
  mask: jax.Array,
  *,
  generate: Callable[[jax.Array], jax.Array],
) -> jax.Array:
  """Squared distance to the teacher of a map generated from a masked one.

  loss_b = sum over all elements of example b of
           (generate(student * mask) - teacher)^2

  A sum, as in the published code; its weight (7e-5) is the caller's.

  Args:
    student: (B, H, W, C) float, aligned with the teacher.
    teacher: (B, H, W, D) float; a constant.
    mask: bool or float, broadcasts to the student's map; 1 keeps, 0 erases.
      (B, 1, 1, C) erases channels (classification), (B, H, W, 1) positions
      (dense tasks).
    generate: the generation block, from the student's masked map to the
      teacher's shape. It is called in the student's own dtype.

  Returns:
    (B,) float32 (float64 for float64), squared units of the map, >= 0.

  Raises:
    ValueError: at trace time, if the mask does not broadcast to the student's
      shape or the generated map has not the teacher's.

  Example:
    >>> student, keep = jnp.ones((1, 1, 1, 2)), jnp.array([[[[1.0, 0.0]]]])
    >>> print(mgd(student, student, keep, generate=lambda x: 3 * x))
    [5.]

  Source:
    Yang et al. 2022 (MGD), arXiv:2205.01529.
  """
  aligned_shape = (1,) * (student.ndim - mask.ndim) + mask.shape
  fits = len(aligned_shape) == student.ndim and all(
    size in (1, whole)
    for size, whole in zip(aligned_shape, student.shape, strict=True)
  )
  if not fits:
    raise ValueError(
      f"mgd: mask must broadcast to the student's map, got {mask.shape} and"
      f" {student.shape}"
    )
  keep = mask.astype(student.dtype).reshape(aligned_shape)
  output = generate(student * keep)
  if output.shape != teacher.shape:
    raise ValueError(
      "mgd: generate must return the teacher's shape, got"
      f" {output.shape} and {teacher.shape}"
    )
  return fitnet(output, teacher, reduce="sum")


def vitkd(
  student_shallow: jax.Array,
  teacher_shallow: jax.Array,
  student_deep: jax.Array,
  teacher_deep: jax.Array,
  mask: jax.Array,
  *,
  alpha: float = 3e-5,
  beta: float = 3e-6,
  lam: float = 0.5,
) -> jax.Array:
  """Shallow layers mimicked, deep tokens generated, for vision transformers.

  loss_b = alpha * sum (student_shallow - teacher_shallow)^2
         + beta / lam * sum over erased tokens (student_deep - teacher_deep)^2

  Sums, as in the published code, whose weights are the defaults. The adaptors,
  the masking and the generation block are the caller's.

  Args:
    student_shallow: (B, layers, T, D) float, after the linear adaptors.
    teacher_shallow: (B, layers, T, D) float; a constant.
    student_deep: (B, T, D) float, after masking and generation.
    teacher_deep: (B, T, D) float; a constant.
    mask: (B, T) bool, True where the token had been erased. Other tokens may
      hold NaN.
    alpha: weight of the shallow layers.
    beta: weight of the deep layer.
    lam: > 0, the share of erased tokens.

  Returns:
    (B,) float32 (float64 for float64), weighted squared units, >= 0.

  Raises:
    ValueError: at trace time, if two sides' shapes differ, the mask is not
      (B, T), or `lam` is not positive.

  Example:
    >>> one, two = jnp.ones((1, 1, 2, 1)), jnp.ones((1, 2, 1))
    >>> erased = jnp.array([[True, False]])
    >>> print(vitkd(one, 2 * one, two, 3 * two, erased, alpha=1.0, beta=1.0))
    [10.]

  Source:
    Yang et al. 2022 (ViTKD), arXiv:2209.02432.
  """
  checks.positive("vitkd", lam=lam)
  checks.weights("vitkd", alpha=alpha, beta=beta)
  checks.same_shape("vitkd", student_deep, teacher_deep)
  if mask.shape != student_deep.shape[:-1]:
    raise ValueError(
      "vitkd: mask must have one entry a token, got"
      f" {mask.shape} for tokens {student_deep.shape}"
    )
  checks.same_shape("vitkd", student_shallow, teacher_shallow)
  erasure = checks.mask("vitkd", mask)[..., None]
  student_deep = jnp.where(erasure, student_deep, 0)
  teacher_deep = jnp.where(erasure, teacher_deep, 0)
  shallow = fitnet(student_shallow, teacher_shallow, reduce="sum")
  deep = fitnet(student_deep, teacher_deep, reduce="sum")
  return alpha * shallow + beta / lam * deep


def patient_kd(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Squared distance of normalised [CLS] states, mean over layers.

  loss_b = mean over layers of || u(student) - u(teacher) ||^2,  u(x) = x / ||x||

  It is 2 - 2 cosine. Differs from the published code where a state is all zero:
  it stays zero, with zero gradient.

  Args:
    student: (B, D) or (B, layers, D) float.
    teacher: same shape; a constant.

  Returns:
    (B,) float32 (float64 for float64), no unit, between 0 and 4.

  Raises:
    ValueError: at trace time, if the shapes differ or have not two or three
      dimensions.

  Example:
    >>> student, teacher = jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 2.0]])
    >>> print(patient_kd(student, teacher))
    [2.]

  Source:
    Sun et al. 2019, arXiv:1908.09355 (the patient loss).
  """
  checks.same_shape("patient_kd", student, teacher)
  if student.ndim not in (2, 3):
    raise ValueError(
      "patient_kd: student and teacher must be (batch, dim) or (batch, layers,"
      f" dim), got {student.shape} and {teacher.shape}"
    )
  student, teacher = _features.working_pair(student, teacher)
  squares = jnp.square(_math.unit(student) - _math.unit(teacher))
  loss = jnp.sum(squares, axis=-1)
  return loss if loss.ndim == 1 else jnp.mean(loss, axis=1)


pkd = patient_kd
