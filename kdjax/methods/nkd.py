"""Normalised distillation: the label's share, and the others as a softmax."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("nkd", objective="ce:1 + nkd:1")
def nkd(
  *,
  gamma: float | jax.Array | Schedule = 1.5,
  temperature: float | jax.Array | Schedule = 1.0,
) -> Method:
  """Normalised knowledge distillation.

  loss = - p_y log q_y - gamma T^2 sum_{c != y} p'_c log q'_c

  with p, q at temperature 1, y the label and p', q' the softmaxes over the
  other classes at T. An example without a label adds 0. The defaults are those
  for ImageNet; for CIFAR-100 the authors' code has gamma 3.5 and T 3.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: four softmaxes over the classes.

  Args:
    gamma: weight of the other classes, >= 0; a number or a schedule.
    temperature: T > 0 of the other classes; likewise.

  Returns:
    The method.

  Raises:
    ValueError: for a weight below 0 or a temperature that is not > 0.

  Example:
    >>> student = Outputs(jnp.zeros((1, 3)), {})
    >>> teacher = Outputs(jnp.array([[2.0, 1.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(f"{nkd().apply((), (), inputs)[0]:.4f}")
    1.7706

  Source:
    Yang et al. 2023, arXiv:2303.13005, and its code; `kdjax.losses.nkd`.
  """
  check_value("gamma", gamma, lambda value: value >= 0)
  check_value("temperature", temperature, lambda value: value > 0)

  def loss(inputs):
    return losses.nkd(
      inputs.student.answers,
      inputs.teacher.answers,
      inputs.labels,
      gamma=at(gamma, inputs.step),
      temperature=at(temperature, inputs.step),
    )

  return stateless(loss)
