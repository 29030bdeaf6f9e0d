"""Cross-entropy with the labels: the hard part of every objective."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.class_weights import (
  check_numbers,
  read_class_weights,
  weights_of_rows,
)
from kdjax.core.method import Method, stateless
from kdjax.core.one_pass import LABELS
from kdjax.core.schedule import check_value
from kdjax.core.task import KINDS
from kdjax.losses import checks
from kdjax.losses.helpers import class_ids
from kdjax.methods.labels import soft_loss
from kdjax.methods.registry import register


@register("ce", reads=KINDS)
def ce(
  *,
  label_smoothing: float | jax.Array = 0.0,
  class_weights: Sequence[float] | None = None,
) -> Method:
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
    class_weights: C numbers > 0 that the loss of each label's class is multiplied
      by; those of the task by default, or 1.

  Returns:
    The method.

  Raises:
    ValueError: for a smoothing outside [0, 1).
    UserError: for weights that are not > 0; when called, if they are not one a
      class.

  Example:
    >>> inputs = Inputs(Outputs(jnp.zeros((1, 2)), {}), None, jnp.array([1]), 0)
    >>> print(ce().apply((), (), inputs)[0].round(4))
    0.6931

  Source:
    Smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
  """

  check_value("label_smoothing", label_smoothing, lambda value: 0 <= value < 1)

  if class_weights is not None:
    check_numbers(class_weights)
    class_weights = read_class_weights(class_weights, np.size(class_weights))

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
      values = jnp.where((labels >= 0) & has_label, values, 0.0)
      if class_weights is None:
        return values
      read_class_weights(class_weights, logits.shape[-1])
      return values * weights_of_rows(class_weights, place, values.dtype)

    if inputs.share is None:
      return against(inputs.labels)
    loss, partner = against(inputs.labels), against(inputs.partner_labels)
    return inputs.share * loss + (1 - inputs.share) * partner

  plain = isinstance(label_smoothing, float) and not label_smoothing
  return stateless(
    loss,
    needs_teacher=False,
    chunked=(lambda inputs: LABELS) if plain and not class_weights else None,
  )
