"""Weighted soft labels: what the student knows better counts less."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("wsld", objective="ce:1 + wsld:2.5")
def wsld(*, temperature: float | jax.Array | Schedule = 2.0) -> Method:
  """Weighted soft labels.

  loss = w T^2 * (- sum_c p_c log q_c),
  w = 1 - exp(- CE(student, label) / CE(teacher, label)), a constant

  with softmaxes p, q at T and cross-entropies at temperature 1. An example
  without a label adds 0. T and the weight 2.5 are those for ImageNet; cls_KD
  has T 4 and 2.25 for CIFAR-100.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: four softmaxes over the classes.

  Args:
    temperature: T > 0, no unit; a number or a schedule.

  Returns:
    The method.

  Raises:
    ValueError: for a temperature that is not a number > 0.

  Example:
    >>> student = Outputs(jnp.array([[0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.array([[2.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(f"{wsld().apply((), (), inputs)[0]:.4f}")
    2.7608

  Source:
    Zhou et al. 2021, arXiv:2102.00650, and its code; `kdjax.losses.wsld`.
  """
  check_value("temperature", temperature, lambda value: value > 0)

  def loss(inputs):
    return losses.wsld(
      inputs.student.answers,
      inputs.teacher.answers,
      inputs.labels,
      temperature=at(temperature, inputs.step),
    )

  return stateless(loss)
