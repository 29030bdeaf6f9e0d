"""Losses between feature maps: where they look, and what they look like."""

import jax
import jax.numpy as jnp

from kdjax.losses import (
  _features,
  _math,
  _quick,
  _rows,
  _terms,
  checks,
  pooling,
)


def attention_transfer(
  student: jax.Array,
  teacher: jax.Array,
  *,
  p: float = 2,
  distance: str = "mse",
) -> jax.Array:
  """Distance of spatial attention maps: look where the teacher looks.

  a(f) = u(mean_c |f|^p) over positions,  u(x) = x / ||x||
  loss_b = mean over positions of (a(student) - a(teacher))^2    "mse"
           || a(student) - a(teacher) ||                         "l2"
           mean over positions of |a(student) - a(teacher)|      "l1"

  The larger map is average-pooled to the smaller one's size; channel counts
  may differ. "mse" is what all published code computes, "l2" the paper's
  equation, "l1" RepDistiller's class `FactorTransfer`. The code bases take f^p,
  which for an odd p and negative features is no attention; we take |f|^p. A map
  of zeros stays zero with zero gradient.

  Args:
    student: (B, H, W, C) float.
    teacher: (B, H', W', C') float; a constant.
    p: > 0, the exponent; static.
    distance: "mse", "l2" or "l1".

  Returns:
    (B,) float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if the batches differ, a map has not four
      dimensions, `p` is not positive or `distance` unknown.

  Example:
    >>> student = jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> print(attention_transfer(student, student[:, ::-1]))
    [1.]

  Source:
    Zagoruyko, Komodakis 2017, arXiv:1612.03928; equation 2 is
    `distance="l2"`.
  """
  checks.positive("attention_transfer", p=p)
  checks.choice("attention_transfer", ("mse", "l2", "l1"), distance=distance)
  student, teacher = pooling.pool_to_smaller(
    "attention_transfer", student, teacher, same_channels=False
  )

  def distance_of(u, v):
    if distance == "l2":
      return _math.safe_norm(u - v)
    return jnp.mean(_features.power(u - v, 1 + (distance == "mse")), axis=-1)

  def energy_and_square(x):
    energy = _features.per_example(jnp.mean(_features.power(x, p), axis=-1))
    inverse, squares = _quick.inverse_length(energy)
    return energy * inverse, squares

  return _quick.unless_extreme(
    energy_and_square,
    lambda s, t, u, v: distance_of(u, v),
    lambda s, t: distance_of(_attention(s, p), _attention(t, p)),
    student,
    teacher,
  )


at = attention_transfer


def _attention(features, p):
  """Returns (B, positions) attention of unit length."""
  # The direction is the same whatever the largest feature is divided by, and
  # no power overflows. The length that counts as zero is that of the original.
  scale = _math.magnitude(features, axis=(1, 2, 3))
  energy = jnp.mean(_features.power(features / scale, p), axis=-1)
  threshold = 1e-12 / scale.reshape(-1, 1) ** p
  return _math.unit(_features.per_example(energy), eps=threshold)


def nst(
  student: jax.Array, teacher: jax.Array, *, kernel: str = "poly"
) -> jax.Array:
  """Maximum mean discrepancy of channel maps: neuron selectivity transferred.

  x_i, y_j = the channel maps of student and teacher, flattened, of unit length
  loss_b = mean_ij k(y_i, y_j) + mean_ij k(x_i, x_j) - 2 mean_ij k(x_i, y_j),
  k(a, b) = <a, b>^2 ("poly") or <a, b> ("linear")

  The larger map is average-pooled to the smaller one's size; channel counts
  may differ. A dead channel has length 0 and zero gradient. The published code
  builds all (B, C, C, H W) products; here the three terms are one square
  (see `_polynomial`), which takes the smaller of C^2 and (H W)^2 numbers an
  example, and subtracts features, not nearly equal means.

  Args:
    student: (B, H, W, C) float.
    teacher: (B, H', W', C') float; a constant.
    kernel: "poly" or "linear".

  Returns:
    (B,) float32 (float64 for float64), no unit, >= 0 up to rounding.

  Raises:
    ValueError: at trace time, if the batches differ, a map has not four
      dimensions, or `kernel` is unknown.

  Example:
    >>> student = jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> print(nst(student, student[:, ::-1]))
    [2.]

  Source:
    Huang, Wang 2017, arXiv:1707.01219 (the squared maximum mean
    discrepancy).
  """
  checks.choice("nst", ("poly", "linear"), kernel=kernel)
  student, teacher = pooling.pool_to_smaller(
    "nst", student, teacher, same_channels=False
  )
  x, y = (f.reshape(f.shape[0], -1, f.shape[-1]) for f in (student, teacher))
  if kernel == "linear":
    means = jnp.mean(_math.unit(x, axis=1), axis=-1) - jnp.mean(
      _math.unit(y, axis=1), axis=-1
    )
    return jnp.sum(jnp.square(means), axis=-1)
  width = max(x.shape[-1], y.shape[-1])
  smaller = min(x.shape[1], width)
  elements = 4 * (x.shape[1] * width + smaller * smaller)
  return _features.map_rows(_polynomial, (x, y), elements)


