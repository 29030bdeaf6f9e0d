"""Relation matching in its plain form: one matrix of the batch to another."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.errors import unknown_name
from kdjax.core.method import Method, stateless
from kdjax.core.task import KINDS
from kdjax.methods._features import last
from kdjax.methods.registry import register

RELATIONS = ("inner", "euclidean", "cosine")


@register("relation_matrix", objective="ce:1 + relation_matrix:25", reads=KINDS)
def relation_matrix(
  *,
  phi: str = "inner",
  normalize: bool = True,
  student_tap: str = "head:in",
  teacher_tap: str = "head:in",
) -> Method:
  """Plain matching of a relation between all pairs of examples.

  loss = mean over pairs i != j of (R_s - R_t)^2,
  R_ij = <f_i, f_j> "inner",  ||f_i - f_j|| "euclidean",  their cosine "cosine"

  With `normalize` each network's features, flattened, are first divided by the
  root of their mean squared length over the batch, so that relations are of
  order one however large either network's features are; the lengths of examples
  among each other stay. The cosine does not depend on it. No weight is
  published for this general form; 25 is that of RKD's distances, which are
  normalised likewise.

  Matched: the batch's relations by the last feature that each tap names.
  Learned: nothing but the student. Default taps: `head:in`. Cost: two matrix
  products of B^2 D; all differences for "euclidean".

  Args:
    phi: "inner", "euclidean" or "cosine".
    normalize: whether to take each network's size of features out.
    student_tap: where the student's features are.
    teacher_tap: where the teacher's are.

  Returns:
    The method; it couples the batch.

  Raises:
    UserError: for an unknown phi.

  Example:
    >>> student = Outputs(None, {"head:in": jnp.array([[1.0], [2.0]])})
    >>> teacher = Outputs(None, {"head:in": jnp.array([[1.0], [4.0]])})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> method = relation_matrix(phi="euclidean", normalize=False)
    >>> print(method.apply((), (), inputs)[0])
    4.0

  Source:
    The general form of relation matching in Park et al. 2019, arXiv:1904.05068;
    `kdjax.losses.relation_mse`.
  """
  if phi not in RELATIONS:
    raise unknown_name("phi", phi, RELATIONS)

  def features(outputs, tap):
    rows = last(outputs, tap)
    return _over_mean_length(rows) if normalize else rows

  return stateless(
    lambda inputs: losses.relation_mse(
      features(inputs.student, student_tap),
      features(inputs.teacher, teacher_tap),
      phi=phi,
    ),
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )


def _over_mean_length(rows: jax.Array) -> jax.Array:
  """Divides (B, ...) by the root of the mean squared length; zeros stay zeros."""
  rows = rows.reshape(rows.shape[0], -1)
  # The largest entry goes first: its square would overflow where it is 1e20.
  largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows)))
  rows = rows / jnp.where(largest > 0, largest, 1.0)
  square = jnp.mean(jnp.sum(jnp.square(rows), axis=-1))
  # The root of 0 has no gradient.
  return rows / jnp.sqrt(jnp.where(square > 0, square, 1.0))
