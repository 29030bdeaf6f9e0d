"""Losses on projected features: the student's last layer meets the teacher's.

The projections are the caller's modules; what comes in is already projected.
"""

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, checks, pooling
from kdjax.losses.feature import fitnet
from kdjax.losses.response import logit_mse


def simkd(student: jax.Array, teacher: jax.Array) -> jax.Array:
  """Mean squared difference of last maps, for a student that reuses the head.

  loss_b = mean over positions and channels of (student - teacher)^2

  The larger map is average-pooled to the smaller one's size, as in the
  published model. The teacher's classifier is then used unchanged.

  Args:
    student: (B, H, W, C) float, already projected.
    teacher: (B, H', W', C) float, the last map; a constant.

  Returns:
    (B,) float32 (float64 for float64), squared units of the map, >= 0.

  Raises:
    ValueError: at trace time, if the batches or channels differ or a map has
      not four dimensions.

  Example:
    >>> student = jnp.array([0.0, 2.0, 4.0, 6.0]).reshape(1, 2, 2, 1)
    >>> print(simkd(student, jnp.full((1, 1, 1, 1), 5.0)))
    [4.]

  Source:
    Chen et al. 2022, arXiv:2203.14001.
  """
  return fitnet(*pooling.pool_to_smaller("simkd", student, teacher))


def srrl(
  student: jax.Array,
  teacher: jax.Array,
  student_logits: jax.Array,
  teacher_logits: jax.Array,
  *,
  feature_weight: float = 1.0,
  logit_weight: float = 1.0,
) -> jax.Array:
  """Pooled features matched, and what the teacher's classifier makes of them.

  loss_b = feature_weight * mean_c (mean_hw student - mean_hw teacher)^2
         + logit_weight * mean_k (student_logits - teacher_logits)^2

  Both parts are means, as in the published code.

  Args:
    student: (B, H, W, C) float, the connected (projected) map.
    teacher: (B, H, W, C) float; a constant.
    student_logits: (B, K) float: the teacher's classifier on the student's
      connected feature.
    teacher_logits: (B, K) float; a constant.
    feature_weight: weight of the pooled features.
    logit_weight: weight of the logits.

  Returns:
    (B,) float32 (float64 for float64), weighted squared units, >= 0.

  Raises:
    ValueError: at trace time, if two sides' shapes or the batches differ, or a
      map has not four dimensions.

  Example:
    >>> one, logits = jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 2))
    >>> print(srrl(one, 3 * one, logits, logits + 1.0))
    [5.]

  Source:
    Yang, Martinez, Bulat, Tzimiropoulos 2021, Knowledge distillation via
    softmax regression representation learning, ICLR.
  """
  checks.weights(
    "srrl", feature_weight=feature_weight, logit_weight=logit_weight
  )
  checks.same_shape("srrl", student, teacher)
  _features.check_maps("srrl", student, teacher)
  checks.same_shape("srrl", student_logits, teacher_logits)
  if student_logits.shape[:-1] != student.shape[:1]:
    raise ValueError(
      "srrl: logits must be (batch, classes) of the maps' batch, got"
      f" {student_logits.shape} for maps {student.shape}"
    )
  student, teacher = _features.working_pair(student, teacher)
  # One mean of differences loses less than a difference of two means.
  pooled = jnp.mean(student - teacher, axis=(1, 2))
  features = jnp.mean(jnp.square(pooled), axis=-1)
  logits = logit_mse(student_logits, teacher_logits)
  return feature_weight * features + logit_weight * logits


def srd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  exponent: float = 4.0,
  axis_name: str | None = None,
) -> jax.Array:
  """Logarithm of the summed powers of all differences in a batch.

  loss = log sum over examples and features of |student - teacher|^exponent

  The logarithm makes the gradient independent of the differences' size. It
  diverges to -inf, by definition, where both sides are equal; the gradient is
  zero there. Differs from the published code in that normalising the features
  (its BatchNorm without parameters) is the caller's, and in that the largest
  difference is taken out of the sum, so that no power overflows.

  Args:
    student: (B, D) float, already projected.
    teacher: (B, D) float; a constant.
    exponent: > 0.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64): a logarithm, of either sign.

  Raises:
    ValueError: at trace time, if the shapes differ or have no batch dimension,
      or if `exponent` is not positive.

  Example:
    >>> print(srd(jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2)), exponent=4.0))
    0.0

  Source:
    Miles, Mikolajczyk 2024, arXiv:2303.11098 (the distance metric).
  """
  checks.same_shape("srd", student, teacher)
  checks.positive("srd", exponent=exponent)
  _features.check_at_least_rank("srd", 1, student, teacher)
  student, teacher = _features.working_pair(student, teacher)
  difference = _math.gather_batch(student, axis_name) - _math.gather_batch(
    teacher, axis_name
  )
  difference = difference.ravel()
  scale = _math.magnitude(difference)
  total = jnp.sum(_features.power(difference / scale, exponent))
  # The largest term is 1 or more: the sum is 0 only where all differences are.
  different = total > 0
  log_total = jnp.log(jnp.where(different, total, 1.0))
  loss = log_total + exponent * jnp.log(jnp.squeeze(scale, -1))
  return jnp.where(different, loss, -jnp.inf)


def vkd(
  student: jax.Array, teacher: jax.Array, *, eps: float = 1e-5
) -> jax.Array:
  """Huber distance of a projected feature to the teacher's layer-normed one.

  loss_b = mean_d huber(student - n(teacher)),
  n(t) = (t - mean t) / sqrt(var t + eps),
  huber(x) = x^2 / 2 where |x| < 1, else |x| - 1/2

  The published code's layer norm of the teacher (biased variance, eps inside
  the root, no parameters) with its smooth L1 loss. It is taken over the last
  axis, and finite for features of any size.

  Args:
    student: (B, D) float, orthogonally projected.
    teacher: (B, D) float; a constant.
    eps: > 0, added to the variance, in its unit.

  Returns:
    (B,) float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or are not (B, D), or `eps`
      is not positive.

  Example:
    >>> student, teacher = jnp.zeros((1, 2)), jnp.array([[4.0, 8.0]])
    >>> print(vkd(student, teacher).round(4))
    [0.5]

  Source:
    Miles, Elezi, Deng 2024, arXiv:2403.06213.
  """
  checks.same_shape("vkd", student, teacher)
  checks.positive("vkd", eps=eps)
  if student.ndim != 2:
    raise ValueError(
      "vkd: student and teacher must be (batch, dim), got"
      f" {student.shape} and {teacher.shape}"
    )
  student, teacher = _features.working_pair(student, teacher)
  target = _layer_norm(teacher, eps)
  return jnp.mean(_math.huber(student - target), axis=-1)


def _layer_norm(x, eps):
  """Normalises each row; a constant row gives zeros, whatever its size."""
  # A mean of equal numbers may be off by a bit, which is a large part of the
  # root of eps where they are large: the maximum goes first, exactly. No shift
  # has a slope.
  largest = jnp.max(x, axis=-1, keepdims=True)
  shifted = x - jax.lax.stop_gradient(largest)
  scale = jnp.maximum(_math.magnitude(shifted), 1.0)
  scaled = shifted / scale
  centred = scaled - jnp.mean(scaled, axis=-1, keepdims=True)
  variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
  root = _math.safe_sqrt(variance + eps / jnp.square(scale))
  return centred / jnp.where(root > 0, root, 1.0)
