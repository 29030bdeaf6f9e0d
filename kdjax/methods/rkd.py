"""Relational distillation: distances and angles between examples."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.core.task import KINDS
from kdjax.methods._features import last
from kdjax.methods.registry import register


@register("rkd", objective="ce:1 + rkd:1", reads=KINDS)
def rkd(
  *,
  distance_weight: float | jax.Array | Schedule = 25.0,
  angle_weight: float | jax.Array | Schedule = 50.0,
  student_tap: str = "head:in",
  teacher_tap: str = "head:in",
) -> Method:
  """Relational knowledge distillation.

  loss = distance_weight * mean_ij huber(D_s - D_t)
       + angle_weight * mean_ijk huber(A_s - A_t)

  with D_ij the distance of two examples over the mean distance, and A_ijk the
  cosine of the angle that j and k make as seen from i.

  Matched: the batch's geometry by the last feature that each tap names.
  Learned: nothing but the student. Default taps: `head:in`. Cost: B^3 angles of
  each network, in blocks.

  Args:
    distance_weight: weight of the distances, >= 0; a number or a schedule.
    angle_weight: weight of the angles, >= 0; likewise.
    student_tap: where the student's features are.
    teacher_tap: where the teacher's are.

  Returns:
    The method; it couples the batch.

  Raises:
    ValueError: for a weight below 0.

  Example:
    >>> student = Outputs(None, {"head:in": jnp.array([[0.0], [1.0], [2.0]])})
    >>> teacher = Outputs(None, {"head:in": jnp.eye(3)})
    >>> inputs = Inputs(student, teacher, jnp.zeros(3, int), jnp.array(0))
    >>> method = rkd(distance_weight=1.0, angle_weight=0.0)
    >>> print(f"{method.apply((), (), inputs)[0]:.4f}")
    0.0417

  Source:
    Park et al. 2019, arXiv:1904.05068; `kdjax.losses.rkd`.
  """
  check_value("distance_weight", distance_weight, lambda value: value >= 0)
  check_value("angle_weight", angle_weight, lambda value: value >= 0)
  return stateless(
    lambda inputs: losses.rkd(
      last(inputs.student, student_tap),
      last(inputs.teacher, teacher_tap),
      distance_weight=at(distance_weight, inputs.step),
      angle_weight=at(angle_weight, inputs.step),
    ),
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )
