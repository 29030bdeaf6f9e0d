"""Response losses that treat the labelled class apart from the others."""

import jax
import jax.numpy as jnp

from kdjax.losses import _label, _math, _rows, _terms, checks
from kdjax.losses.helpers import class_ids, standardize_logits


def dkd(
  student: jax.Array,
  teacher: jax.Array,
  labels: jax.Array,
  *,
  alpha: float | jax.Array = 1.0,
  beta: float | jax.Array = 8.0,
  temperature: float | jax.Array = 4.0,
  t_squared: bool = True,
  standardize: bool = False,
) -> jax.Array:
  """Decoupled distillation: the labelled class, and how the others compare.

  loss = T^2 * (alpha KL(b || a) + beta KL(p_others || q_others))

  with p = softmax(teacher / T), q = softmax(student / T), b = (p_y, 1 - p_y),
  a = (q_y, 1 - q_y), and the second term's softmaxes over the classes other
  than the label y. The first term is TCKD, the second NCKD; `kd` is alpha = 1,
  beta = 1 - p_y. With two classes NCKD is exactly 0. Both terms are about the
  label: a row without one is 0, with zero gradient.

  Args:
    student: (n, C) float, logits.
    teacher: (n, C) float, logits; a constant.
    labels: (n) integer class ids; outside 0 to C - 1, or a class that either side
      masks = no label.
    alpha: weight of TCKD.
    beta: weight of NCKD.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.
    standardize: whether to standardise both sides first, after Sun et al. 2024.

  Returns:
    (n) float32 (float64 for float64), nats, >= 0; 0 where the softmaxes agree.

  Raises:
    ValueError: at trace time, if the shapes do not fit or T is not positive.

  Example:
    >>> student = jnp.array([[0.0, 0.0, 0.0]])
    >>> teacher = jnp.array([[2.0, 1.0, 0.0]])
    >>> print(dkd(student, teacher, jnp.array([0]), temperature=1.0).round(2))
    [1.12]

  Source:
    Zhao et al. 2022, arXiv:2203.08679. The authors' code masks the label by
    subtracting 1000, which is NaN for wide logits; here it is left out.
  """
  checks.labels("dkd", student, labels)
  has_label, labels = _read_labels("dkd", student, teacher, labels)
  checks.weights("dkd", alpha=alpha, beta=beta)
  if standardize:
    sides = _math.shared(student, teacher)
    student, teacher = map(standardize_logits, sides)
  if _rows.is_large(student):
    target, others = _decoupled(student, teacher, labels, temperature)
    loss = jnp.where(has_label, alpha * target + beta * others, 0.0)
    return _math.times_t_squared(loss, temperature, t_squared)
  log_q, log_p = _math.softened("dkd", student, teacher, temperature)
  label = _math.is_label(labels, student.shape[-1])
  target = _math.kl_of_softmaxes(
    _label_or_not(log_p, label), _label_or_not(log_q, label)
  )
  log_q, log_p = _others("dkd", student, teacher, label, temperature)
  loss = alpha * target + beta * _math.kl_of_softmaxes(log_p, log_q)
  loss = jnp.where(has_label, loss, 0.0)
  return _math.times_t_squared(loss, temperature, t_squared)


def nkd(
  student: jax.Array,
  teacher: jax.Array,
  labels: jax.Array,
  *,
  gamma: float | jax.Array = 1.5,
  temperature: float | jax.Array = 1.0,
) -> jax.Array:
  """Normalised distillation: the label's share, and the others as a softmax.

  loss = - p_y log q_y - gamma T^2 sum_{c != y} p'_c log q'_c

  with p, q the softmaxes of teacher and student at T = 1, and p', q' those over
  the classes other than the label y at T. A cross-entropy: not zero at its
  least value, which is where the softmaxes agree. A row without a label is 0,
  with zero gradient.

  Args:
    student: (n, C) float, logits.
    teacher: (n, C) float, logits; a constant.
    labels: (n) integer class ids; outside 0 to C - 1, or a class that either side
      masks = no label.
    gamma: weight of the other classes.
    temperature: T > 0, of the other classes; a scalar, or an array of the
      leading dimensions.

  Returns:
    (n) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the shapes do not fit or T is not positive.

  Example:
    >>> student = jnp.array([[0.0, 0.0, 0.0]])
    >>> teacher = jnp.array([[2.0, 1.0, 0.0]])
    >>> print(nkd(student, teacher, jnp.array([0])).round(4))
    [1.7706]

  Source:
    Yang et al. 2023, arXiv:2303.13005 (the distillation part).
  """
  checks.labels("nkd", student, labels)
  has_label, labels = _read_labels("nkd", student, teacher, labels)
  checks.weights("nkd", gamma=gamma)
  if _rows.is_large(student):
    target, others = _normalized(student, teacher, labels, temperature)
    loss = target + gamma * _math.times_t_squared(others, temperature, True)
    return jnp.where(has_label, loss, 0.0)
  log_q, log_p = _math.softened("nkd", student, teacher, 1.0)
  label = _math.is_label(labels, student.shape[-1])
  target = _math.cross_entropy(jnp.where(label, jnp.exp(log_p), 0.0), log_q)
  log_q, log_p = _others("nkd", student, teacher, label, temperature)
  others = _math.cross_entropy(jnp.exp(log_p), log_q)
  loss = target + gamma * _math.times_t_squared(others, temperature, True)
  return jnp.where(has_label, loss, 0.0)


