"""Policy gradient of the reverse KL of whole texts that the student writes."""

from kdjax.core.errors import unknown_name
from kdjax.core.method import Method
from kdjax.core.schedule import check_static
from kdjax.losses import policies
from kdjax.methods._drawn import of_drawn
from kdjax.methods.registry import register


@register("policy_gradient", objective="policy_gradient:1")
def policy_gradient(*, estimator: str = "k1", discount: float = 1.0) -> Method:
  """On-policy distillation by reinforcement learning: the log-ratio is the reward.

  gradient = sum_t A_t grad log q_t[y_t],  A_t = sum over j >= t of g^(j - t) k_j

  with k1 = log q/p or k3 = p/q - 1 - log p/q of the drawn tokens y, and of k3 its own
  gradient: see `kdjax.losses.policies.policy_gradient`. It needs the teacher's
  probabilities of the drawn tokens alone. With g = 1 its expectation is the gradient of
  KL(q || p) of whole texts, with g = 0 that of the tokens' own divergences, the
  advantage of "on-policy distillation". `minillm` has the same aim and varies less:
  it takes a token's own divergence over all classes.

  Where nothing is drawn (classes, texts of files) it is the reverse KL.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes, and the texts.

  Args:
    estimator: "k1" or "k3".
    discount: g in [0, 1].

  Returns:
    The method.

  Raises:
    UserError: for an unknown estimator.
    ValueError: for a discount outside [0, 1].

  Example:
    >>> drawn, share = jnp.array([0]), jnp.zeros(1)
    >>> student = Outputs(jnp.array([[0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.log(jnp.array([[3.0, 1.0]])), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> inputs = inputs._replace(drawn=drawn, teacher_share=share)
    >>> print(policy_gradient().apply((), (), inputs)[0].round(4))
    -0.4055

  Source:
    Williams 1992, Machine Learning 8; Schulman 2020, "Approximating KL divergence";
    Lu and Thinking Machines Lab 2025, "On-policy distillation" (g = 0).
  """
  if estimator not in policies.ESTIMATORS:
    raise unknown_name("estimator", estimator, policies.ESTIMATORS)
  check_static("discount", discount, lambda value: 0 <= value <= 1)

  def loss(log_q, log_p, divergence, mask, teacher_share):
    del divergence, teacher_share
    return policies.policy_gradient_of(
      log_q, log_p, mask, estimator=estimator, discount=discount
    )

  return of_drawn(loss)
