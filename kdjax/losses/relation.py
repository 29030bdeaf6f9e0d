"""Losses on relations between the examples of a batch: similarities.

All see the whole batch at once and return one number for it. Inside a mapped
step `axis_name` gathers the global batch first: every device then returns the
same value, and the step's usual mean of gradients is exactly that of the global
batch. Distances and angles are in `geometry`.
"""

import math

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, checks


def pkt(
  student: jax.Array,
  teacher: jax.Array,
  *,
  eps: float = 1e-7,
  axis_name: str | None = None,
) -> jax.Array:
  """Divergence of the probabilities that two examples are neighbours.

  x = f / (||f|| + eps),  S = (x x' + 1) / 2,  rows of S divided by their sums
  give P (teacher) and Q (student);
  loss = mean_ij P_ij log((P_ij + eps) / (Q_ij + eps)), the diagonal included

  A mean over all n^2 pairs, as in the published code, and so a tiny value: the
  published weight is 30 000. Differs from it in an all-zero row, which here has
  zero gradient (there NaN), and in the summation: the rows of P and Q sum to
  one, so + Q - P is added to each term and changes nothing but the rounding.

  Args:
    student: (B, ...) float, flattened to (B, D), B >= 2.
    teacher: (B, ...) float, of any feature size; a constant.
    eps: > 0, no unit.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), nats.

  Raises:
    ValueError: at trace time, if the batches differ or are below two, or `eps`
      is not positive.

  Example:
    >>> student = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> print(f"{pkt(student, jnp.ones((2, 2))):.4f}")
    0.0294

  Source:
    Passalis, Tefas 2018, arXiv:1803.10837 (cosine kernel).
  """
  checks.positive("pkt", eps=eps)
  student, teacher = _features.relation_pair("pkt", student, teacher, axis_name)
  q, p = _neighbours(student, eps), _neighbours(teacher, eps)
  log_ratio = jnp.log1p((p - q) / (q + eps))
  return jnp.mean(p * log_ratio + (q - p))


def _neighbours(rows, eps):
  """Returns the (n, n) conditional probabilities of being neighbours."""
  # Divided by the largest entry first, with eps alike: squares of 1e20 overflow
  # and the norm of a zero row has no gradient.
  scale = _math.magnitude(rows)
  scaled = rows / scale
  norm = _math.safe_norm(scaled, keepdims=True)
  # An all-zero row would still send 1 / eps back.
  alive = norm > 0
  x = jnp.where(alive, scaled / jnp.where(alive, norm + eps / scale, 1.0), 0.0)
  similarity = 0.5 * (_math.gram(x) + 1.0)
  return similarity / jnp.sum(similarity, axis=1, keepdims=True)


