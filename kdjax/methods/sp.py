"""Similarity-preserving distillation: who is like whom in a batch."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods._features import last
from kdjax.methods.registry import register


@register("sp", objective="ce:1 + sp:3000", reads=KINDS)
def sp(*, student_tap: str = "stage_*", teacher_tap: str = "stage_*") -> Method:
  """Similarity-preserving distillation.

  loss = ||G_s - G_t||^2 / B^2,  G = F F' with rows scaled to unit length

  where F are the features flattened to (B, D), of any size on either side.

  Matched: the batch's similarities by the last feature that each tap names.
  Learned: nothing but the student. Default taps: `stage_*`, of which the last.
  Cost: two matrix products of B^2 D.

  Args:
    student_tap: where the student's features are.
    teacher_tap: where the teacher's are.

  Returns:
    The method; it couples the batch.

  Example:
    >>> student = Outputs(None, {"stage_0": jnp.eye(2)})
    >>> teacher = Outputs(None, {"stage_0": jnp.ones((2, 2))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> print(f"{sp().apply((), (), inputs)[0]:.4f}")
    0.2929

  Source:
    Tung, Mori 2019, arXiv:1907.09682; weight of RepDistiller's code
    (arXiv:1910.10699); `kdjax.losses.similarity_preserving`.
  """
  return stateless(
    lambda inputs: losses.similarity_preserving(
      last(inputs.student, student_tap), last(inputs.teacher, teacher_tap)
    ),
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )
