"""Knowledge distillation: the student learns the teacher's softened classes."""

import functools

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("kd")
def kd(
  *,
  temperature: float | jax.Array | Schedule = 4.0,
  standardize: bool = False,
) -> Method:
  """Knowledge distillation with softened outputs.

  loss = T^2 * KL(softmax(teacher / T) || softmax(student / T))

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes.

  Args:
    temperature: T > 0, no unit; a number or a schedule.
    standardize: whether both networks' logits are standardised first.

  Returns:
    The method.

  Raises:
    ValueError: for a temperature that is not a number > 0.

  Example:
    >>> method = kd(temperature=1.0)
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), {}), Outputs(jnp.eye(2)[:1], {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(method.apply((), (), inputs)[0].round(4))
    0.1109

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531; `kdjax.losses.kd`.
  """
  check_value("temperature", temperature, lambda value: value > 0)
  return stateless(
    lambda inputs: losses.kd(
      inputs.student.answers,
      inputs.teacher.answers,
      temperature=at(temperature, inputs.step),
      standardize=standardize,
    ),
    chunked=lambda inputs: (
      None
      if standardize
      else functools.partial(
        losses.chunked.kd, temperature=at(temperature, inputs.step)
      )
    ),
  )
