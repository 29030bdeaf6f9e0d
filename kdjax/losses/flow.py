"""Losses on how features change from layer to layer: FSP matrices, SVD."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, checks, pooling


def fsp(
  student: tuple[jax.Array, jax.Array],
  teacher: tuple[jax.Array, jax.Array],
  *,
  pool: str = "max",
  reduce: str = "mean",
) -> jax.Array:
  """Difference of FSP matrices: the flow of solution between two layers.

  G = first . second' / (h w), (C1, C2): inner products over positions
  loss_b = mean over entries of (G_student - G_teacher)^2,
  or the sum with `reduce="sum"`, the paper's squared norm

  Where the two maps of a side differ in size, the larger is pooled to the
  smaller. The mean and `pool="avg"` are RepDistiller's, the maximum is the
  paper's. torchdistill's `FSPLoss` adds up the norms of columns: another loss.

  Args:
    student: (first, second), (B, H, W, C1) and (B, H', W', C2) float.
    teacher: (first, second), with the student's channel counts; constants.
      The sizes of the maps may differ from the student's.
    pool: "max" or "avg".
    reduce: "mean" or "sum" over the entries of the matrix.

  Returns:
    (B,) float32 (float64 for float64), the features' unit to the fourth, >= 0.

  Raises:
    ValueError: at trace time, if a side is no pair of NHWC maps of one batch,
      channel counts differ, or `pool` or `reduce` is unknown.

  Example:
    >>> one = jnp.ones((1, 2, 2, 1))
    >>> print(fsp((one, 3 * one), (one, one)))
    [4.]

  Source:
    Yim, Joo, Bae, Kim 2017, A gift from knowledge distillation, CVPR.
  """
  checks.choice("fsp", ("max", "avg"), pool=pool)
  checks.choice("fsp", ("mean", "sum"), reduce=reduce)
  if len(student) != 2 or len(teacher) != 2:
    raise ValueError(
      "fsp: each side must be a pair of maps, got"
      f" {len(student)} and {len(teacher)} maps"
    )
  pairs = []
  for s, t in zip(student, teacher, strict=True):
    _features.check_maps("fsp", s, t)
    pairs.append(_features.working_pair(s, t))
  of_student, of_teacher = zip(*pairs, strict=True)
  difference = _flow(*of_student, pool) - _flow(*of_teacher, pool)
  squares = _features.per_example(jnp.square(difference))
  return jnp.mean(squares, -1) if reduce == "mean" else jnp.sum(squares, -1)


def _flow(first, second, pool):
  """Returns the (B, C1, C2) FSP matrix of two maps."""
  _features.check_maps("fsp", first, second, same_channels=False)
  size = pooling.smaller_size(first, second)
  pools = {"max": pooling.adaptive_max_pool, "avg": pooling.adaptive_avg_pool}
  first, second = (pools[pool](side, size=size) for side in (first, second))
  # Divided before the sum, which then cannot be larger than its terms.
  first = first / (size[0] * size[1])
  return jnp.einsum("bhwc,bhwd->bcd", first, second, precision=_math.HIGHEST)


def kdsvd(
  student: Sequence[jax.Array], teacher: Sequence[jax.Array], *, k: int = 1
) -> jax.Array:
  """Relations between layers' main directions, found by an SVD of each map.

  Each map is a matrix (positions, C) with right singular vectors V and singular
  values s. The teacher keeps k columns of V, the student k + 3; for each
  teacher column the student's column with the largest |cosine| is taken, turned
  by the cosine's sign. Both are scaled by the teacher's s, of unit length.
  R_l[i, j] = exp(-(v_l[i] - v_{l-1}[j])^2 / 8) for all channel pairs of two
  consecutive maps;  loss_b = sum over l, i, j, k of (R_student - R_teacher)^2

  Differs from the published code in three places. LAPACK leaves the sign of a
  singular vector free and the loss depends on it: here the component of
  largest magnitude is positive. Directions that the map's rank does not
  reach are zero. The gradient leaves out what would be divided by the
  difference of equal singular values, or by a zero one, where it is NaN in
  the published code (which then sets NaN losses to 0).

  Args:
    student: two or more maps (B, H, W, C) float.
    teacher: as many maps, with the student's channels at the same place;
      constants. Sizes may differ.
    k: >= 1, the teacher's directions.

  Returns:
    (B,) float32 (float64 for float64), no unit, >= 0. Expect relative errors
    of 1e-3 in float32 gradients where singular values are close.

  Raises:
    ValueError: at trace time, if the numbers of maps differ or are below two,
      a batch or channel count differs, or k < 1.

  Example:
    >>> first, second = jnp.eye(2).reshape(1, 2, 1, 2), jnp.ones((1, 1, 1, 2))
    >>> print(kdsvd((first, second), (first, second)))
    [0.]

  Source:
    Lee, Kim, Song 2018, arXiv:1807.06819.
  """
  if len(student) != len(teacher) or len(student) < 2:
    raise ValueError(
      "kdsvd: student and teacher must be equally many maps, two or more, got"
      f" {len(student)} and {len(teacher)}"
    )
  k = checks.whole("kdsvd", "k", k)
  pairs = []
  for s, t in zip(student, teacher, strict=True):
    _features.check_maps("kdsvd", s, t)
    pairs.append(_aligned(*_features.working_pair(s, t), k))
  loss = 0.0
  for before, after in zip(pairs[:-1], pairs[1:], strict=True):
    elements = 8 * after[0].shape[1] * before[0].shape[1] * k
    loss += _features.map_rows(_transition, (*after, *before), elements)
  return loss


def _aligned(student, teacher, k):
  """Returns (B, C, k) directions of both sides, scaled by the teacher's."""
  student, teacher = (
    side.reshape(side.shape[0], -1, side.shape[-1])
    for side in (student, teacher)
  )
  teacher = teacher / _math.magnitude(teacher, axis=(1, 2))
  student = student / _math.magnitude(student, axis=(1, 2))
  right, values = _main_directions(teacher, k)
  right, values = jax.lax.stop_gradient((right, values))
  values = _math.unit(values)[:, None, :]
  left = _right_vectors(student, k + 3)
  cosine = jnp.einsum(
    "bci,bcj->bij", jax.lax.stop_gradient(left), right, precision=_math.HIGHEST
  )
  best = jnp.argmax(jnp.abs(cosine), axis=1)[:, None, :]
  sign = jnp.sign(jnp.take_along_axis(cosine, best, axis=1))
  left = jnp.take_along_axis(left, best, axis=2) * sign
  return left * values, right * values


