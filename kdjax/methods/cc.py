"""Correlation congruence: how examples go together, in a learned embedding."""

import flax.linen as nn
import jax

from kdjax import losses
from kdjax.core.errors import unknown_name
from kdjax.core.method import Method, learned
from kdjax.core.schedule import check_value
from kdjax.core.task import KINDS
from kdjax.methods._features import last
from kdjax.methods.registry import register

KERNELS = ("consecutive", "gaussian", "bilinear")


@register("cc", objective="ce:1 + cc:0.02", reads=KINDS)
def cc(
  *,
  kernel: str = "consecutive",
  width: int = 128,
  gamma: float = 0.4,
  order: int = 2,
  student_tap: str = "head:in",
  teacher_tap: str = "head:in",
) -> Method:
  """Correlation congruence of two learned linear embeddings.

  s, t = the embedded features (B, width) of student and teacher;
  loss = mean_i sum_d |s_i - t_i| |s_{i+1} - t_{i+1}|  for "consecutive",
  loss = ||K_s - K_t||^2 / B^2 of unit rows otherwise: K = x x' "bilinear",
  or the Gaussian kernel's Taylor series "gaussian"

  "consecutive", the width and the weight 0.02 are the authors' code as shared
  with RepDistiller; it depends on the order of the batch. The paper's text has
  the Gaussian kernel, for which no weight at this scale is published.

  Matched: correlations of the last feature that each tap names, flattened.
  Learned: a linear embedding of each network's features; the teacher's
  features are constants to it. Default taps: `head:in`. Cost: two dense layers,
  and matrix products of B^2 width for the kernels.

  Args:
    kernel: "consecutive", "gaussian" or "bilinear".
    width: of the embeddings.
    gamma: inverse squared width of the Gaussian, no unit.
    order: >= 0, the last power of its series.
    student_tap: where the student's features are.
    teacher_tap: where the teacher's are.

  Returns:
    The method; it couples the batch.

  Raises:
    UserError: for an unknown kernel.
    ValueError: for a width below 1, a gamma that is not > 0 or an order < 0.

  Example:
    >>> student = Outputs(None, {"head:in": jnp.ones((2, 3))})
    >>> teacher = Outputs(None, {"head:in": jnp.ones((2, 5))})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> params, _ = cc(width=4).init(jax.random.key(0), inputs)
    >>> params["student"]["kernel"].shape, params["teacher"]["kernel"].shape
    ((3, 4), (5, 4))

  Source:
    Peng et al. 2019, arXiv:1904.01802; RepDistiller's code (arXiv:1910.10699);
    `kdjax.losses.correlation_congruence`.
  """
  if kernel not in KERNELS:
    raise unknown_name("kernel", kernel, KERNELS)
  if not isinstance(width, int) or width < 1:
    raise ValueError(f"width must be a whole number >= 1, got {width!r}")
  if not isinstance(order, int) or order < 0:
    raise ValueError(f"order must be a whole number >= 0, got {order!r}")
  if callable(gamma):
    raise ValueError("gamma must be a number, got a schedule")
  check_value("gamma", gamma, lambda value: value > 0)

  def features(inputs):
    student = last(inputs.student, student_tap)
    teacher = jax.lax.stop_gradient(last(inputs.teacher, teacher_tap))
    return {
      "student": student.reshape(student.shape[0], -1),
      "teacher": teacher.reshape(teacher.shape[0], -1),
    }

  def loss(call, inputs):
    embeddings = {name: call(name, x) for name, x in features(inputs).items()}
    return losses.correlation_congruence(
      **embeddings,
      kernel=kernel,
      gamma=gamma,
      order=order,
      normalize=kernel != "consecutive",
    )

  return learned(
    lambda inputs: {
      name: (nn.Dense(width), x) for name, x in features(inputs).items()
    },
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )
