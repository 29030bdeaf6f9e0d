"""Label-wise embeddings: how examples lie to each other, label by label."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, batch_mean, stateless
from kdjax.core.schedule import check_static
from kdjax.methods._features import classifier, last
from kdjax.methods.registry import register

HINT = "a label's embedding is what it makes of the feature before it"


@register("l2d", objective="ce:1 + binary_kd:1 + l2d:1", reads=("binary",))
def l2d(
  *,
  class_weight: float = 1.0,
  instance_weight: float = 1.0,
  student_tap: str = "head:in",
  teacher_tap: str = "head:in",
) -> Method:
  """Distillation of label-wise embeddings, for several labels an example.

  loss = class_weight CD / L + instance_weight mean_b ID_b
  CD = sum over labels of how the pairs of examples that both have it lie apart
  ID_b = how the pairs of example b's own labels lie apart
  e_bl = h_b * w_l, element by element: what label l's logit is the sum of

  Distances are over their mean in a label, or an example, and compared by Huber's
  loss. The paper's networks have a decoder state for each label, whose distances it
  weighs by 100 and 1000 beside ten times the sum over labels that `binary_kd` is the
  mean of; with a linear classifier there is the product of its input and its weights
  instead, for which weights are to be chosen. A label that is not known is not had.

  Matched: the feature in front of the classifier, weighed by it. Learned: nothing
  but the student, its classifier included. Default taps: `head:in`. Cost:
  2 * L * B^2 distances of D numbers.

  Args:
    class_weight: of the distances between examples, >= 0.
    instance_weight: of the distances between labels, >= 0.
    student_tap: where the student's feature is.
    teacher_tap: where the teacher's feature is.

  Returns:
    The method.

  Raises:
    ValueError: for a weight below 0.
    UserError: when tracing, for a network without a linear classifier behind the
      feature.

  Example:
    >>> outputs = Outputs(None, {"head:in": jnp.eye(3)})
    >>> head = {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}
    >>> inputs = Inputs(
    ...   outputs, outputs, jnp.ones(6, int), 0, head=head, student_head=head
    ... )
    >>> print(l2d().apply((), (), inputs)[0])
    0.0

  Source:
    Yang et al. 2023, arXiv:2308.06453, section 4; `class_aware_embedding` and
    `instance_aware_embedding` of `kdjax.losses`.
  """
  weights = {"class_weight": class_weight, "instance_weight": instance_weight}
  for name, value in weights.items():
    check_static(name, value, lambda value: 0 <= value < float("inf"))

  def loss(inputs):
    if inputs.examples is not None:
      inputs = inputs._replace(mask=inputs.examples)
    student = _embeddings(
      "student", inputs.student, student_tap, inputs.student_head
    )
    teacher = _embeddings("teacher", inputs.teacher, teacher_tap, inputs.head)
    yes = _labels(inputs, *student.shape[:2])
    by_class = losses.class_aware_embedding(student, teacher, yes)
    by_example = losses.instance_aware_embedding(student, teacher, yes)
    return class_weight * by_class / student.shape[1] + (
      instance_weight * batch_mean(by_example, inputs)
    )

  return stateless(
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )


def _embeddings(whose, outputs, tap, head) -> jax.Array:
  """(B, L, D) what each label's logit is the sum of."""
  features = last(outputs, tap)
  kernel, _ = classifier("l2d", whose, head, features.shape[-1], HINT)
  return features[:, None, :] * jnp.transpose(kernel)[None]


def _labels(inputs, examples: int, count: int) -> jax.Array:
  """(B, L) 1 for the labels that an example has; none for padding."""
  # The rows are the labels of one example after another.
  yes = jnp.reshape(inputs.labels, (examples, count)) == 1
  if inputs.mask is not None:
    yes &= (inputs.mask != 0)[:, None]
  return yes.astype(jnp.int32)
