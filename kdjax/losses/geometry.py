"""Losses on the geometry of a batch: its distances and angles (RKD)."""

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math


def rkd_distance(
  student: jax.Array,
  teacher: jax.Array,
  *,
  squared: bool = False,
  eps: float = 1e-12,
  axis_name: str | None = None,
) -> jax.Array:
  """Huber loss of the distances of all pairs, each side over its own mean.

  d_ij = sqrt(max(||f_i - f_j||^2, eps)), and 0 for i = j;
  D = d / mean of d over the n (n - 1) pairs i != j;
  loss = mean_ij huber(D_student - D_teacher) over all n^2 entries,
  huber(x) = x^2 / 2 where |x| < 1, else |x| - 1/2

  Differs from the published code in that distances come from differences: the
  Gram matrix, which it uses, has no correct digit for close pairs. A pair of
  duplicates has zero gradient.

  Args:
    student: (B, ...) float, flattened to (B, D), B >= 2.
    teacher: (B, ...) float, of any feature size; a constant.
    squared: whether to leave out the root.
    eps: the least squared distance, in squared units of the features.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if the batches differ or are below two.

  Example:
    >>> student = jnp.array([[0.0], [1.0], [2.0]])
    >>> print(f"{rkd_distance(student, jnp.eye(3)):.4f}")
    0.0417

  Source:
    Park et al. 2019, arXiv:1904.05068, section 3.2.1.
  """
  student, teacher = _features.relation_pair(
    "rkd_distance", student, teacher, axis_name
  )
  difference = _distances(student, squared, eps) - _distances(
    teacher, squared, eps
  )
  return jnp.mean(_math.huber(difference))


def _distances(rows, squared, eps):
  """Returns the (n, n) distances over their mean."""
  # A common factor leaves with the mean; taken out before the squares, it keeps
  # them from overflowing. It is never below 1, nor eps ever 0, so that a batch
  # of duplicates has a mean to be divided by.
  scale = jnp.maximum(_math.magnitude(rows, axis=(0, 1)), 1.0)
  least = jnp.maximum(eps / jnp.square(scale), jnp.finfo(rows.dtype).tiny)
  d = _features.squared_distances(rows / scale)
  apart = d > least
  if not squared:
    d, least = jnp.sqrt(jnp.where(apart, d, 1.0)), jnp.sqrt(least)
  d = jnp.where(apart, d, jnp.broadcast_to(least, d.shape))
  count = rows.shape[0]
  d = jnp.where(jnp.eye(count, dtype=bool), 0.0, d)
  return d / (jnp.sum(d) / (count * (count - 1)))


def rkd_angle(
  student: jax.Array, teacher: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """Huber loss of the cosines of all angles that three examples make.

  e_ij = u(f_i - f_j),  A_ijk = <e_ij, e_ik>,  u(x) = x / ||x||;
  loss = mean_ijk huber(A_student - A_teacher) over all n^3 entries

  The published code holds (n, n, D) differences and n^3 angles; here large
  batches go through the anchors i in blocks, and the backward pass computes
  each block anew. A pair of duplicates has direction 0 and zero gradient.

  Args:
    student: (B, ...) float, flattened to (B, D), B >= 2.
    teacher: (B, ...) float, of any feature size; a constant.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, between 0 and 3/2.

  Raises:
    ValueError: at trace time, if the batches differ or are below two.

  Example:
    >>> student = jnp.array([[0.0], [1.0], [2.0]])
    >>> print(f"{rkd_angle(student, jnp.eye(3)):.4f}")
    0.0926

  Source:
    Park et al. 2019, arXiv:1904.05068, section 3.2.2.
  """
  student, teacher = _features.relation_pair(
    "rkd_angle", student, teacher, axis_name
  )
  count = student.shape[0]

  def seen_from(of_student, of_teacher):
    cosines = _cosines(of_student, student) - _cosines(of_teacher, teacher)
    return jnp.mean(_math.huber(cosines))

  elements = count * (student.shape[1] + teacher.shape[1] + count)
  return jnp.mean(_features.map_rows(seen_from, (student, teacher), elements))


def _cosines(anchor, rows):
  """Returns the (n, n) cosines of the angles at the anchor."""
  directions = _math.unit(anchor[None, :] - rows)
  return jnp.matmul(directions, directions.T, precision=_math.HIGHEST)


def rkd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  distance_weight: float = 25.0,
  angle_weight: float = 50.0,
  axis_name: str | None = None,
) -> jax.Array:
  """Weighted sum of `rkd_distance` and `rkd_angle`.

  loss = distance_weight * rkd_distance + angle_weight * rkd_angle

  The default weights are the published ones; both parts differ from the
  published code as described there.

  Args:
    student: (B, ...) float, flattened to (B, D), B >= 2.
    teacher: (B, ...) float, of any feature size; a constant.
    distance_weight: weight of the distances.
    angle_weight: weight of the angles.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if the batches differ or are below two.

  Example:
    >>> student = jnp.array([[0.0], [1.0], [2.0]])
    >>> print(f"{rkd(student, jnp.eye(3)):.4f}")
    5.6713

  Source:
    Park et al. 2019, arXiv:1904.05068, section 3.2.
  """
  student, teacher = _features.relation_pair("rkd", student, teacher, axis_name)
  return distance_weight * rkd_distance(
    student, teacher
  ) + angle_weight * rkd_angle(student, teacher)
