"""Losses between the views of one network and its moving average."""

import jax
import jax.numpy as jnp

from kdjax.losses import _math, checks


def dino(
  student: jax.Array,
  teacher: jax.Array,
  center: jax.Array,
  *,
  student_temperature: float | jax.Array = 0.1,
  teacher_temperature: float | jax.Array = 0.04,
) -> jax.Array:
  """Cross-entropy between views, the teacher centred and sharpened.

  loss = mean over pairs g != v of - sum_d p_gd log q_vd
  p_g = softmax((teacher_g - center) / T_t),  q_v = softmax(student_v / T_s)

  The teacher sees the global views, the student all of them, global ones first
  and in the same order, so that a pair g = v is one view with itself.

  Args:
    student: (views, n, D) float, logits.
    teacher: (global views, n, D) float, logits; a constant.
    center: (D) float, the running mean of the teacher's logits; a constant.
      Any shape that broadcasts against (n, D) will do.
    student_temperature: T_s > 0, a scalar.
    teacher_temperature: T_t > 0, a scalar.

  Returns:
    (n) float32 (float64 for float64), nats, >= 0. Its least value is the mean
    entropy of the teacher, where both agree.

  Raises:
    ValueError: at trace time, if the shapes do not fit, if there is no pair of
      different views, or if a temperature is not positive.

  Example:
    >>> student, teacher = jnp.zeros((2, 1, 4)), jnp.ones((2, 1, 4))
    >>> print(dino(student, teacher, jnp.zeros(4)).round(4))
    [1.3863]

  Source:
    Caron et al. 2021, arXiv:2104.14294 (the loss over pairs of views).
  """
  _check_views(student, teacher)
  checks.classes("dino", student)
  checks.positive(
    "dino",
    student_temperature=student_temperature,
    teacher_temperature=teacher_temperature,
  )
  student, teacher = _math.at_least_float32(student), _math.constant(teacher)
  dtype = jnp.promote_types(student.dtype, teacher.dtype)
  student, teacher = student.astype(dtype), teacher.astype(dtype)
  center = _math.constant(center).astype(dtype)
  center = center.reshape((1,) * (3 - center.ndim) + center.shape)
  dead = ~_math.alive(teacher)
  # Each row's offset goes first: only differences matter, and must stay exact.
  centred = _math.off_the_top(teacher) - _math.off_the_top(center)
  p = jnp.exp(
    _math.log_softmax(_math.without(centred, dead), teacher_temperature)
  )
  log_q = _math.log_softmax(student, student_temperature)
  return _mean_over_pairs(p, log_q)


def dino_center_update(
  center: jax.Array, teacher: jax.Array, *, momentum: float | jax.Array = 0.9
) -> jax.Array:
  """Moves the centre towards the mean of the teacher's logits.

  result = momentum center + (1 - momentum) mean over views and batch of teacher

  With several devices give every one the same batch mean (`lax.pmean` of the
  result does that: it is linear in the mean).

  Args:
    center: (D) float.
    teacher: (global views, n, D) float, logits.
    momentum: the share that stays, in [0, 1].

  Returns:
    The new centre, of the old one's shape, float32 (float64 for float64). A
    constant: no gradient flows through it.

  Raises:
    ValueError: at trace time, if the shapes do not fit or `momentum` lies outside
      [0, 1].

  Example:
    >>> center, teacher = jnp.zeros(2), jnp.ones((2, 3, 2))
    >>> print(dino_center_update(center, teacher, momentum=0.75))
    [0.25 0.25]

  Source:
    Caron et al. 2021, arXiv:2104.14294 (the centre's moving average).
  """
  if center.shape[-1:] != teacher.shape[-1:]:
    raise ValueError(
      "dino_center_update: center and teacher must agree in the last axis, got"
      f" {center.shape} and {teacher.shape}"
    )
  checks.between("dino_center_update", 0, 1, momentum=momentum)
  center, teacher = _math.constant(center), _math.constant(teacher)
  dtype = jnp.promote_types(center.dtype, teacher.dtype)
  mean = jnp.mean(teacher.astype(dtype), axis=tuple(range(teacher.ndim - 1)))
  mean = jnp.broadcast_to(
    mean.reshape((1,) * (center.ndim - 1) + mean.shape), center.shape
  )
  return momentum * center.astype(dtype) + (1 - momentum) * mean


def _check_views(student, teacher):
  fits = student.ndim == 3 and student.shape[1:] == teacher.shape[1:]
  if not fits or teacher.ndim != 3 or len(teacher) > len(student):
    raise ValueError(
      "dino: student (views, n, D) and teacher (global views, n, D) must agree in"
      f" n and D, with no more global views than views, got {student.shape} and"
      f" {teacher.shape}"
    )
  if len(student) < 2 or not len(teacher):
    raise ValueError(
      "dino: needs a pair of different views, got student"
      f" {student.shape} and teacher {teacher.shape}"
    )


def _mean_over_pairs(p, log_q):
  """Returns the cross-entropy of each example, over pairs of unlike views."""
  global_views, views = len(p), len(log_q)
  total = sum(
    _math.cross_entropy(p[g], log_q[v])
    for g in range(global_views)
    for v in range(views)
    if g != v
  )
  return total / (global_views * (views - 1))
