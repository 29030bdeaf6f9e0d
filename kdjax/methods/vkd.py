"""VkD: an orthogonal projection that cannot do the student's work."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.task import KINDS
from kdjax.methods import _features as features
from kdjax.methods.registry import register


class Orthogonal(nn.Module):
  """A linear map whose rows or columns, the fewer, are orthonormal.

  They stay so while it is trained: it is the Cayley transform of free
  parameters X (n, n) and Y (m - n, n),
  [I - Z; -2 Y] (I + Z)^-1,  Z = X - X' + Y' Y

  Attributes:
    features: what it maps to.
  """

  features: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    small, large = sorted((x.shape[-1], self.features))
    initial = nn.initializers.normal(small**-0.5)
    square = self.param("square", initial, (small, small))
    rest = self.param("rest", initial, (large - small, small))
    highest = jax.lax.Precision.HIGHEST
    z = square - square.T + jnp.matmul(rest.T, rest, precision=highest)
    one = jnp.eye(small, dtype=z.dtype)
    top = jnp.concatenate([one - z, -2 * rest])
    # top (I + Z)^-1, as (I + Z)' is what `solve` takes from the left.
    columns = jnp.linalg.solve((one + z).T, top.T).T
    kernel = columns.T if x.shape[-1] == small else columns
    return jnp.matmul(x, kernel, precision=highest)


@register("vkd", objective="ce:1 + vkd:1 + kd(temperature=1):1", reads=KINDS)
def vkd(
  *, student_tap: str = "head:in", teacher_tap: str = "head:in"
) -> Method:
  """Feature distillation through an orthogonal projection.

  loss = mean_d huber(P student - n(teacher)),  P orthogonal,
  n(t) = (t - mean t) / sqrt(var t + 1e-5)

  Matched: the penultimate features; maps and tokens are averaged over their
  positions first. Learned: P, orthogonal at every step, which keeps the angles
  and distances among the student's features (P' does, where the student is the
  wider one). Default taps: `head:in`. Cost: solving an n x n system a step, n
  the smaller width.

  The objective has the authors' code's weights, 1 for this loss and 1 for the
  softened classes at temperature 1. There P is PyTorch's orthogonal
  parametrisation, a second head learns the softened classes, and the student's
  features are the mean of its patch tokens; student_tap="norm" comes near for a
  `vit`, the class token in the mean.

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
    >>> student = Outputs(None, {"head:in": jnp.ones((2, 3))})
    >>> teacher = Outputs(None, {"head:in": jnp.ones((2, 5))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> params, state = vkd().init(jax.random.key(0), inputs)
    >>> params["project"]["square"].shape, params["project"]["rest"].shape
    ((3, 3), (2, 3))

  Source:
    Miles, Elezi, Deng 2024, arXiv:2403.06213; `kdjax.losses.vkd`.
  """

  def modules(inputs):
    width = features.vectors(
      "vkd", teacher_tap, inputs.teacher, inputs.tokens
    ).shape[-1]
    return {
      "project": (
        Orthogonal(width),
        features.vectors("vkd", student_tap, inputs.student, inputs.tokens),
      )
    }

  def loss(call, inputs):
    student = call(
      "project",
      features.vectors("vkd", student_tap, inputs.student, inputs.tokens),
    )
    return losses.vkd(
      student,
      features.vectors("vkd", teacher_tap, inputs.teacher, inputs.tokens),
    )

  return learned(
    modules, loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )
