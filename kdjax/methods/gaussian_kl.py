"""Distillation of normal distributions: the student takes over mean and variance."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.methods.registry import register


@register("gaussian_kl", reads=("gaussians",))
def gaussian_kl() -> Method:
  """KL divergence from the student's to the teacher's normal distributions.

  loss = mean_c KL(N(m_t, exp v_t) || N(m_s, exp v_s))

  How sure the teacher is counts by itself: where its variance is small, its mean
  weighs more. An ensemble's is the pooled distribution, wider where its networks
  contradict each other.

  Matched: means and log variances of both networks. Learned: nothing but the
  student. Default taps: none. Cost: one pass over the answers.

  Returns:
    The method.

  Example:
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), {}), Outputs(jnp.eye(2)[:1], {})
    >>> inputs = Inputs(student, teacher, jnp.array([[0.0]]), jnp.array(0))
    >>> print(gaussian_kl().apply((), (), inputs)[0])
    0.5

  Source:
    The closed form, `kdjax.losses.gaussian_kl`.
  """
  return stateless(
    lambda inputs: losses.gaussian_kl(
      inputs.student.answers, inputs.teacher.answers
    )
  )