def _polynomial(x, y):
  """Returns || x x' - y y' ||^2, x and y (positions, channels), normalised.

  mean_ij <x_i, y_j>^2 is the inner product of the position Grams x x' and y y'
  (weights inside), so the whole loss is the square of their difference. That
  difference is (d + d') / 2 with d = (x - y)(x + y)': small where the maps
  are alike. Where channels are fewer than positions, || d ||^2 and <d, d'> come
  from channel Grams instead.
  """
  width = max(x.shape[1], y.shape[1])
  x, y = _weighted_units(x, width), _weighted_units(y, width)
  plus, minus = x + y, x - y
  if x.shape[0] <= width:
    d = jnp.matmul(minus, plus.T, precision=_math.HIGHEST)
    return jnp.sum(jnp.square(0.5 * (d + d.T)))
  gram = jnp.matmul(minus.T, minus, precision=_math.HIGHEST)
  other = jnp.matmul(plus.T, plus, precision=_math.HIGHEST)
  cross = jnp.matmul(plus.T, minus, precision=_math.HIGHEST)
  return 0.5 * (jnp.sum(gram * other) + jnp.sum(cross * cross.T))


def _weighted_units(maps, width):
  """Returns unit channels whose sums are means, filled up to `width` with 0."""
  channels = maps.shape[1]
  maps = _math.unit(maps, axis=0) * channels**-0.5
  return jnp.pad(maps, ((0, 0), (0, width - channels)))


def cwd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  temperature: float | jax.Array = 4.0,
  t_squared: bool = True,
  where: jax.Array | None = None,
) -> jax.Array:
  """KL divergence of each channel's map, softened over its positions.

  loss_b = mean_c T^2 KL(p_c || q_c),
  p_c, q_c = softmax over positions of the teacher's / student's channel c / T

  For maps of logits or of features. The mean over channels is the published
  code's; it takes log(softmax), which is NaN from logits of some hundreds on.

  Args:
    student: (B, H, W, C) float.
    teacher: (B, H, W, C) float; a constant.
    temperature: T > 0, no unit; a scalar. Gradient flows into it.
    t_squared: whether to multiply by T^2.
    where: (B, H, W) bool, the positions that there are, such as pixels with a label;
      None for all. What stands elsewhere, nan too, has neither value nor gradient.

  Returns:
    (B,) float32 (float64 for float64), nats, >= 0; 0 where no position counts.

  Raises:
    ValueError: at trace time, if the shapes differ or have not four dimensions,
      T is not a positive scalar, or `where` has not the maps' shape.

  Example:
    >>> student = jnp.zeros((1, 2, 1, 1))
    >>> teacher = jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> print(cwd(student, teacher, temperature=1.0).round(4))
    [0.1109]

  Source:
    Shu et al. 2021, arXiv:2011.13256.
  """
  checks.same_shape("cwd", student, teacher)
  _features.check_maps("cwd", student, teacher)
  checks.positive("cwd", temperature=temperature)
  if jnp.ndim(temperature) != 0:
    raise ValueError(
      f"cwd: temperature must be a scalar, got {jnp.shape(temperature)}"
    )
  if where is not None and where.shape != student.shape[:3]:
    raise ValueError(
      f"cwd: where must be {student.shape[:3]}, as the maps, got {where.shape}"
    )
  student, teacher = (
    side.reshape(side.shape[0], -1, side.shape[-1])
    for side in _features.working_pair(student, teacher)
  )
  if where is None:
    loss = _rows.divergence(
      "cwd",
      _terms.kl,
      _math.kl_of_softmaxes,
      student,
      teacher,
      temperature,
      axis=-2,
      least=1,
    )
  else:
    counts = where.reshape(len(where), -1, 1) != 0
    log_q, log_p = (
      _log_shares(side / jnp.asarray(temperature, side.dtype), counts)
      for side in (student, teacher)
    )
    loss = jnp.sum(jnp.where(counts, jnp.exp(log_p) * (log_p - log_q), 0), -2)
  loss = jnp.mean(loss, axis=-1)
  if not t_squared:
    return loss
  return loss * jnp.square(jnp.asarray(temperature, loss.dtype))


