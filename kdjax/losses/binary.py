"""Losses of yes/no questions: one logit a label, and label-wise embeddings."""

import jax
import jax.numpy as jnp

from kdjax.losses import _features, _math, checks


def binary_kd(
  student: jax.Array,
  teacher: jax.Array,
  labels: jax.Array | None = None,
  *,
  temperature: float | jax.Array = 4.0,
  positive_weight: float | jax.Array = 1.0,
  negative_weight: float | jax.Array = 1.0,
  gamma: float = 0.0,
) -> jax.Array:
  """Temperature-softened distillation of yes/no questions, one logit each.

  loss = T^2 sum_l w_l |p_l - q_l|^gamma KL(Bernoulli(p_l) || Bernoulli(q_l)),
  p = sigmoid(teacher / T),  q = sigmoid(student / T),
  w_l = negative_weight + y_l (positive_weight - negative_weight),
  y_l the label, or sigmoid(teacher_l) where there are no labels

  For one label without weights this is `kd` of the logits (0, student) and (0,
  teacher). The weights are those of whole questions, so that the least value is 0,
  at the teacher's answer, whatever they are. With gamma > 0 it is the focal
  variant: questions on which both agree count less.

  Args:
    student: (..., L) float, a logit a label.
    teacher: (..., L) float; a constant.
    labels: (..., L) 1 for yes, 0 for no; a label that is negative or nan is not
      known, and its question counts nowhere. None where all count.
    temperature: T > 0, no unit; a scalar, or an array that broadcasts to the
      leading dimensions. Gradient flows into it.
    positive_weight: of a question whose answer is yes, >= 0; a number, or an array
      that broadcasts to (..., L), such as (L,).
    negative_weight: of one whose answer is no; likewise.
    gamma: the focal exponent, >= 0; a Python number.

  Returns:
    (...) float32 (float64 for float64), nats, >= 0.

  Raises:
    ValueError: at trace time, if the shapes differ, T is not positive, or a weight
      or gamma is negative.

  Example:
    >>> student, teacher = jnp.array([[0.0, 2.0]]), jnp.array([[1.0, 2.0]])
    >>> print(binary_kd(student, teacher, temperature=1.0).round(4))
    [0.1109]

  Source:
    Yang et al. 2023, arXiv:2308.06453 (multi-label logits distillation),
    with T = 1; its code clips probabilities at 1e-8. gamma: the modulating factor
    of Li et al. 2020, arXiv:2006.04388, for soft targets. The weights are plain.
  """
  checks.positive("binary_kd", temperature=temperature)
  checks.weights(
    "binary_kd",
    positive_weight=positive_weight,
    negative_weight=negative_weight,
  )
  checks.python_number("binary_kd", ">= 0", lambda x: x >= 0, gamma=gamma)
  student, teacher = _math.shared(*_math.pair("binary_kd", student, teacher))
  warmth = _math.per_row(
    temperature, student.shape[:-1], student.dtype, "binary_kd"
  )
  # In the rank of the logits: a row's temperature is that of all its labels.
  warmth = warmth[..., None] if warmth.ndim else warmth
  log_q, log_p = (_log_no_and_yes(x / warmth) for x in (student, teacher))
  loss = _math.kl_of_softmaxes(log_p, log_q)
  if gamma:
    gap = jnp.exp(log_p[..., 1]) - jnp.exp(log_q[..., 1])
    loss = loss * _features.power(gap, gamma)
  known, yes = _answers(labels, teacher)
  less = _of_labels("negative_weight", negative_weight, loss)
  more = _of_labels("positive_weight", positive_weight, loss)
  weight = less + yes * (more - less)
  total = jnp.sum(jnp.where(known, weight * loss, 0.0), axis=-1)
  return _math.times_t_squared(total, temperature, True)


def _log_no_and_yes(logits):
  """(..., L, 2) log-probabilities of no and yes, each exact where it is near 0."""
  return jnp.stack(
    [jax.nn.log_sigmoid(-logits), jax.nn.log_sigmoid(logits)], axis=-1
  )


def _of_labels(name, weight, loss):
  """Returns a weight in the shape of the loss of all questions."""
  weight = jnp.asarray(weight, loss.dtype)
  missing = loss.ndim - weight.ndim
  fits = missing >= 0 and all(
    size in (1, of_loss)
    for size, of_loss in zip(weight.shape, loss.shape[missing:], strict=True)
  )
  if not fits:
    raise ValueError(
      f"binary_kd: {name} must be a number, or broadcast to the logits' shape"
      f" {loss.shape}, got {weight.shape}"
    )
  return jnp.broadcast_to(weight, loss.shape)


def _answers(labels, teacher):
  """Which questions count, and how far each one's answer is yes."""
  if labels is None:
    return jnp.ones(teacher.shape, bool), jax.nn.sigmoid(teacher)
  if labels.shape != teacher.shape:
    raise ValueError(
      "binary_kd: labels must have the logits' shape, got"
      f" {labels.shape} for logits {teacher.shape}"
    )
  labels = jnp.asarray(labels).astype(teacher.dtype)
  known = labels >= 0  # not nan either
  return known, jnp.where(known, labels, 0.0)


