"""Distillation of standardised logits: relations without their size."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("logit_standardization", objective="ce:0.1 + logit_standardization:9")
def logit_standardization(
  *, temperature: float | jax.Array | Schedule = 2.0
) -> Method:
  """Knowledge distillation of standardised logits.

  loss = T^2 * KL(softmax(z(teacher) / T) || softmax(z(student) / T)),
  z(x) = (x - mean x) / std x

  so that the student need not reach the teacher's range of logits. Base
  temperature and weights are the authors' for CIFAR-100.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes.

  Args:
    temperature: T > 0, the base temperature; a number or a schedule.

  Returns:
    The method; `kd(standardize=True)` with its own defaults.

  Raises:
    ValueError: for a temperature that is not a number > 0.

  Example:
    >>> logits = jnp.array([[1.0, 2.0, 3.0]])
    >>> student, teacher = Outputs(logits, {}), Outputs(10 * logits + 1, {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(f"{logit_standardization().apply((), (), inputs)[0]:.4f}")
    0.0000

  Source:
    Sun et al. 2024, arXiv:2403.01427, and its code; `kdjax.losses.kd`.
  """
  check_value("temperature", temperature, lambda value: value > 0)
  return stateless(
    lambda inputs: losses.kd(
      inputs.student.answers,
      inputs.teacher.answers,
      temperature=at(temperature, inputs.step),
      standardize=True,
    )
  )