def wsld(
  student: jax.Array,
  teacher: jax.Array,
  labels: jax.Array,
  *,
  temperature: float | jax.Array = 2.0,
  t_squared: bool = True,
) -> jax.Array:
  """Weighted soft labels: examples that the student knows better count less.

  loss = w T^2 * (- sum_c p_c log q_c),
  w = 1 - exp(- CE(student, y) / (CE(teacher, y) + 1e-7)), a constant

  with p = softmax(teacher / T), q = softmax(student / T), and CE the
  cross-entropy with the label y at T = 1. The published overall weight (2.5 on
  ImageNet, 2.25 in cls_KD) and the hard cross-entropy are the recipe's. A row
  without a label has no weight: it is 0, with zero gradient.

  Args:
    student: (n, C) float, logits.
    teacher: (n, C) float, logits; a constant.
    labels: (n) integer class ids; outside 0 to C - 1, or a class that either side
      masks = no label.
    temperature: T > 0; a scalar, or an array of the leading dimensions.
    t_squared: whether to multiply by T^2.

  Returns:
    (n) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the shapes do not fit or T is not positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[2.0, 0.0]])
    >>> print(wsld(student, teacher, jnp.array([0])).round(4))
    [2.7608]

  Source:
    Zhou et al. 2021, arXiv:2102.00650.
  """
  checks.labels("wsld", student, labels)
  has_label, labels = _read_labels("wsld", student, teacher, labels)
  if _rows.is_large(student):
    weight, term = _weight(student, teacher, labels), _terms.cross_entropy
    sums = _rows.add_up("wsld", term, student, teacher, temperature)
    loss = jax.lax.stop_gradient(weight) * sums.total
    loss = jnp.where(has_label, loss, 0.0)
    return _math.times_t_squared(loss, temperature, t_squared)
  log_q, log_p = _math.softened("wsld", student, teacher, 1.0)
  one_hot = _math.is_label(labels, student.shape[-1]).astype(log_q.dtype)
  student_error = _math.cross_entropy(one_hot, log_q)
  teacher_error = _math.cross_entropy(one_hot, log_p)
  weight = -jnp.expm1(-student_error / (teacher_error + 1e-7))
  log_q, log_p = _math.softened("wsld", student, teacher, temperature)
  loss = _math.cross_entropy(jnp.exp(log_p), log_q)
  loss = jax.lax.stop_gradient(weight) * loss
  loss = jnp.where(has_label, loss, 0.0)
  return _math.times_t_squared(loss, temperature, t_squared)


def ofa(
  student: jax.Array,
  teacher: jax.Array,
  labels: jax.Array,
  *,
  eps: float | jax.Array = 1.0,
  temperature: float | jax.Array = 1.0,
) -> jax.Array:
  """One-for-all's loss: the teacher's label class raised to a power.

  loss = - sum_c ((p_c + [c = y])^eps - [c = y]) log q_c

  with p = softmax(teacher / T), q = softmax(student / T) and y the label.
  `eps=1` is the soft cross-entropy; larger values favour the label. No T^2. In
  a row without a label there is none to favour: - sum_c p_c^eps log q_c.

  Args:
    student: (n, C) float, logits.
    teacher: (n, C) float, logits; a constant.
    labels: (n) integer class ids; outside 0 to C - 1, or a class that either side
      masks = no label.
    eps: the modulating exponent, > 0; the paper uses 1 to 1.5.
    temperature: T > 0; a scalar, or an array of the leading dimensions.

  Returns:
    (n) float32 (float64 for float64), nats, >= 0 for eps >= 0.

  Raises:
    ValueError: at trace time, if the shapes do not fit, or T or `eps` is not
      positive.

  Example:
    >>> student, teacher = jnp.array([[0.0, 0.0]]), jnp.array([[0.0, 0.0]])
    >>> print(ofa(student, teacher, jnp.array([0]), eps=2.0).round(4))
    [1.0397]

  Source:
    Hao et al. 2023, arXiv:2310.19444. The authors' code takes the log of a
    softmax; here it stays in log space.
  """
  checks.labels("ofa", student, labels)
  has_label, labels = _read_labels("ofa", student, teacher, labels)
  labels = jnp.where(has_label, labels, -1)
  checks.positive("ofa", eps=eps)
  if _rows.is_large(student) and isinstance(eps, int | float):
    return _modulated(student, teacher, labels, float(eps), temperature)
  log_q, log_p = _math.softened("ofa", student, teacher, temperature)
  label = _math.is_label(labels, student.shape[-1])
  keep = _math.alive(log_p)
  log_p = _math.masked(log_p, keep)
  powers = jnp.where(keep, jnp.exp(eps * log_p), 0.0)
  # (1 + p)^eps - 1 without cancellation for a small p.
  label_power = jnp.expm1(eps * jnp.log1p(jnp.where(keep, jnp.exp(log_p), 0.0)))
  return _math.cross_entropy(jnp.where(label, label_power, powers), log_q)


