"""A penalty on confident outputs: regularisation with no teacher at all."""

import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.methods.registry import register


@register("confidence_penalty", objective="ce:1 + confidence_penalty:0.1")
def confidence_penalty() -> Method:
  """Penalty on outputs of low entropy, a control for what distillation adds.

  loss = KL(q || uniform) = log C - H(q),  q = softmax(student)

  It knows neither labels nor teacher; what a method gains beyond it is not
  softness alone. The constant log C keeps it >= 0. The paper chooses the weight
  on held-out data for each task; 0.1 is where to begin.

  Matched: the student's logits to nothing. Learned: nothing but the student.
  Default taps: none. Cost: one softmax over the classes; no teacher.

  Returns:
    The method.

  Example:
    >>> inputs = Inputs(Outputs(jnp.zeros((1, 2)), {}), None, jnp.array([1]), 0)
    >>> print(confidence_penalty().apply((), (), inputs)[0])
    0.0

  Source:
    Pereyra et al. 2017, arXiv:1701.06548; `kdjax.losses.reverse_kl`.
  """

  def loss(inputs):
    student = inputs.student.answers
    return losses.reverse_kl(student, jnp.zeros_like(student), temperature=1.0)

  return stateless(loss, needs_teacher=False)
