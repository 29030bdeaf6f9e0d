"""Response losses for large or different vocabularies."""

import functools

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks
from kdjax.losses.helpers import class_ids

# log(1 - sum) is taken of no sum nearer to one than this: TRL's clamp.
_NEAREST_TO_ONE = -1e-7


def topk_kd(
  student: jax.Array,
  teacher: jax.Array,
  *,
  k: int,
  temperature: float | jax.Array = 1.0,
  t_squared: bool = True,
  tail: str = "renormalize",
) -> jax.Array:
  """`kd` on the teacher's k largest classes.

  loss = T^2 * KL(p || q), where over the k classes of the largest teacher logits
  "renormalize": p = softmax(teacher / T), q = softmax(student / T) of those k;
  "bucket": the k probabilities out of the whole vocabulary, and their rest,
  1 - sum, as one more class.

  With `k=1` renormalising leaves nothing to learn (the loss is 0): use the
  bucket. Of tied teacher logits the lower class id is taken.

  Args:
    student: (..., C) float, logits.
    teacher: (..., C) float, logits; a constant.
    k: how many classes, 1 to C; static.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.
    tail: "renormalize" or "bucket".

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes differ, T is not positive, `tail` is
      unknown or `k` is not in 1 to C.

  Example:
    >>> student = jnp.array([[0.0, 0.0, 0.0]])
    >>> teacher = jnp.array([[1.0, 0.0, -1.0]])
    >>> print(topk_kd(student, teacher, k=2).round(4))
    [0.1109]
    >>> print(topk_kd(student, teacher, k=1, tail="bucket").round(1))
    [0.2]

  Source:
    Common practice; the renormalised form is tunix's, the bucket TRL's.
  """
  checks.choice("topk_kd", ("renormalize", "bucket"), tail=tail)
  checks.same_shape("topk_kd", student, teacher)
  checks.classes("topk_kd", student)
  k = checks.whole("topk_kd", "k", k, most=student.shape[-1])
  student, teacher = _math.shared(*_math.pair("topk_kd", student, teacher))
  _, ids = jax.lax.top_k(teacher, k)
  if tail == "renormalize":
    student, teacher = (
      jnp.take_along_axis(x, ids, axis=-1) for x in (student, teacher)
    )
    log_q, log_p = _math.softened(
      "topk_kd", student, teacher, temperature, least=1
    )
  else:
    log_q, log_p = _math.softened("topk_kd", student, teacher, temperature)
    log_q, log_p = (_with_bucket(x, ids) for x in (log_q, log_p))
  loss = _math.kl_of_softmaxes(log_p, log_q)
  return _math.times_t_squared(loss, temperature, t_squared)


