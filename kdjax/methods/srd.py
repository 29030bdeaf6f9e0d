"""The simple recipe: a linear projector, batch normalisation, a logarithm."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.schedule import check_value
from kdjax.core.task import KINDS
from kdjax.methods import _features
from kdjax.methods.registry import register


@register("srd", objective="ce:1 + srd:2 + kd(temperature=1):1", reads=KINDS)
def srd(
  *,
  exponent: float = 4.0,
  student_tap: str = "head:in",
  teacher_tap: str = "head:in",
) -> Method:
  """Feature distillation by the simple recipe.

  loss = log sum over examples and features of |n(P student) - n(teacher)|^4,
  n = batch normalisation without parameters

  Matched: the penultimate features; maps and tokens are averaged over their
  positions first. Learned: a linear projector P with bias. Default taps:
  `head:in`. Cost: one product with P. It normalises over the batch, so it needs
  two examples.

  The weights are the authors' code's for ResNets: 2 for this loss, 1 for the
  softened classes at temperature 1. It normalises with the batch's statistics
  and 1e-4 added to the variances, as here.

  Args:
    exponent: > 0.
    student_tap: names the student's features, (B, D), (B, T, D) or
      (B, H, W, D).
    teacher_tap: names the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for an exponent that is not > 0.
    UserError: where the method is applied, if features have fewer than two
      dimensions.

  Example:
    >>> student = Outputs(None, {"head:in": jnp.eye(3)})
    >>> teacher = Outputs(None, {"head:in": jnp.ones((3, 5))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(3, int), jnp.array(0))
    >>> params, state = srd().init(jax.random.key(0), inputs)
    >>> params["project"]["kernel"].shape
    (3, 5)

  Source:
    Miles, Mikolajczyk 2024, arXiv:2303.11098; `kdjax.losses.srd`.
  """
  check_value("exponent", exponent, lambda value: value > 0)

  def modules(inputs):
    width = _features.vectors(
      "srd", teacher_tap, inputs.teacher, inputs.tokens
    ).shape[-1]
    return {
      "project": (
        nn.Dense(width),
        _features.vectors("srd", student_tap, inputs.student, inputs.tokens),
      )
    }

  def loss(call, inputs):
    student = call(
      "project",
      _features.vectors("srd", student_tap, inputs.student, inputs.tokens),
    )
    teacher = _features.vectors(
      "srd", teacher_tap, inputs.teacher, inputs.tokens
    )
    return losses.srd(
      _normalised(student, inputs.mask),
      _normalised(teacher, inputs.mask),
      exponent=exponent,
    )

  return learned(
    modules,
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )


def _normalised(x: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Gives the examples that count mean 0 and variance 1, and zeros the rest."""
  mask = jnp.ones(x.shape[0], bool) if mask is None else mask != 0
  count = mask[:, None]
  mean = jnp.mean(x, axis=0, keepdims=True, where=count)
  x = jnp.where(count, x - mean, 0.0)
  variance = jnp.mean(jnp.square(x), axis=0, keepdims=True, where=count)
  return x * jax.lax.rsqrt(variance + 1e-4)
