"""Logit adjustment: labels whose rare classes count as much as common ones."""

from collections.abc import Sequence

from kdjax import losses
from kdjax.core.class_weights import read_prior
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import check_static
from kdjax.methods.registry import register


@register(
  "logit_adjustment", objective="logit_adjustment:1", reads=("categories",)
)
def logit_adjustment(
  *, tau: float = 1.0, prior: Sequence[float] | None = None
) -> Method:
  """Cross-entropy of logits to which the classes' log frequencies are added.

  loss_b = - log softmax(student + tau log prior)[label]

  It stands in the place of `ce`, for classes of which some are rare: the student's
  own logits, which are used afterwards, then take all classes for equally common.
  At tau = 1 it is balanced softmax. An example without a label adds 0 and counts in
  the mean. Where images are mixed, loss_b = share * loss(label) + (1 - share) *
  loss(partner's label).

  Matched: the student's logits to the labels. Learned: nothing but the
  student. Default taps: none. Cost: one softmax over the classes; no teacher.

  Args:
    tau: strength of the adjustment, >= 0; 0 for the plain cross-entropy.
    prior: how common each class is, C counts or shares > 0; those of the training
      images with labels by default, as they are shown, where a run knows them.

  Returns:
    The method.

  Raises:
    ValueError: for a strength below 0.
    UserError: for a prior that is not > 0; when called, without one.

  Example:
    >>> inputs = Inputs(Outputs(jnp.zeros((1, 2)), {}), None, jnp.array([1]), 0)
    >>> print(logit_adjustment(prior=(3, 1)).apply((), (), inputs)[0].round(4))
    1.3863

  Source:
    Menon et al. 2021, arXiv:2007.07314; Ren et al. 2020, arXiv:2007.10740;
    `kdjax.losses.logit_adjusted_cross_entropy`.
  """
  check_static("tau", tau, lambda value: 0 <= value < float("inf"))
  prior = read_prior(prior)

  def loss(inputs):
    logits = inputs.student.answers
    counts = read_prior(prior, logits.shape[-1], "logit_adjustment")

    def against(labels):
      return losses.logit_adjusted_cross_entropy(
        logits, labels, counts, tau=tau
      )

    if inputs.share is None:
      return against(inputs.labels)
    own, partner = against(inputs.labels), against(inputs.partner_labels)
    return inputs.share * own + (1 - inputs.share) * partner

  return stateless(loss, needs_teacher=False)