def _read_labels(function, student, teacher, labels):
  """Returns which rows have a label, and labels that are classes throughout.

  A label that is no class, or whose class either side masks, is none.
  """
  checks.same_shape(function, student, teacher)
  ids = class_ids(labels, student.shape[-1])
  places = jnp.maximum(ids, 0)
  at_label = (
    jnp.take_along_axis(jax.lax.stop_gradient(x), places[..., None], axis=-1)
    for x in (student, teacher)
  )
  return (ids >= 0) & _math.alive(*at_label)[..., 0], places


def _shares(sums, student, teacher, labels, temperature):
  """Returns the label's log share on both sides, the teacher's a constant."""
  shares = (
    _label.log_share(student, labels, sums.top_q, sums.log_z_q, temperature),
    _label.log_share(
      jax.lax.stop_gradient(teacher),
      labels,
      sums.top_p,
      sums.log_z_p,
      temperature,
    ),
  )
  return _math.shared(*shares)


def _decoupled(student, teacher, labels, temperature):
  """Returns both divergences of `dkd`, for large inputs."""
  sums = _rows.add_up(
    "dkd", _terms.kl, student, teacher, temperature, labels=labels
  )
  # The label's odds against the others are two classes of their own.
  log_q, log_p = (
    jnp.stack([jax.nn.log_sigmoid(x), jax.nn.log_sigmoid(-x)], axis=-1)
    for x in _shares(sums, student, teacher, labels, temperature)
  )
  return _math.kl_of_softmaxes(log_p, log_q), sums.total


def _normalized(student, teacher, labels, temperature):
  """Returns both cross-entropies of `nkd`, for large inputs."""
  term = _terms.cross_entropy
  sums = others = _rows.add_up(
    "nkd", term, student, teacher, temperature, labels=labels
  )
  if not isinstance(temperature, int | float) or temperature != 1:
    sums = _rows.add_up(
      "nkd", _terms.nothing, student, teacher, 1.0, labels=labels
    )
  odds, of_teacher = _shares(sums, student, teacher, labels, 1.0)
  target = _math.cross_entropy(
    jax.nn.sigmoid(of_teacher)[..., None], jax.nn.log_sigmoid(odds)[..., None]
  )
  return target, others.total


def _weight(student, teacher, labels):
  """Returns the weight of `wsld`, for large inputs."""
  student = jax.lax.stop_gradient(student)
  sums = _rows.add_up("wsld", _terms.nothing, student, teacher, 1.0)
  shares = _shares(sums, student, teacher, labels, 1.0)
  # Of a label that is masked, and whose row does not count.
  log_q, log_p = (_math.masked(x, _math.alive(x)) for x in shares)
  return -jnp.expm1(log_q / (1e-7 - log_p))


def _modulated(student, teacher, labels, eps, temperature):
  """Returns `ofa`, for large inputs."""
  term = _terms.cross_entropy if eps == 1 else _terms.Powers(eps)
  sums = _rows.add_up("ofa", term, student, teacher, temperature)
  places = jnp.maximum(labels, 0)
  log_q, log_p = _shares(sums, student, teacher, places, temperature)
  # The label's own term, in place of the power that the sum has taken.
  power = jnp.expm1(eps * jnp.log1p(jnp.exp(log_p)))
  of_label = _math.cross_entropy(
    (power - jnp.exp(eps * log_p))[..., None], log_q[..., None]
  )
  return sums.total + jnp.where(labels >= 0, of_label, 0.0)


def _label_or_not(log_probs, label):
  """Returns (..., 2): the log-probabilities of the label and of all others."""
  # 1 - p_y as a sum of the others: as a difference it would round to 0.
  return jnp.stack(
    [
      _math.log_sum(_math.without(log_probs, ~label)),
      _math.log_sum(_math.without(log_probs, label)),
    ],
    axis=-1,
  )


def _others(function, student, teacher, label, temperature):
  """Returns both log-softmaxes over the classes other than the label."""
  # The logits are masked, not the log-probabilities: these have lost the
  # others' differences where the label's logit is far above them.
  return _math.softened(
    function,
    _math.without(student, label),
    _math.without(teacher, label),
    temperature,
  )
