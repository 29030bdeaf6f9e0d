"""Embeddings against those of other examples, and the memory that it needs."""

import math

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, checks

# A bank up to so many times larger than the samples of one example is met by
# one matrix product: faster, and smaller, than gathering the samples' rows.
_WHOLE_BANK = 16


def crd(
  student: jax.Array,
  teacher: jax.Array,
  student_bank: jax.Array,
  teacher_bank: jax.Array,
  indices: jax.Array,
  *,
  temperature: float = 0.07,
  z_student: float | jax.Array | None = None,
  z_teacher: float | jax.Array | None = None,
  eps: float = 1e-7,
) -> jax.Array:
  """Tells each example's own embedding from K others, by noise contrast.

  u = exp(<teacher_bank[indices], student> / T) / z_student,
  v = exp(<student_bank[indices], teacher> / T) / z_teacher,  c = K / N
  loss_b = sum over x in u, v of
           - log(x_0 / (x_0 + c + eps)) - sum_{j>=1} log(c / (x_j + c + eps))

  The published code's loss, in log space: exp(1 / 0.01) overflows float32.
  Both embeddings come from trained projections, so both get a gradient; the
  banks and the constants z are constants. Samples are drawn by the caller.

  Args:
    student: (B, D) float, of unit length.
    teacher: (B, D) float, of unit length; it gets a gradient as well.
    student_bank: (N, D) float, past student embeddings (`crd_update`).
    teacher_bank: (N, D) float, past teacher embeddings.
    indices: (B, 1 + K) int, rows of the banks: the positive, then K negatives.
    temperature: T > 0, no unit.
    z_student: > 0, what u is divided by. None estimates it from this batch,
      N * mean(exp(...)); training keeps the first batch's value.
    z_teacher: the same for v.
    eps: >= 0, no unit.

  Returns:
    (B,) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the embeddings' or banks' shapes differ,
      dimensions do not fit, there is no negative, or T is not positive.

  Example:
    >>> student = teacher = jnp.array([[1.0, 0.0]])
    >>> bank, indices = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[0, 1]])
    >>> loss = crd(student, teacher, bank, bank, indices, temperature=1.0)
    >>> print(f"{loss[0]:.4f}")
    1.9031

  Source:
    Tian, Krishnan, Isola 2020, arXiv:1910.10699.
  """
  checks.positive("crd", temperature=temperature)
  checks.weights("crd", eps=eps)
  for z in (z_student, z_teacher):
    if z is not None:
      checks.positive("crd", z=z)
  _check_crd(student, teacher, student_bank, teacher_bank, indices)
  arguments = (indices, temperature, eps)
  return _contrast(student, teacher_bank, z_student, *arguments) + _contrast(
    teacher, student_bank, z_teacher, *arguments
  )


def seed(
  student: jax.Array,
  teacher: jax.Array,
  queue: jax.Array,
  *,
  temperature: float = 0.2,
  teacher_temperature: float = 0.01,
  mask: jax.Array | None = None,
) -> jax.Array:
  """Matches how alike an example is to the teacher's embeddings of others.

  loss_b = KL(p_b || q_b) over the example's own teacher embedding and the queue's,
  p_b = softmax(cos(teacher_b, [teacher_b; queue]) / T_t)
  q_b = softmax(cos(student_b, [teacher_b; queue]) / T_s)

  The student is compared with the teacher's embeddings alone: what it is trained
  for is to search in an index that the teacher has made. The published loss is the
  cross-entropy of p and q, which differs by the entropy of p, a constant.

  Args:
    student: (B, D) float, of any length.
    teacher: (B, D) float, likewise; a constant.
    queue: (K, D) float, the teacher's embeddings of others; a constant.
    temperature: T_s > 0, no unit.
    teacher_temperature: T_t > 0, no unit.
    mask: (K,) or (B, K) bool, which rows of the queue count; None for all.

  Returns:
    (B,) float32 (float64 for float64), nats, >= 0; 0 where both distributions
    agree.

  Raises:
    ValueError: at trace time, if the shapes do not fit, or a temperature is not
      positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 0.0]])
    >>> queue = jnp.array([[0.0, 2.0]])
    >>> loss = seed(student, teacher, queue, temperature=1.0, teacher_temperature=1.0)
    >>> print(loss.round(4))
    [0.4621]

  Source:
    Fang, Wang, Wang, Zhang, Yang, Liu 2021 (SEED), arXiv:2101.04731, equations 2
    to 5; with equal temperatures the one queue of Koohpayegani, Tejankar,
    Pirsiavash 2020 (CompRess), arXiv:2010.14713.
  """
  checks.positive(
    "seed", temperature=temperature, teacher_temperature=teacher_temperature
  )
  student, teacher = _math.pair("seed", student, teacher)
  if student.ndim != 2 or queue.shape[1:] != student.shape[1:]:
    raise ValueError(
      "seed: embeddings (B, D) and a queue (K, D) must fit, got"
      f" {student.shape} and {queue.shape}"
    )
  rows = (student.shape[0], queue.shape[0])
  mask = jnp.ones(rows, bool) if mask is None else mask
  if mask.shape not in (rows, rows[1:]):
    raise ValueError(
      f"seed: the mask {mask.shape} must be {rows[1:]} or {rows}, as the queue"
    )
  mask = jnp.broadcast_to(mask, rows)
  queue = _math.constant(queue).astype(student.dtype)
  student, teacher, queue = map(_math.unit, (student, teacher, queue))

  def log_probabilities(rows, temperature):
    own = jnp.sum(rows * teacher, axis=-1, keepdims=True)
    others = jnp.where(mask, rows @ queue.T, -jnp.inf)
    scores = jnp.concatenate([own, others], axis=-1)
    return _math.log_softmax(scores, temperature)

  return _math.kl_of_softmaxes(
    log_probabilities(teacher, teacher_temperature),
    log_probabilities(student, temperature),
  )


