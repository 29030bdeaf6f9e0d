"""The direction of the teacher's features."""

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.task import KINDS
from kdjax.methods import _features as features
from kdjax.methods._modules import regress_pairs, regressors
from kdjax.methods.registry import register


@register("cosine", reads=KINDS)
def cosine(
  *, student_tap: str = "head:in", teacher_tap: str = "head:in"
) -> Method:
  """Regression of the direction of the teacher's features.

  loss = 1 - cosine(student_b, teacher_b)

  Matched: the penultimate features, or the answers where these are embeddings;
  maps and tokens are averaged over their positions first. Learned: a linear map
  with a bias from the student's to the teacher's width, where these differ.
  Default taps: `head:in`. Cost: one pass over the features, and the map's product.

  Args:
    student_tap: names the student's features, (B, D), (B, T, D) or
      (B, H, W, D).
    teacher_tap: names the teacher's.

  Returns:
    The method.

  Raises:
    UserError: where the method is applied, if features have fewer than two
      dimensions.

  Example:
    >>> student = Outputs(None, {"head:in": jnp.array([[3.0, 4.0]])})
    >>> teacher = Outputs(None, {"head:in": jnp.array([[1.0, 0.0]])})
    >>> inputs = Inputs(student, teacher, jnp.zeros(1, int), jnp.array(0))
    >>> print(f"{cosine().apply({}, (), inputs)[0]:.4f}")
    0.4000

  Source:
    Sanh, Debut, Chaumond, Wolf 2019 (DistilBERT), arXiv:1910.01108, section 3, of
    hidden states of one width; `kdjax.losses.cosine_distance`.
  """
  taps = student_tap, teacher_tap

  def loss(call, inputs):
    pairs = features.pair_vectors("cosine", inputs, *taps)
    ((student, teacher),) = regress_pairs(call, pairs)
    return losses.cosine_distance(student, teacher)

  return learned(
    lambda inputs: regressors(
      features.pair_vectors("cosine", inputs, *taps), always=False
    ),
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
  )