def _log_shares(x, counts):
  """The logarithms of a softmax over the positions that count; 0 elsewhere."""
  # Before anything else: nan has no gradient only where it is not computed with.
  x = jnp.where(counts, x, 0)
  top = jax.lax.stop_gradient(
    jnp.max(jnp.where(counts, x, -jnp.inf), axis=-2, keepdims=True)
  )
  x = jnp.where(counts, x - jnp.where(jnp.isfinite(top), top, 0), 0)
  total = jnp.sum(jnp.where(counts, jnp.exp(x), 0), axis=-2, keepdims=True)
  return x - jnp.log(jnp.where(total > 0, total, 1))


def cat_kd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  size: int = 2,
  normalize: bool = True,
) -> jax.Array:
  """Mean squared difference of class activation maps, pooled and normalised.

  loss_b = mean over classes and positions of (c(student) - c(teacher))^2,
  c = average-pool to (size, size), then each class map to unit length

  Differs from the published code where a class map is all zero: it stays zero,
  with zero gradient (the published gradient there is of order 1e9).

  Args:
    student: (B, H, W, classes) float, one map a class.
    teacher: (B, H', W', classes) float; a constant.
    size: the pooled height and width; static.
    normalize: whether to scale each pooled class map to unit length.

  Returns:
    (B,) float32 (float64 for float64), no unit (squared units of the maps
    without `normalize`), >= 0.

  Raises:
    ValueError: at trace time, if the batches or classes differ, a map has not
      four dimensions, or `size` is no positive integer.

  Example:
    >>> student = jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> print(cat_kd(student, student[:, ::-1], size=2).round(4))
    [0.5]

  Source:
    Guo et al. 2023, arXiv:2304.12777 (class attention transfer).
  """
  _features.check_maps("cat_kd", student, teacher)
  student, teacher = (
    pooling.adaptive_avg_pool(side, size=(size, size))
    for side in _features.working_pair(student, teacher)
  )
  if normalize:
    student, teacher = (
      _math.unit(side, axis=(1, 2)) for side in (student, teacher)
    )
  return jnp.mean(jnp.square(student - teacher), axis=(1, 2, 3))


def review_kd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  levels: tuple[int, ...] = (4, 2, 1),
) -> jax.Array:
  """Mean squared differences of a map at several resolutions.

  loss_b = sum_i w_i mean (student_i - teacher_i)^2 / sum_i w_i

  Level 0 is the full map with w = 1; each level l smaller than the map's
  height, in order, halves w and average-pools both maps to l x l. One stage:
  the caller adds up the stages. The levels may not exceed the map's width
  either, where the published code, made for square maps, would repeat columns;
  such maps are pooled all the same.

  Args:
    student: (B, H, W, C) float, fused by the caller's attention modules.
    teacher: (B, H, W, C) float; a constant.
    levels: the pooled sizes; static.

  Returns:
    (B,) float32 (float64 for float64), squared units of the map, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ or have not four dimensions,
      or a level is no positive integer.

  Example:
    >>> student = jnp.array([1.0, -1.0]).reshape(1, 2, 1, 1)
    >>> print(review_kd(student, jnp.zeros((1, 2, 1, 1))).round(4))
    [0.6667]

  Source:
    Chen, Liu, Zhao, Jia 2021, arXiv:2104.09044 (hierarchical context loss).
  """
  checks.same_shape("review_kd", student, teacher)
  _features.check_maps("review_kd", student, teacher)
  student, teacher = _features.working_pair(student, teacher)
  # Pooling is linear: the difference is pooled once, and loses less.
  difference = student - teacher
  loss = jnp.mean(jnp.square(difference), axis=(1, 2, 3))
  weight = total = 1.0
  for level in levels:
    if level >= student.shape[1]:
      continue
    weight /= 2
    total += weight
    pooled = pooling.adaptive_avg_pool(difference, size=(level, level))
    loss += weight * jnp.mean(jnp.square(pooled), axis=(1, 2, 3))
  return loss / total


hcl = review_kd