def _contrast(embeddings, bank, z, indices, temperature, eps):
  """Returns the loss of one side, (B,)."""
  bank = _math.constant(bank)
  embeddings = _math.at_least_float32(embeddings)
  dtype = jnp.promote_types(embeddings.dtype, bank.dtype)
  embeddings, bank = embeddings.astype(dtype), bank.astype(dtype)
  scores = _scores(embeddings, bank, indices) / temperature
  if z is None:
    log_z = _log_mean_exp(jax.lax.stop_gradient(scores))
    log_z += math.log(bank.shape[0])
  else:
    log_z = jnp.log(jax.lax.stop_gradient(jnp.asarray(z, dtype)))
  scores -= log_z
  noise = (indices.shape[1] - 1) / bank.shape[0]
  log_noise = jnp.asarray(math.log(noise + eps), dtype)
  positive = jax.nn.softplus(log_noise - scores[:, 0])
  # log((u + c + eps) / c): small where u is, so the two constants go first.
  negatives = jax.nn.softplus(scores[:, 1:] - log_noise)
  shift = math.log1p(eps / noise)
  return positive + jnp.sum(negatives + shift, axis=-1)


def _log_mean_exp(x):
  """Returns log mean exp x over all elements."""
  largest = jnp.max(x)
  # Both bounds hold anyway, unless the compiler rounds the scores of the
  # maximum and those of the difference in two ways: from 1e8 on that is enough
  # to overflow, or to leave nothing.
  mean = jnp.mean(jnp.exp(jnp.minimum(x - largest, 0.0)))
  return largest + jnp.log(jnp.maximum(mean, 1 / x.size))


def _scores(embeddings, bank, indices):
  """Returns the (B, 1 + K) inner products with the bank's rows."""
  samples = indices.shape[1]
  if bank.shape[0] <= _WHOLE_BANK * samples:
    scores = jnp.matmul(embeddings, bank.T, precision=_math.HIGHEST)
    return jnp.take_along_axis(scores, indices, axis=1)

  def of_one(embedding, rows):
    negatives = jnp.take(bank, rows, axis=0)
    return jnp.matmul(negatives, embedding, precision=_math.HIGHEST)

  elements = samples * bank.shape[1]
  return _features.map_rows(of_one, (embeddings, indices), elements)


def crd_update(
  bank: jax.Array,
  embeddings: jax.Array,
  indices: jax.Array,
  *,
  momentum: float = 0.5,
) -> jax.Array:
  """Returns the memory after a batch: its rows moved towards new embeddings.

  rows at indices <- u(momentum * row + (1 - momentum) * embedding),
  u(x) = x / ||x||

  Where an index occurs twice, one of its rows stays, which one is not defined
  (as in the published code).

  Args:
    bank: (N, D) float; a constant.
    embeddings: (B, D) float, of unit length; a constant.
    indices: (B,) int, the embeddings' rows in the bank.
    momentum: between 0 and 1, the share of the old row.

  Returns:
    (N, D) float32 (float64 for float64), a new array.

  Raises:
    ValueError: at trace time, if the shapes do not fit or `momentum` is not
      between 0 and 1.

  Example:
    >>> bank, embedding = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
    >>> print(crd_update(bank, embedding, jnp.array([0])).round(4))
    [[0.7071 0.7071]]

  Source:
    Tian, Krishnan, Isola 2020, arXiv:1910.10699; the memory of Wu et al. 2018,
    arXiv:1805.01978.
  """
  checks.between("crd_update", 0, 1, momentum=momentum)
  fits = bank.ndim == 2 and embeddings.shape == (*indices.shape, bank.shape[-1])
  if not fits or indices.ndim != 1:
    raise ValueError(
      "crd_update: bank (N, D), embeddings (B, D) and indices (B,) must fit,"
      f" got {bank.shape}, {embeddings.shape} and {indices.shape}"
    )
  bank, embeddings = _features.working_pair(
    jax.lax.stop_gradient(bank), embeddings
  )
  rows = momentum * bank[indices] + (1 - momentum) * embeddings
  return bank.at[indices].set(_math.unit(rows))


def _check_crd(student, teacher, student_bank, teacher_bank, indices):
  checks.same_shape("crd", student, teacher)
  if student_bank.shape != teacher_bank.shape:
    raise ValueError(
      "crd: student_bank and teacher_bank must have the same shape, got"
      f" {student_bank.shape} and {teacher_bank.shape}"
    )
  fits = student.ndim == student_bank.ndim == indices.ndim == 2
  fits = fits and student.shape[1] == student_bank.shape[1]
  if not fits or indices.shape[0] != student.shape[0] or indices.shape[1] < 2:
    raise ValueError(
      "crd: embeddings (B, D), banks (N, D) and indices (B, 1 + K), K >= 1,"
      f" must fit, got {student.shape}, {student_bank.shape} and"
      f" {indices.shape}"
    )