def class_aware_embedding(
  student: jax.Array,
  teacher: jax.Array,
  labels: jax.Array,
  *,
  axis_name: str | None = None,
) -> jax.Array:
  """Matches, label by label, how the examples that have it lie to each other.

  loss = sum_l 1/n_l sum_ij huber(D_student_lij - D_teacher_lij)  over the n_l
  examples i, j with label l, where n_l > 1;
  D_lij = ||e_il - e_jl|| / mean of these over i != j,
  huber(x) = x^2 / 2 where |x| < 1, else |x| - 1/2

  e_il is what a network knows of label l in example i, such as a decoder's state
  for it, or its pooled map of the label. A pair of duplicates has zero gradient.

  Args:
    student: (B, L, D) float, an embedding a label.
    teacher: (B, L, D') float; a constant.
    labels: (B, L) 1 for yes; 0, and -1 or nan for what is not known, for others.
    axis_name: name of the mapped axis over which the batch is spread, if any.

  Returns:
    A scalar, float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if examples or labels differ.

  Example:
    >>> student = jnp.array([[[0.0]], [[1.0]], [[2.0]]])
    >>> teacher, yes = jnp.eye(3)[:, None], jnp.ones((3, 1))
    >>> print(class_aware_embedding(student, teacher, yes).round(3))
    0.125

  Source:
    Yang et al. 2023, arXiv:2308.06453 (LED-CD), and its code,
    penghui-yang/L2D, which trains with 100 times it.
  """
  student, teacher, yes = _embeddings(
    "class_aware_embedding", student, teacher, labels, axis_name
  )
  sides = (jnp.swapaxes(x, 0, 1) for x in (student, teacher, yes))
  return jnp.sum(_distance_losses(*sides))


def instance_aware_embedding(
  student: jax.Array, teacher: jax.Array, labels: jax.Array
) -> jax.Array:
  """Matches, example by example, how its labels' embeddings lie to each other.

  loss_b = 1/k_b sum_lm huber(D_student_blm - D_teacher_blm)  over the k_b labels
  l, m of example b, where k_b > 1; else 0
  D_blm = ||e_bl - e_bm|| / mean of these over l != m

  Otherwise as `class_aware_embedding`. The published code sums over the batch.

  Args:
    student: (B, L, D) float, an embedding a label.
    teacher: (B, L, D') float; a constant.
    labels: (B, L) 1 for yes; 0, and -1 or nan for what is not known, for others.

  Returns:
    (B,) float32 (float64 for float64), no unit, >= 0.

  Raises:
    ValueError: at trace time, if examples or labels differ.

  Example:
    >>> student = jnp.array([[[0.0], [1.0], [2.0]]])
    >>> teacher, yes = jnp.eye(3)[None], jnp.ones((1, 3))
    >>> print(instance_aware_embedding(student, teacher, yes).round(3))
    [0.125]

  Source:
    Yang et al. 2023, arXiv:2308.06453 (LED-ID), and its code,
    penghui-yang/L2D, which trains with 1000 times it.
  """
  return _distance_losses(
    *_embeddings("instance_aware_embedding", student, teacher, labels, None)
  )


def _embeddings(function, student, teacher, labels, axis_name):
  """Checks the shapes; returns both sides, and which labels are yes."""
  shapes = [x.shape for x in (student, teacher, labels)]
  ranks = [len(shape) for shape in shapes] == [3, 3, 2]
  if not ranks or len({shape[:2] for shape in shapes}) > 1:
    raise ValueError(
      f"{function}: student and teacher must be (batch, labels, size) and labels"
      f" (batch, labels), got {', '.join(map(str, shapes))}"
    )
  student, teacher = _features.working_pair(student, teacher)
  # Neither -1 nor nan is yes.
  yes = jnp.asarray(labels) > 0
  return tuple(
    _math.gather_batch(x, axis_name) for x in (student, teacher, yes)
  )


def _distance_losses(student, teacher, counts):
  """(G,) of (G, K, D) groups, the rows of which count that (G, K) says."""

  def of_group(student, teacher, counts):
    pairs = counts[:, None] & counts[None, :]
    pairs &= ~jnp.eye(len(counts), dtype=bool)
    difference = _distances(student, pairs) - _distances(teacher, pairs)
    # The diagonal, 0, belongs to the published mean.
    total = jnp.sum(_math.huber(difference))
    return total / jnp.maximum(counts.sum(), 1).astype(total.dtype)

  count = student.shape[1]
  elements = count * count * (student.shape[2] + teacher.shape[2])
  return _features.map_rows(of_group, (student, teacher, counts), elements)


def _distances(rows, pairs):
  """Returns the distances of the pairs over their mean, 0 elsewhere."""
  # A common factor leaves with the mean; before the squares, it keeps them finite.
  scaled = rows / _math.magnitude(rows, axis=(0, 1))
  squares = jnp.where(pairs, _features.squared_distances(scaled), 0.0)
  distances = _math.safe_sqrt(squares)
  count = jnp.maximum(jnp.sum(pairs), 1).astype(distances.dtype)
  mean = jnp.sum(distances) / count
  return distances / jnp.where(mean > 0, mean, 1.0)
