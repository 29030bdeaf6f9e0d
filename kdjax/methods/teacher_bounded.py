"""Teacher-bounded regression: the student is left alone where it beats the teacher."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register(
  "teacher_bounded",
  objective="ce:1 + teacher_bounded:0.5",
  reads=("values",),
)
def teacher_bounded(*, margin: float | jax.Array | Schedule = 0.0) -> Method:
  """The student's squared error, unless it is better than the teacher's.

  loss = e(student) where e(student) + margin > e(teacher), else 0,
  e(x) = mean_c (x_c - target_c)^2

  A row whose targets are not known has no loss. Where inputs are mixed, the targets
  are those of an input's own.

  Matched: the errors of both networks' answers. Learned: nothing but the student.
  Default taps: none. Cost: two passes over the answers.

  Args:
    margin: m >= 0, in squared units of the standardised targets, by how much the
      student has to be better; a number or a schedule.

  Returns:
    The method.

  Raises:
    ValueError: for a margin below 0.

  Example:
    >>> student, teacher = Outputs(jnp.full((1, 1), 3.0), {}), Outputs(jnp.ones((1, 1)), {})
    >>> inputs = Inputs(student, teacher, jnp.zeros((1, 1)), jnp.array(0))
    >>> print(teacher_bounded().apply((), (), inputs)[0])
    9.0

  Source:
    Chen et al. 2017, "Learning efficient object detection models with knowledge
    distillation", equation 6, with its weight of 0.5 beside the labels' loss;
    `kdjax.losses.teacher_bounded`.
  """
  check_value("margin", margin, lambda value: value >= 0)
  return stateless(
    lambda inputs: losses.teacher_bounded(
      inputs.student.answers,
      inputs.teacher.answers,
      inputs.labels,
      margin=at(margin, inputs.step),
    )
  )
