"""Universal Logit Distillation: sorted probabilities, for other vocabularies."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("uld", objective="ce:1 + uld:1.5")
def uld(
  *,
  student_temperature: float | jax.Array | Schedule = 1.0,
  teacher_temperature: float | jax.Array | Schedule = 1.0,
) -> Method:
  """The distance of both networks' probabilities, each in falling order.

  loss = sum_i |p_(i) - q_(i)|,  p = softmax(teacher / T_t), q = softmax(student / T_s)

  Which class has which probability is not looked at, so that the two may have
  different classes: tokens of another tokenizer, with `launch.py lm --across`.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes, both sorted.

  Args:
    student_temperature: T_s > 0, no unit; a number or a schedule.
    teacher_temperature: T_t > 0; the same.

  Returns:
    The method.

  Raises:
    ValueError: for a temperature that is not > 0.

  Example:
    >>> student = Outputs(jnp.array([[0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.array([[1.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(f"{uld().apply((), (), inputs)[0]:.4f}")
    0.4621

  Source:
    Boizard et al. 2024, arXiv:2402.12030; `kdjax.losses.uld`.
  """
  temperatures = {
    "student_temperature": student_temperature,
    "teacher_temperature": teacher_temperature,
  }
  for name, temperature in temperatures.items():
    check_value(name, temperature, lambda value: value > 0)
  return stateless(
    lambda inputs: losses.uld(
      inputs.student.answers,
      inputs.teacher.answers,
      **{name: at(x, inputs.step) for name, x in temperatures.items()},
    )
  )
