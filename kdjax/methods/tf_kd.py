"""Teacher-free distillation: a virtual teacher that is right, and else uniform."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.losses import checks
from kdjax.methods.labels import where_labelled
from kdjax.methods.registry import register


@register("tf_kd", objective="ce:0.9 + tf_kd:0.1")
def tf_kd(
  *,
  correct: float | jax.Array | Schedule = 0.99,
  temperature: float | jax.Array | Schedule = 20.0,
) -> Method:
  """Teacher-free distillation by regularisation, Tf-KD_reg.

  loss = KL(softmax(v / T) || softmax(student)),
  v_c = a for the label's class, (1 - a) / (C - 1) for every other

  The virtual teacher is always right and knows nothing about the other classes.
  As in the authors' code its probabilities, not their logarithms, are softened,
  and the student is not. At T = 20 that teacher is nearly uniform: the method
  then is label smoothing in all but name, and smoothed labels are its control.
  Their weight 100 undoes a mean over CIFAR-100's classes; here it is 1. Their
  other variant, Tf-KD_self, is plain `kd` from an earlier network of the same
  kind. An example without a label, or whose label the student masks with -inf,
  adds 0.

  Matched: the student's logits to the virtual teacher's. Learned: nothing but
  the student. Default taps: none. Cost: one softmax over the classes; no
  teacher.

  Args:
    correct: a in (0, 1), the virtual teacher's probability of the label's class;
      a number or a schedule.
    temperature: T > 0, no unit; likewise.

  Returns:
    The method.

  Raises:
    ValueError: for a value outside its range.

  Example:
    >>> inputs = Inputs(Outputs(jnp.zeros((1, 2)), {}), None, jnp.array([1]), 0)
    >>> print(f"{tf_kd(temperature=1.0).apply((), (), inputs)[0]:.4f}")
    0.1070

  Source:
    Yuan et al. 2020, arXiv:1909.11723, and its code; `kdjax.losses.kd`.
  """
  check_value("correct", correct, lambda value: 0 < value < 1)
  check_value("temperature", temperature, lambda value: value > 0)

  def loss(inputs):
    student = inputs.student.answers
    checks.classes("tf_kd", student)
    classes = student.shape[-1]
    alive = student != -jnp.inf
    others = jnp.sum(alive, axis=-1, keepdims=True) - 1
    right = at(correct, inputs.step)
    softness = at(temperature, inputs.step)

    def match(labels):
      hit = jax.nn.one_hot(labels, classes)
      other = (1 - right) / jnp.maximum(others, 1)
      virtual = jnp.where(hit > 0, right, other) / softness
      virtual = jnp.where(alive, virtual, -jnp.inf)
      values = losses.kd(student, virtual, temperature=1.0)
      return jnp.where(jnp.any((hit > 0) & alive, axis=-1), values, 0.0)

    return where_labelled(match, inputs)

  return stateless(loss, needs_teacher=False)
