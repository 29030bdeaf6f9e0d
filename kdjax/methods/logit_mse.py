"""Logit matching: the student regresses the teacher's logits."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods.registry import register


@register("logit_mse", reads=KINDS)
def logit_mse() -> Method:
  """Regression of the teacher's logits.

  loss = mean_c (student_c - teacher_c)^2

  Matched: the logits of both networks, their offset included. Learned: nothing
  but the student. Default taps: none. Cost: one pass over the logits.

  Returns:
    The method.

  Example:
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), {}), Outputs(jnp.ones((1, 2)), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(logit_mse().apply((), (), inputs)[0])
    1.0

  Source:
    Ba, Caruana 2014, arXiv:1312.6184; `kdjax.losses.logit_mse`.
  """
  return stateless(
    lambda inputs: losses.logit_mse(
      inputs.student.answers, inputs.teacher.answers
    )
  )
