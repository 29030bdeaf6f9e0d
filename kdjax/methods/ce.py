"""Cross-entropy with the labels: the hard part of every objective."""

import jax
import jax.numpy as jnp
import optax

from kdjax.core.method import Method, stateless
from kdjax.core.one_pass import LABELS
from kdjax.core.schedule import check_value
from kdjax.core.task import KINDS
from kdjax.losses import checks
from kdjax.losses.helpers import class_ids
from kdjax.methods.labels import soft_loss
from kdjax.methods.registry import register


@register("ce", reads=KINDS)
def ce(*, label_smoothing: float | jax.Array = 0.0) -> Method:
  """Cross-entropy with the labels, smoothed or not.

  loss_b = - sum_c y_bc log q_bc,  y = (1 - a) onehot(label) + a / C

  An example without a label (-1, or any that is no class, or one that the
  student masks with -inf) adds 0 and counts in the mean, so that the objective
  stays a plain sum over examples, whatever the batches. C counts the classes
  that the student does not mask. Where images
  are mixed, loss_b = share * loss(label) + (1 - share) * loss(partner's label).

  Matched: the student's logits to the labels. Learned: nothing but the
  student. Default taps: none. Cost: one softmax over the classes.

  Args:
    label_smoothing: a in [0, 1), the share spread over all classes.

  Returns:
    The method.

  Raises:
    ValueError: for a smoothing outside [0, 1).

  Example:
    >>> inputs = Inputs(Outputs(jnp.zeros((1, 2)), {}), None, jnp.array([1]), 0)
    >>> print(ce().apply((), (), inputs)[0].round(4))
    0.6931

  Source:
    Smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
  """

  check_value("label_smoothing", label_smoothing, lambda value: 0 <= value < 1)

  def loss(inputs):
    logits = inputs.student.answers.astype(jnp.float32)
    checks.classes("ce", logits)
    alive = logits != -jnp.inf
    whole = jnp.all(alive, axis=-1, keepdims=True)

    def smoothed(one_hot):
      # Apart, so that rows without masks keep every bit of the plain formula.
      values = optax.losses.softmax_cross_entropy(
        jnp.where(whole, logits, 0.0),
        optax.losses.smooth_labels(one_hot, label_smoothing),
      )
      fewer = soft_loss(
        jnp.where(whole, 0.0, logits),
        optax.losses.smooth_labels(one_hot, label_smoothing, where=alive),
      )
      return jnp.where(whole[:, 0], values, fewer)

    def against(labels):
      labels = class_ids(labels, logits.shape[-1])
      place = jnp.maximum(labels, 0)
      one_hot = jax.nn.one_hot(place, logits.shape[-1])
      if isinstance(label_smoothing, float) and not label_smoothing:
        # In this form its programs keep every bit of the plain formula's.
        values = optax.losses.softmax_cross_entropy(
          logits, one_hot, where=alive
        )
      else:
        values = smoothed(one_hot)
      has_label = jnp.take_along_axis(alive, place[:, None], axis=-1)[:, 0]
      return jnp.where((labels >= 0) & has_label, values, 0.0)

    if inputs.share is None:
      return against(inputs.labels)
    loss, partner = against(inputs.labels), against(inputs.partner_labels)
    return inputs.share * loss + (1 - inputs.share) * partner

  plain = isinstance(label_smoothing, float) and not label_smoothing
  return stateless(
    loss,
    needs_teacher=False,
    chunked=(lambda inputs: LABELS) if plain else None,
  )
