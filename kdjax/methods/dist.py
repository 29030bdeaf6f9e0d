"""DIST: correlations with a strong teacher instead of its exact values."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("dist", objective="ce:1 + dist:2")
def dist(
  *,
  beta: float | jax.Array | Schedule = 1.0,
  gamma: float | jax.Array | Schedule = 1.0,
  temperature: float | jax.Array | Schedule = 1.0,
) -> Method:
  """Distillation from a stronger teacher, by correlations.

  loss = T^2 * (beta (1 - mean_i rho(q_i, p_i))
              + gamma (1 - mean_c rho(q_:c, p_:c)))

  with rho Pearson's correlation, over the classes of an example i and over the
  examples' probabilities of a class c, and softmaxes p, q at T. The published
  objective is ce + 2 * dist with beta = gamma = 1; on CIFAR-100 T is 4.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes.

  Args:
    beta: weight of the relations between classes, >= 0; a number or a
      schedule.
    gamma: weight of the relations between examples, >= 0; likewise.
    temperature: T > 0, no unit; likewise.

  Returns:
    The method; it couples the batch.

  Raises:
    ValueError: for a weight below 0 or a temperature that is not > 0.

  Example:
    >>> student = Outputs(jnp.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.array([[0.0, 2.0, 2.0], [2.0, 0.0, 1.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> print(dist().apply((), (), inputs)[0].round(3))
    0.163

  Source:
    Huang et al. 2022, arXiv:2205.10536; `kdjax.losses.dist`. The weight 2 is
    `kd_loss_weight` of the authors' code, hunto/image_classification_sota,
    configs/strategies/distill/resnet_dist.yaml and dist_cifar.yaml.
  """
  check_value("beta", beta, lambda value: value >= 0)
  check_value("gamma", gamma, lambda value: value >= 0)
  check_value("temperature", temperature, lambda value: value > 0)
  return stateless(
    lambda inputs: losses.dist(
      inputs.student.answers,
      inputs.teacher.answers,
      beta=at(beta, inputs.step),
      gamma=at(gamma, inputs.step),
      temperature=at(temperature, inputs.step),
    ),
    couples_batch=True,
  )