def sparse_kd(
  student: jax.Array,
  teacher_log_probs: jax.Array,
  indices: jax.Array,
  *,
  tail: str = "renormalize",
) -> jax.Array:
  """`topk_kd` at T = 1, from what was stored of the teacher.

  loss = KL(p || q) over the stored classes: renormalised on both sides, or with
  one more class for the rest, 1 - sum ("bucket")

  Args:
    student: (..., C) float, logits.
    teacher_log_probs: (..., k) float, log-probabilities at T = 1 of the whole
      vocabulary; a constant. -inf marks a missing entry; a position without
      any other is 0, with zero gradient.
    indices: (..., k) integer class ids; anything where the entry is missing.
      An id outside 0 to C - 1 is a missing entry, and so is one that stands in
      the row already: its first entry counts.
    tail: "renormalize" or "bucket".

  Returns:
    (...) float32 (float64 for float64), nats, >= 0; 0 where both agree on the
    stored classes.

  Raises:
    ValueError: at trace time, if the shapes do not fit or `tail` is unknown.

  Example:
    >>> student = jnp.array([[0.0, 0.0, 0.0]])
    >>> stored = jnp.log(jnp.array([[0.6, 0.3]]))
    >>> print(sparse_kd(student, stored, jnp.array([[2, 0]])).round(4))
    [0.0566]
    >>> print(sparse_kd(student, stored, jnp.array([[2, 0]]), tail="bucket").round(4))
    [0.2007]

  Source:
    Common practice (stored top-k teachers); the bucket is TRL's.
  """
  checks.choice("sparse_kd", ("renormalize", "bucket"), tail=tail)
  checks.classes("sparse_kd", student)
  _check_stored(student, teacher_log_probs, indices)
  student = _math.at_least_float32(student)
  log_p = _math.constant(teacher_log_probs)
  dtype = jnp.promote_types(student.dtype, log_p.dtype)
  student, log_p = student.astype(dtype), log_p.astype(dtype)
  ids = _stored_ids(log_p, indices, student.shape[-1])
  log_p = _math.without(log_p, ids < 0)
  ids = jnp.where(ids < 0, student.shape[-1], ids)
  masked = (ids < student.shape[-1]) & ~_math.alive(_take(student, ids))
  if tail == "renormalize":
    log_p = _math.without(log_p, masked)
    log_p = log_p - _safe(_math.log_sum(log_p))[..., None]
    log_q = _math.log_softmax(_take(student, ids))
    return _math.kl_divergence(log_p, log_q, _math.alive(log_p))
  rest = jnp.minimum(_math.log_sum(log_p), _NEAREST_TO_ONE)
  rest = jnp.log(-jnp.expm1(rest))[..., None]
  log_p = jnp.concatenate([_math.without(log_p, masked), rest], axis=-1)
  # What the student masks is as if removed from the teacher's softmax as well.
  total = jnp.where(jnp.any(masked, axis=-1), _math.log_sum(log_p), 0.0)
  log_p = log_p - _safe(total)[..., None]
  log_q = _with_bucket(_math.log_softmax(student), ids)
  loss = _math.kl_divergence(log_p, log_q, _math.alive(log_p))
  some = jnp.any(_math.alive(student), axis=-1)
  some &= jnp.any(ids < student.shape[-1], axis=-1)
  return jnp.where(some, loss, 0.0)


def uld(
  student: jax.Array,
  teacher: jax.Array,
  *,
  student_temperature: float | jax.Array = 1.0,
  teacher_temperature: float | jax.Array = 1.0,
) -> jax.Array:
  """Distance of sorted probabilities, for vocabularies that differ.

  loss = sum_i |p_(i) - q_(i)|,  p = softmax(teacher / T_t), q = softmax(student / T_s)

  with p and q each in falling order, the shorter padded with zeros. Classes of one
  probability share the mean of their ranks' gradients. The caller aligns the
  positions; the official loss is the mean over the answer's positions of each
  sequence, then over sequences.

  Args:
    student: (..., C_s) float, logits.
    teacher: (..., C_t) float, logits; a constant.
    student_temperature: T_s > 0; a scalar, or an array of the leading dimensions.
    teacher_temperature: T_t > 0; the same.

  Returns:
    (...) float32 (float64 for float64), between 0 and 2, no unit.

  Raises:
    ValueError: at trace time, if the leading dimensions differ or a temperature
      is not positive.

  Example:
    >>> student, teacher = jnp.zeros((1, 2)), jnp.zeros((1, 4))
    >>> print(uld(student, teacher))
    [1.]

  Source:
    Boizard et al. 2024, arXiv:2402.12030 (the closed form of the Wasserstein
    distance).
  """
  if student.shape[:-1] != teacher.shape[:-1]:
    raise ValueError(
      "uld: student and teacher must have the same leading shape, got"
      f" {student.shape} and {teacher.shape}"
    )
  checks.positive(
    "uld",
    student_temperature=student_temperature,
    teacher_temperature=teacher_temperature,
  )
  for side in (student, teacher):
    checks.classes("uld", side)
  student, teacher = _math.at_least_float32(student), _math.constant(teacher)
  dtype = jnp.promote_types(student.dtype, teacher.dtype)
  q = _math.log_softmax(student.astype(dtype), student_temperature)
  p = _math.log_softmax(teacher.astype(dtype), teacher_temperature)
  return 2 * _distance_of_sorted(jnp.exp(q), jnp.exp(p))


def _check_stored(student, log_probs, indices):
  fits = student.shape[:-1] == log_probs.shape[:-1]
  if not fits or log_probs.shape != indices.shape:
    raise ValueError(
      "sparse_kd: teacher_log_probs and indices must share one shape, the"
      f" student's but for the last axis, got {log_probs.shape} and"
      f" {indices.shape} for student {student.shape}"
    )
  if not jnp.issubdtype(indices.dtype, jnp.integer):
    raise ValueError(
      f"sparse_kd: indices must be integer class ids, got {indices.dtype}"
    )


