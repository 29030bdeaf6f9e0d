"""Losses on pre-activations: on which side of zero, and how far below it."""

import math

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, checks


def ab(
  student: jax.Array, teacher: jax.Array, *, margin: float = 1.0
) -> jax.Array:
  """Pulls the student's neurons to the teacher's side of zero, with a margin.

  loss_b = sum over neurons of  (s + m)^2 where t <= 0 and s > -m,
                                (s - m)^2 where t > 0 and s <= m

  A sum over the elements of an example, as in the official code (which divides
  the batch's sum by the batch), not a mean: its published weights assume it.
  RepDistiller's `ABLoss` is this times 3/1000, and half as much a layer
  earlier.

  Args:
    student: (B, ...) float, before the ReLU.
    teacher: (B, ...) float, before the ReLU, same shape; a constant.
    margin: m >= 0, in the pre-activations' unit.

  Returns:
    (B,) float32 (float64 for float64), squared units, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or have no batch dimension.

  Example:
    >>> student, teacher = jnp.array([[0.5, 0.5]]), jnp.array([[1.0, -1.0]])
    >>> print(ab(student, teacher))
    [2.5]

  Source:
    Heo, Lee, Yun, Choi 2019, arXiv:1811.03233 (the alternative loss).
  """
  checks.same_shape("ab", student, teacher)
  _features.check_at_least_rank("ab", 1, student, teacher)
  student, teacher = _features.working_pair(student, teacher)
  fires = teacher > 0
  too_high = (student > -margin) & ~fires
  too_low = (student <= margin) & fires
  # The distance to the margin on the teacher's side.
  distance = student - jnp.where(fires, margin, -margin).astype(student.dtype)
  loss = jnp.where(too_high | too_low, jnp.square(distance), 0.0)
  return jnp.sum(_features.per_example(loss), axis=-1)


def ofd(student: jax.Array, teacher: jax.Array, margin: jax.Array) -> jax.Array:
  """Partial distance to the teacher's pre-activations behind a margin ReLU.

  t' = max(teacher, margin);
  loss_b = sum over elements of (s - t')^2 where s > t' or t' > 0

  A student below a negative target is left alone: the ReLU will cut it off.
  A sum over the elements of an example: the official recipe divides it by 1000
  and halves it a stage earlier, mdistiller sums the stages as they are.

  Args:
    student: (B, ..., C) float, before the ReLU, after the regressor.
    teacher: (B, ..., C) float, before the ReLU, same shape; a constant.
    margin: (C,) float, negative, from `ofd_margin`; a constant.

  Returns:
    (B,) float32 (float64 for float64), squared units, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or have fewer than two
      dimensions, or if `margin` is not (C,).

  Example:
    >>> student, teacher = jnp.array([[1.0, -3.0]]), jnp.array([[2.0, -2.0]])
    >>> print(ofd(student, teacher, jnp.array([-1.0, -1.0])))
    [1.]

  Source:
    Heo et al. 2019, arXiv:1904.01866 (the partial L2 distance).
  """
  checks.same_shape("ofd", student, teacher)
  _features.check_at_least_rank("ofd", 2, student, teacher)
  if margin.shape != student.shape[-1:]:
    raise ValueError(
      "ofd: margin must have one entry a channel, got"
      f" {margin.shape} for features {student.shape}"
    )
  student, teacher = _features.working_pair(student, teacher)
  margin = _math.constant(margin).astype(student.dtype)
  target = jnp.maximum(teacher, jnp.broadcast_to(margin, teacher.shape))
  counts = (student > target) | (target > 0)
  loss = jnp.where(counts, jnp.square(student - target), 0.0)
  return jnp.sum(_features.per_example(loss), axis=-1)


def ofd_margin(scale: jax.Array, bias: jax.Array) -> jax.Array:
  """Expected value of a batch-normed channel where it is negative.

  a = |scale|, r = bias / a;
  margin = bias - a pdf(r) / cdf(-r) where cdf(-r) > 0.001, else -3 a,
  with the standard normal pdf and cdf

  Differs from the official code in that a channel of scale 0 gives
  min(bias, 0), its limit, instead of NaN.

  Args:
    scale: (C,) float, the teacher's BatchNorm gamma; a constant.
    bias: (C,) float, its beta; a constant.

  Returns:
    (C,) float32 (float64 for float64), in the pre-activations' unit, <= 0.

  Raises:
    ValueError: at trace time, if the shapes differ.

  Example:
    >>> print(ofd_margin(jnp.array([1.0, 1.0]), jnp.array([-9.0, 9.0])))
    [-9. -3.]

  Source:
    Heo et al. 2019, arXiv:1904.01866 (the margin ReLU).
  """
  if scale.shape != bias.shape:
    raise ValueError(
      "ofd_margin: scale and bias must have the same shape, got"
      f" {scale.shape} and {bias.shape}"
    )
  bias, scale = _features.working_pair(jax.lax.stop_gradient(bias), scale)
  size = jnp.abs(scale)
  # Beyond 30 standard deviations nothing changes but pdf and cdf underflow.
  ratio = jnp.where(size > 0, bias / jnp.where(size > 0, size, 1.0), bias * 1e9)
  ratio = jnp.clip(ratio, -30.0, 30.0)
  below = jax.scipy.special.ndtr(-ratio)
  density = jnp.exp(-0.5 * jnp.square(ratio)) / math.sqrt(2 * math.pi)
  often = below > 0.001
  expectation = bias - size * density / jnp.where(often, below, 1.0)
  return jnp.where(often, expectation, -3.0 * size)
