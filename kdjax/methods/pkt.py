"""Probabilistic knowledge transfer: how likely two examples are neighbours."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods._features import last
from kdjax.methods.registry import register


@register("pkt", objective="ce:1 + pkt:30000", reads=KINDS)
def pkt(
  *, student_tap: str = "head:in", teacher_tap: str = "head:in"
) -> Method:
  """Probabilistic knowledge transfer with the cosine kernel.

  loss = mean_ij P_ij log(P_ij / Q_ij),  P (teacher) and Q (student) the rows of
  (1 + cosine(f_i, f_j)) / 2, each divided by its sum

  A mean over all B^2 pairs, which is tiny: hence the published weight.

  Matched: the batch's similarities by the last feature that each tap names.
  Learned: nothing but the student. Default taps: `head:in`. Cost: two matrix
  products of B^2 D.

  Args:
    student_tap: where the student's features are.
    teacher_tap: where the teacher's are.

  Returns:
    The method; it couples the batch.

  Example:
    >>> student = Outputs(None, {"head:in": jnp.eye(2)})
    >>> teacher = Outputs(None, {"head:in": jnp.ones((2, 2))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> print(f"{pkt().apply((), (), inputs)[0]:.4f}")
    0.0294

  Source:
    Passalis, Tefas 2018, arXiv:1803.10837; weight of RepDistiller's code
    (arXiv:1910.10699); `kdjax.losses.pkt`.
  """
  return stateless(
    lambda inputs: losses.pkt(
      last(inputs.student, student_tap), last(inputs.teacher, teacher_tap)
    ),
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )
