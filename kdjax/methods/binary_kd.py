"""Binary distillation: yes/no questions, each softened by a sigmoid of its own."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_static, check_value
from kdjax.losses.helpers import class_ids
from kdjax.methods.registry import register


@register("binary_kd")
def binary_kd(
  *,
  temperature: float | jax.Array | Schedule = 4.0,
  positive_weight: float = 1.0,
  negative_weight: float = 1.0,
  gamma: float = 0.0,
  labels: bool = False,
) -> Method:
  """Binary distillation with weights of yes and no, and its focal variant.

  loss = T^2 w |p - q|^gamma KL(Bernoulli(p) || Bernoulli(q)) of each question,
  p = sigmoid(teacher / T),  q = sigmoid(student / T),
  w between negative_weight and positive_weight, by how far the teacher says yes

  Of a task with labels of yes and no a row is one label of one example, so that the
  loss is the mean over labels where papers sum over them: with L labels their weight
  is L times this one's. Without weights it is `kd`. Of a task with classes each class
  is a question, one against the rest, and their losses are summed.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two sigmoids over the labels.

  Args:
    temperature: T > 0, no unit; a number or a schedule.
    positive_weight: of a question whose answer is yes, >= 0.
    negative_weight: of one whose answer is no, >= 0.
    gamma: the focal exponent, >= 0: questions on which both networks agree count
      less.
    labels: whether yes and no are the labels' for the weights, and the teacher is
      heard only where a label is known.

  Returns:
    The method.

  Raises:
    ValueError: for a temperature that is not a number > 0, a weight or an exponent
      below 0, and labels that is neither True nor False.

  Example:
    >>> method = binary_kd(temperature=1.0)
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), {}), Outputs(jnp.eye(2)[1:], {})
    >>> inputs = Inputs(student, teacher, jnp.array([1]), jnp.array(0))
    >>> print(method.apply((), (), inputs)[0].round(4))
    0.1109

  Source:
    Yang et al. 2023, arXiv:2308.06453; `kdjax.losses.binary_kd`.
  """
  check_value("temperature", temperature, lambda value: value > 0)
  if not isinstance(labels, bool):
    raise ValueError(f"labels must be True or False, got {labels!r}")
  weights = {
    "positive_weight": positive_weight,
    "negative_weight": negative_weight,
    "gamma": gamma,
  }
  for name, value in weights.items():
    check_static(name, value, lambda value: 0 <= value < float("inf"))

  def loss(inputs):
    # The scores of no and yes are (0, logit): the first question is settled.
    student, teacher = inputs.student.answers, inputs.teacher.answers
    known_labels = (
      (_one_hot(inputs.labels, student.shape[-1]),) if labels else ()
    )
    return losses.binary_kd(
      student,
      teacher,
      *known_labels,
      temperature=at(temperature, inputs.step),
      **weights,
    )

  return stateless(loss)


def _one_hot(labels: jax.Array, classes: int) -> jax.Array:
  """(R, C) 1 for the label's class, 0 for the others; -1 where it is not known."""
  ids = class_ids(labels, classes)[:, None]
  yes = ids == jnp.arange(classes)[None, :]
  return jnp.where(ids < 0, -1, yes.astype(jnp.int32))