def _stored_ids(log_p, indices, classes):
  """Returns the ids, -1 where an entry is missing."""
  ids = jnp.where(_math.alive(log_p), class_ids(indices, classes), -1)
  k = ids.shape[-1]
  before = jnp.tril(jnp.ones((k, k), bool), -1)
  before = before.reshape((1,) * (ids.ndim - 1) + (k, k))
  repeats = before & (ids[..., :, None] == ids[..., None, :])
  return jnp.where(jnp.any(repeats, axis=-1), -1, ids)


def _safe(log_total):
  return jnp.where(log_total > -jnp.inf, log_total, 0.0)


def _take(x, ids):
  """Returns x at the ids; -inf for an id past the end."""
  inside = ids < x.shape[-1]
  values = jnp.take_along_axis(x, jnp.where(inside, ids, 0), axis=-1)
  return jnp.where(inside, values, -jnp.inf)


def _with_bucket(log_probs, ids):
  """Returns the log-probabilities at the ids, and that of all the others."""
  # The others are added up: 1 - sum would round a small rest away.
  others = _math.without(log_probs, _is_taken(ids, log_probs.shape[-1]))
  least = jnp.log(-jnp.expm1(jnp.asarray(_NEAREST_TO_ONE, log_probs.dtype)))
  rest = jnp.maximum(_math.log_sum(others), least)[..., None]
  return jnp.concatenate([_take(log_probs, ids), rest], axis=-1)


def _is_taken(ids, classes):
  """Returns a bool (..., classes): True at each row's ids."""
  flat = ids.reshape(-1, ids.shape[-1])
  rows = jnp.arange(flat.shape[0], dtype=ids.dtype)[:, None]
  is_chosen = jnp.zeros((flat.shape[0], classes), bool)
  is_chosen = is_chosen.at[rows, flat].set(True, mode="drop")
  return is_chosen.reshape(ids.shape[:-1] + (classes,))


@jax.custom_jvp
def _distance_of_sorted(q, p):
  """Returns the total variation of each row's sorted probabilities."""
  return _math.total_variation(*_padded(_rising(p), _rising(q)))


@_distance_of_sorted.defjvp
def _(primals, tangents):
  # A processor sorts classes along with their probabilities five times as long
  # as these alone: it is faster to look up each class's place afterwards.
  q, p = (_rising(x) for x in primals)
  distance, pullback = jax.vjp(
    lambda q: _math.total_variation(*_padded(p, q)), q
  )
  (slopes,) = pullback(jnp.ones_like(distance))
  slopes = _at_places(q, slopes, primals[0])
  return distance, jnp.sum(slopes * tangents[0], axis=-1)


def _rising(probs):
  """Returns the last axis sorted; no probability is negative.

  By their bits, whose order is that of the numbers: processors take five times
  as long to compare floats in an order that has a place for NaN.
  """
  whole = jnp.int64 if probs.dtype == jnp.float64 else jnp.int32
  bits = jax.lax.bitcast_convert_type(probs, whole)
  return jax.lax.bitcast_convert_type(jnp.sort(bits), probs.dtype)


def _padded(*sides):
  """Returns the sides with zeros before the shorter one."""
  size = max(x.shape[-1] for x in sides)
  return [
    jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(size - x.shape[-1], 0)])
    for x in sides
  ]


@functools.partial(jnp.vectorize, signature="(c),(c),(c)->(c)")
def _at_places(rising, slopes, probs):
  """Returns the slope of each class, the mean of them where classes are tied."""
  places = jnp.arange(rising.size)
  changes = rising[1:] != rising[:-1]
  first = jnp.where(jnp.pad(changes, (1, 0)), places, 0)
  end = jnp.where(jnp.pad(changes, (0, 1)), places + 1, rising.size)
  first, end = jax.lax.cummax(first), jax.lax.cummin(end, reverse=True)
  sums = jnp.pad(jnp.cumsum(slopes), (1, 0))
  means = (sums[end] - sums[first]) / (end - first).astype(slopes.dtype)
  return means[jnp.searchsorted(rising, probs)]