def similarity_preserving(
  student: jax.Array, teacher: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """Squared distance of the batch's normalised similarity matrices.

  G = F F' with rows scaled to unit length;  loss = || G_s - G_t ||^2 / n^2

  A row of zeros stays zero, with zero gradient. Differs from torchdistill's
  `SPKDLoss`, whose call of `normalize` sets the order of the norm instead of
  the axis.

  Args:
    student: (B, ...) float, flattened to (B, D), B >= 2.
    teacher: (B, ...) float, of any feature size; a constant.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if the batches differ or are below two.

  Example:
    >>> student = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> print(f"{similarity_preserving(student, jnp.ones((2, 2))):.4f}")
    0.2929

  Source:
    Tung, Mori 2019, arXiv:1907.09682.
  """
  student, teacher = _features.relation_pair(
    "similarity_preserving", student, teacher, axis_name
  )
  difference = _unit_gram(student) - _unit_gram(teacher)
  return jnp.mean(jnp.square(difference))


sp = similarity_preserving


def _unit_gram(rows):
  """Returns unit_rows(F F'), whatever the size of the features."""
  # The result does not depend on what each left row, and all right rows, are
  # divided by; the length that counts as zero is that of the original Gram.
  scale, largest = _math.magnitude(rows), _math.magnitude(rows, axis=(0, 1))
  gram = _math.gram(rows, scale, largest)
  return _math.unit(gram, eps=1e-12 / scale / largest)


def correlation_congruence(
  student: jax.Array,
  teacher: jax.Array,
  *,
  kernel: str = "gaussian",
  gamma: float = 0.4,
  order: int = 2,
  normalize: bool = True,
  axis_name: str | None = None,
) -> jax.Array:
  """Squared distance of the batch's correlation matrices.

  loss = || K_s - K_t ||^2 / n^2,  rows x of unit length with `normalize`,
  "gaussian":  K = exp(-2 gamma) sum_{r=0..order} (2 gamma)^r / r! (x x')^r
  "bilinear":  K = x x'
  "consecutive":  loss = mean_i sum_d |s_i - t_i| |s_{i+1} - t_{i+1}| instead

  Both sides are embeddings that are trained here, so both get a gradient. The
  series is the Gaussian kernel's only for unit rows. torchdistill's `CCKDLoss`
  returns the norm over n, the root of this. "consecutive" is the authors' code
  as shared with RepDistiller; it depends on the order of the batch; use it with
  `normalize=False`.

  Args:
    student: (B, ...) float, flattened to (B, D), B >= 2.
    teacher: same shape; it gets a gradient as well.
    kernel: "gaussian", "bilinear" or "consecutive".
    gamma: inverse squared width of the Gaussian, no unit.
    order: >= 0, the last power of the series; static.
    normalize: whether to scale each row to unit length.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ, the batch is below two,
      `kernel` is unknown or `order` is negative.

  Example:
    >>> student = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> teacher = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    >>> print(correlation_congruence(student, teacher, kernel="bilinear"))
    0.5

  Source:
    Peng et al. 2019, arXiv:1904.01802.
  """
  name = "correlation_congruence"
  checks.choice(name, ("gaussian", "bilinear", "consecutive"), kernel=kernel)
  order = checks.whole(name, "order", order, least=0)
  checks.weights(name, gamma=gamma)
  checks.same_shape(name, student, teacher)
  student = _features.relation_rows(name, student, axis_name)
  teacher = _features.relation_rows(name, teacher, axis_name)
  dtype = jnp.promote_types(student.dtype, teacher.dtype)
  student, teacher = student.astype(dtype), teacher.astype(dtype)
  if normalize:
    student, teacher = _math.unit(student), _math.unit(teacher)
  if kernel == "consecutive":
    distance = _features.power(student - teacher, 1)
    return jnp.mean(jnp.sum(distance[:-1] * distance[1:], axis=-1))
  gram_s, gram_t = _math.gram(student), _math.gram(teacher)
  if kernel == "gaussian":
    gram_s = _gaussian_series(gram_s, gamma, order)
    gram_t = _gaussian_series(gram_t, gamma, order)
  return jnp.mean(jnp.square(gram_s - gram_t))


cc = correlation_congruence


def _gaussian_series(gram, gamma, order):
  """Returns exp(-2 gamma) times the Taylor series of exp(2 gamma gram)."""
  total = jnp.full_like(gram, 1 / math.factorial(order))
  for r in reversed(range(order)):
    total = total * (2 * gamma * gram) + 1 / math.factorial(r)
  return jnp.exp(jnp.asarray(-2 * gamma, gram.dtype)) * total


def relation_mse(
  student: jax.Array,
  teacher: jax.Array,
  *,
  phi: str = "inner",
  reduce: str = "mean",
  axis_name: str | None = None,
) -> jax.Array:
  """Mean squared difference of a relation over all pairs of examples.

  loss = mean over pairs i != j of (R_s - R_t)^2, or the sum with `reduce="sum"`
  R_ij = <f_i, f_j> "inner",  || f_i - f_j || "euclidean",  cosine "cosine"

  Distances come from differences, not from a Gram matrix, which cancels for
  close pairs. A pair of duplicates has distance 0, a zero row cosine 0, both
  with zero gradient.

  Args:
    student: (B, ...) float, flattened to (B, D), B >= 2.
    teacher: (B, ...) float, of any feature size; a constant.
    phi: "inner", "euclidean" or "cosine".
    reduce: "mean" or "sum" over the B (B - 1) ordered pairs.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), the relation's unit squared, >= 0.

  Raises:
    ValueError: at trace time, if the batches differ or are below two, or `phi`
      or `reduce` is unknown.

  Example:
    >>> student, teacher = jnp.array([[1.0], [2.0]]), jnp.array([[1.0], [4.0]])
    >>> print(relation_mse(student, teacher, phi="euclidean"))
    4.0

  Source:
    The plain formula; the general form of relation matching in Park et al.
    2019, arXiv:1904.05068.
  """
  checks.choice("relation_mse", ("mean", "sum"), reduce=reduce)
  checks.choice("relation_mse", ("inner", "euclidean", "cosine"), phi=phi)
  student, teacher = _features.relation_pair(
    "relation_mse", student, teacher, axis_name
  )
  squares = jnp.square(_relation(student, phi) - _relation(teacher, phi))
  count = student.shape[0]
  total = jnp.sum(jnp.where(jnp.eye(count, dtype=bool), 0.0, squares))
  return total / (count * (count - 1)) if reduce == "mean" else total


def _relation(rows, phi):
  if phi == "euclidean":
    return _math.safe_sqrt(_features.squared_distances(rows))
  if phi == "cosine":
    rows = _math.unit(rows)
  return _math.gram(rows)