def _transition(student, teacher, student_before, teacher_before):
  """Returns sum (R_student - R_teacher)^2 for the (C, k) of two layers."""
  from_student = student[:, None, :] - student_before[None, :, :]
  from_teacher = teacher[:, None, :] - teacher_before[None, :, :]
  # exp(a) - exp(b) = exp(b) expm1(a - b): both are close to 1.
  gap = (from_teacher - from_student) * (from_teacher + from_student) / 8
  relation = jnp.exp(-jnp.square(from_teacher) / 8)
  return jnp.sum(jnp.square(relation * jnp.expm1(gap)))


def _main_directions(x, k):
  """Returns the first k right singular vectors, (B, C, k), and values, (B, k).

  In each vector the component of largest magnitude is positive. Columns beyond
  the rank are zero.
  """
  _, values, right = _svd(x)
  right, values = right[:, :, :k], values[:, :k]
  missing = k - values.shape[-1]
  right = jnp.pad(right, ((0, 0), (0, 0), (0, missing)))
  return right, jnp.pad(values, ((0, 0), (0, missing)))


def _svd(x):
  """Returns U, s, V of a thin SVD, with signs fixed and zeros past the rank."""
  left, values, right = jnp.linalg.svd(x, full_matrices=False)
  right = jnp.swapaxes(right, 1, 2)
  largest = jnp.argmax(jnp.abs(right), axis=1)[:, None, :]
  sign = jnp.sign(jnp.take_along_axis(right, largest, axis=1))
  rank = (values > _tolerance(x, values))[:, None, :]
  return (
    jnp.where(rank, left * sign, 0.0),
    jnp.where(rank[:, 0], values, 0.0),
    jnp.where(rank, right * sign, 0.0),
  )


def _tolerance(x, values):
  """Returns (B, 1): what rounding makes of a singular value of zero."""
  return values[:, :1] * (max(x.shape[1:]) * jnp.finfo(x.dtype).eps)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _right_vectors(x, k):
  """Returns `_main_directions`' vectors, with a derivative that stays finite."""
  return _main_directions(x, k)[0]


@_right_vectors.defjvp
def _right_vectors_jvp(k, primals, tangents):
  """Differentiates the vectors by first-order perturbation of x'x.

  dv_j = sum_i v_i (s_i P_ij + s_j P_ji) / (s_j^2 - s_i^2) + rest_j / s_j,
  P = U' dx V,  rest = the part of dx'U outside the span of V.
  """
  (x,), (dx,) = primals, tangents
  left, values, right = _svd(x)
  count = min(k, values.shape[-1])
  tolerance = _tolerance(x, values)
  collectives = jnp.einsum("bmc,bmi->bci", dx, left, precision=_math.HIGHEST)
  inside = jnp.einsum(
    "bci,bcj->bij", collectives, right, precision=_math.HIGHEST
  )
  low, high = values[:, :, None], values[:, None, :]
  gap = high - low
  distinct = jnp.abs(gap) > tolerance[:, :, None]
  inverse = jnp.where(
    distinct, 1.0 / jnp.where(distinct, gap * (high + low), 1.0), 0.0
  )
  turn = inverse * (low * inside + high * jnp.swapaxes(inside, 1, 2))
  result = jnp.matmul(right, turn[:, :, :count], precision=_math.HIGHEST)
  # Without this part a channel that is dead so far would get no gradient.
  rest = collectives - jnp.matmul(
    right, jnp.swapaxes(inside, 1, 2), precision=_math.HIGHEST
  )
  rest = jnp.where(high > 0, rest / jnp.where(high > 0, high, 1.0), 0.0)
  result += rest[:, :, :count]
  pad = ((0, 0), (0, 0), (0, k - count))
  return _main_directions(x, k)[0], jnp.pad(result, pad)
