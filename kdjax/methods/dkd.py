"""Decoupled distillation: the labelled class, and how the others compare."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("dkd", objective="ce:1 + dkd:warmup(0.0833)")
def dkd(
  *,
  alpha: float | jax.Array | Schedule = 1.0,
  beta: float | jax.Array | Schedule = 8.0,
  temperature: float | jax.Array | Schedule = 4.0,
  standardize: bool = False,
) -> Method:
  """Decoupled knowledge distillation.

  loss = T^2 * (alpha KL(b || a) + beta KL(p_others || q_others))

  with b, a what teacher and student give to the label and to the rest, and
  p_others, q_others their softmaxes over the other classes, all at T. An
  example without a label adds 0. The published objective is ce + dkd, which
  grows from 0 over 20 of 240 epochs. On CIFAR-100 beta is 8 for ResNet32x4's
  students, WRN-40-2 -> ShuffleNetV1 and ResNet50 -> MobileNetV2, 6 for VGG13's
  students and WRN-40-2 -> WRN-16-2 and WRN-40-1, 2 for those of ResNet-56 and
  ResNet-110.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: four softmaxes over the classes.

  Args:
    alpha: weight of the labelled class, >= 0; a number or a schedule.
    beta: weight of the others, >= 0; likewise.
    temperature: T > 0, no unit; likewise.
    standardize: whether both networks' logits are standardised first.

  Returns:
    The method.

  Raises:
    ValueError: for a weight below 0 or a temperature that is not > 0.

  Example:
    >>> student = Outputs(jnp.zeros((1, 3)), {})
    >>> teacher = Outputs(jnp.array([[2.0, 1.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(dkd(temperature=1.0).apply((), (), inputs)[0].round(2))
    1.12

  Source:
    Zhao et al. 2022, arXiv:2203.08679, and its code, megvii-research/mdistiller,
    configs/cifar100/dkd; `kdjax.losses.dkd`.
  """
  check_value("alpha", alpha, lambda value: value >= 0)
  check_value("beta", beta, lambda value: value >= 0)
  check_value("temperature", temperature, lambda value: value > 0)

  def loss(inputs):
    return losses.dkd(
      inputs.student.answers,
      inputs.teacher.answers,
      inputs.labels,
      alpha=at(alpha, inputs.step),
      beta=at(beta, inputs.step),
      temperature=at(temperature, inputs.step),
      standardize=standardize,
    )

  return stateless(loss)
