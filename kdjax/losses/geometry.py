"""Losses on the geometry of a batch: its distances and angles (RKD)."""

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, checks

# From so many differences (n^2 D) on, distances and angles are had from a Gram
# matrix, if no pair is close; below it, always from the differences.
_MANY = 1 << 18
# The least squared distance of a pair that is not close, over the largest
# squared distance from the centre. Rounding the Gram matrix is then worth at
# most 4 eps / 0.01, 2e-5 in float32, of a cosine, and less of a distance.
_CLOSE = 0.01
# Rows of a Gram matrix that one pass over all pairs serves: more of them read
# and write less, and take longer to compile.
_ROWS = 8


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

  Differs from the published code, which uses the Gram matrix: it has no correct
  digit for close pairs, so distances come from differences wherever a pair is
  close. A pair of duplicates has zero gradient.

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
    Park et al. 2019, arXiv:1904.05068 (the distance-wise loss).
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
  d = _squared_distances(rows / scale)
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
  each block anew. Where no pair is close the angles come from the Gram matrix
  of the centred batch, which is faster by a factor of D; else from the
  differences. A pair of duplicates has direction 0 and zero gradient.

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
    Park et al. 2019, arXiv:1904.05068 (the angle-wise loss).
  """
  student, teacher = _features.relation_pair(
    "rkd_angle", student, teacher, axis_name
  )
  if not _is_many(student) and not _is_many(teacher):
    return _angles_of_differences(student, teacher)
  # Without their common size, which changes no angle, no square overflows.
  gram_s, gram_t = (
    _centred_gram(rows / _math.magnitude(rows, axis=(0, 1)))
    for rows in (student, teacher)
  )
  return jax.lax.cond(
    _no_pair_is_close(gram_s) & _no_pair_is_close(gram_t),
    lambda: _angles_of_grams(gram_s, gram_t),
    lambda: _angles_of_differences(student, teacher),
  )


def _angles_of_differences(student, teacher):
  """Returns the loss from the (n, D) directions that each example sees."""

  def cosines(anchor, rows):
    directions = _math.unit(anchor[None, :] - rows)
    return jnp.matmul(directions, directions.T, precision=_math.HIGHEST)

  def seen_from(of_student, of_teacher):
    difference = cosines(of_student, student) - cosines(of_teacher, teacher)
    return jnp.mean(_math.huber(difference))

  count = student.shape[0]
  elements = count * (student.shape[1] + teacher.shape[1] + count)
  return jnp.mean(_features.map_rows(seen_from, (student, teacher), elements))


@jax.custom_jvp
def _angles_of_grams(gram_s, gram_t):
  """Returns the loss from inner products alone: <f_i - f_j, f_i - f_k>."""
  return _angles_and_slope(gram_s, gram_t)[0]


@_angles_of_grams.defjvp
def _(primals, tangents):
  # In closed form, next to the value: differentiated as it stands, it computes
  # all n^3 angles twice. The teacher is a constant.
  loss, slope = _angles_and_slope(*primals)
  return loss, jnp.sum(slope * tangents[0])


def _angles_and_slope(gram_s, gram_t):
  """Returns the loss and its derivative by the student's Gram matrix.

  With v_ij one over the distance, A_ijk = (G_jk - G_ij - G_ik + G_ii) v_ij v_ik.
  What is summed over the anchors i is summed so; what belongs to an anchor and
  one of its ends is summed over the other end k, with all anchors at a time. So
  all sums are additions of (n, n) matrices, and none is a reduction.
  """
  count = len(gram_s)
  inverse_s, inverse_t = _inverse_distances(gram_s), _inverse_distances(gram_t)
  norms_s, norms_t = jnp.diagonal(gram_s), jnp.diagonal(gram_t)

  def from_anchor(total, anchor):
    def cosines(gram, row, inverse, norm):
      products = (gram - row[:, None]) - (row - norm)[None, :]
      return products * (inverse[:, None] * inverse[None, :])

    of_student, of_teacher = anchor
    difference = cosines(gram_s, *of_student) - cosines(gram_t, *of_teacher)
    inverse = of_student[1]
    return total + jnp.clip(difference, -1.0, 1.0) * (
      inverse[:, None] * inverse[None, :]
    )

  def to_end(totals, end):
    def cosines(gram, norms, all_inverse, row, inverse):
      products = (norms[:, None] - gram) - row[:, None] + row[None, :]
      return products * (all_inverse * inverse[:, None])

    of_student, of_teacher = end
    angles = cosines(gram_s, norms_s, inverse_s, *of_student)
    difference = angles - cosines(gram_t, norms_t, inverse_t, *of_teacher)
    pull = jnp.clip(difference, -1.0, 1.0)
    loss, pulls, turns = totals
    return (
      loss + pull * (difference - 0.5 * pull),
      pulls + pull * of_student[1][:, None],
      turns + pull * angles,
    )

  zero = jnp.zeros_like(gram_s)
  sides = (gram_s, inverse_s), (gram_t, inverse_t)
  total = _add_up(
    from_anchor,
    zero,
    tuple(
      (*x, norms) for x, norms in zip(sides, (norms_s, norms_t), strict=True)
    ),
  )
  loss, pulls, turns = _add_up(to_end, (zero, zero, zero), sides)
  slope = _slope(total, pulls * inverse_s, turns, inverse_s)
  return jnp.sum(loss) / count**3, slope / count**3


def _add_up(add, totals, rows):
  """Returns the totals after `add(totals, row)` for each row."""

  def in_blocks(x):
    # A row of zeros has no distances, and adds nothing.
    blocks = jnp.pad(x, [(0, -len(x) % _ROWS)] + [(0, 0)] * (x.ndim - 1))
    return blocks.reshape(-1, _ROWS, *x.shape[1:])

  def step(carry, coming):
    totals, now = carry
    for i in range(_ROWS):
      totals = add(totals, jax.tree.map(lambda x, i=i: x[i], now))
    return (totals, coming), None

  # A block is carried into the step that uses it: cut out of the whole inside
  # the loop over pairs, its rows would keep that loop from being vectorised.
  blocks = jax.tree.map(in_blocks, rows)
  first = jax.tree.map(lambda x: x[0], blocks)
  coming = jax.tree.map(lambda x: jnp.roll(x, -1, axis=0), blocks)
  return jax.lax.scan(step, (totals, first), coming)[0][0]


def _slope(total, pulls, turns, inverse):
  """Returns the derivative by the Gram matrix, from the sums over anchors."""
  slope = total - 2 * pulls + jnp.diag(jnp.sum(pulls, axis=1))
  # Through the lengths: the derivative by the squared distances.
  lengths = -jnp.square(inverse) * turns
  ends = jnp.diag(jnp.sum(lengths, axis=1) + jnp.sum(lengths, axis=0))
  return slope + ends - 2 * lengths


def _is_many(rows):
  return rows.shape[0] * rows.size > _MANY


def _centred_gram(rows):
  """Returns the inner products of the rows, seen from their centre."""
  # Where the centre is changes no distance and no angle: it is a constant.
  centre = jax.lax.stop_gradient(jnp.mean(rows, axis=0, keepdims=True))
  return _math.gram(rows - _math.apart(centre))


def _squares_of_gram(gram):
  """Returns the squared distances of all pairs, 0 on the diagonal."""
  norms = jnp.diagonal(gram)
  squares = norms[:, None] + norms[None, :] - 2 * gram
  return jnp.where(jnp.eye(gram.shape[0], dtype=bool), 0.0, squares)


def _inverse_distances(gram):
  """Returns one over all distances, 0 on the diagonal."""
  squares = _squares_of_gram(gram)
  apart = squares > 0
  # Under `vmap` this runs for close pairs too, whose result is not used.
  return jnp.where(apart, jax.lax.rsqrt(jnp.where(apart, squares, 1.0)), 0.0)


def _no_pair_is_close(gram):
  """True where rounding the Gram matrix does no harm to any pair."""
  gram = jax.lax.stop_gradient(gram)
  diagonal = jnp.eye(gram.shape[0], dtype=bool)
  least = jnp.min(jnp.where(diagonal, jnp.inf, _squares_of_gram(gram)))
  return least > _CLOSE * jnp.max(jnp.diagonal(gram))


def _squared_distances(rows):
  """Returns the (n, n) squared distances, by whichever way is exact enough."""
  if not _is_many(rows):
    return _features.squared_distances(rows)
  gram = _centred_gram(rows)
  return jax.lax.cond(
    _no_pair_is_close(gram),
    lambda: _squares_of_gram(gram),
    lambda: _features.squared_distances(rows),
  )


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
    Park et al. 2019, arXiv:1904.05068.
  """
  student, teacher = _features.relation_pair("rkd", student, teacher, axis_name)
  checks.weights(
    "rkd", distance_weight=distance_weight, angle_weight=angle_weight
  )
  return distance_weight * rkd_distance(
    student, teacher
  ) + angle_weight * rkd_angle(student, teacher)
