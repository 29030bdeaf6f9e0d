"""CS-KD: two images of one class are to be answered alike."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Inputs, Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.labels import read_labels
from kdjax.methods.registry import register


@register("cs_kd", objective="ce:1 + cs_kd:1", of_examples=True)
def cs_kd(*, temperature: float | jax.Array | Schedule = 4.0) -> Method:
  """Class-wise self-distillation.

  loss = T^2 * KL(softmax(z' / T) || softmax(z / T)),  z' a constant,
         the logits of another example of the same class

  A mean over the examples that have such a partner in the batch; the others,
  and those without a label, count for nothing. Partners go round within a class
  in the order of the batch. The authors' batches are half images with gradient
  and labels, half partners without either, drawn for them; here every image is
  both, which costs no second pass, but a batch much smaller than the number of
  classes has few pairs. Weight and T are those of their code.

  Matched: the student's logits to its own for another image. Learned: nothing
  but the student. Default taps: none. Cost: sorting the batch by class; no
  teacher.

  Args:
    temperature: T > 0, no unit; a number or a schedule.

  Returns:
    The method; it relates examples, so it couples the batch.

  Raises:
    ValueError: for a temperature that is not > 0.

  Example:
    >>> logits = jnp.array([[1.0, 0.0], [0.0, 0.0], [5.0, 5.0]])
    >>> inputs = Inputs(Outputs(logits, {}), None, jnp.array([0, 0, 1]), 0)
    >>> print(f"{cs_kd(temperature=1.0).apply((), (), inputs)[0]:.4f}")
    0.1155

  Source:
    Yun et al. 2020, arXiv:2003.13964, and its code; `kdjax.losses.kd`.
  """
  check_value("temperature", temperature, lambda value: value > 0)

  def loss(inputs):
    student = inputs.student.answers
    partner, has_partner = partners(inputs)
    values = losses.kd(
      student, student[partner], temperature=at(temperature, inputs.step)
    )
    return losses.masked_mean(values, has_partner)

  return stateless(loss, couples_batch=True, needs_teacher=False)


def partners(inputs: Inputs) -> tuple[jax.Array, jax.Array]:
  """Gives every example another one of its class, each to one.

  Args:
    inputs: with the student's logits, the labels and the mask.

  Returns:
    (B,) int, the partner's place in the batch, and (B,) bool, False where an
    example has none: it is its own.

  Example:
    >>> outputs, labels = Outputs(jnp.zeros((5, 3)), {}), jnp.array([2, 0, 2, -1, 2])
    >>> partner, paired = partners(Inputs(outputs, None, labels, 0))
    >>> partner.tolist(), paired.tolist()
    ([2, 1, 4, 3, 0], [True, False, True, False, True])
  """
  labels = read_labels(inputs)
  places = jnp.arange(labels.shape[0])
  counts = labels >= 0
  if inputs.mask is not None:
    counts &= inputs.mask != 0
  # Whoever does not count is a class of its own.
  classes = jnp.where(counts, labels, -1 - places)
  order = jnp.argsort(classes, stable=True)
  sorted_classes = classes[order]
  first = jnp.searchsorted(sorted_classes, sorted_classes, side="left")
  end = jnp.searchsorted(sorted_classes, sorted_classes, side="right")
  following = jnp.where(places + 1 < end, places + 1, first)
  partner = jnp.zeros_like(order).at[order].set(order[following])
  return partner, partner != places
