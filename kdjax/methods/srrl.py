"""SRRL: the teacher's classifier judges the student's features."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods._features import classifier, last, over_positions
from kdjax.methods.registry import register


class Connector(nn.Module):
  """A 1 x 1 convolution to the teacher's width, normalised, and a ReLU.

  Attributes:
    width: output features.
  """

  width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = nn.Dense(
      self.width,
      use_bias=False,
      kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
      name="dense",
    )(x)
    norm = nn.BatchNorm(use_running_average=False, epsilon=1e-5, name="norm")
    return nn.relu(norm(x))


@register(
  "srrl",
  objective="ce:1 + srrl:1",
  reads=("categories", "values", "embedding"),
  of_examples=True,
)
def srrl(
  *,
  feature_weight: float | jax.Array | Schedule = 1.0,
  logit_weight: float | jax.Array | Schedule = 1.0,
  student_tap: str = "stage_*",
  teacher_tap: str = "head:in",
) -> Method:
  """Softmax regression representation learning.

  loss = feature_weight * mean_d (mean_hw s - t)^2
       + logit_weight * mean_c (W (mean_hw s) + b - teacher)^2

  with s the connected features of the student, t what the teacher's classifier
  (W, b) takes, and its logits. The published code averages the teacher's last
  map itself; what its classifier takes is that average, and exists for any
  network.

  Matched: the student's last features, averaged over positions, to the
  teacher's, and what the teacher's classifier says about them to its logits.
  Learned: the connector, a 1 x 1 convolution with batch normalisation and
  ReLU. Default taps: `stage_*` of the student, of which the last; `head:in` of
  the teacher. Cost: the connector and one dense layer.

  Args:
    feature_weight: weight of the features, >= 0; a number or a schedule.
    logit_weight: weight of the logits, >= 0; likewise.
    student_tap: where the student's features are: maps, tokens or vectors.
    teacher_tap: what the teacher's classifier takes, (B, D), or a map or tokens
      whose mean it takes.

  Returns:
    The method; the connector normalises over the batch, so it couples it.

  Raises:
    ValueError: for a weight below 0.
    UserError: when tracing, for a teacher without a linear classifier, or one
      whose classifier takes other features.

  Example:
    >>> student = Outputs(jnp.zeros((2, 3)), {"stage_0": jnp.ones((2, 4, 4, 5))})
    >>> teacher = Outputs(jnp.zeros((2, 3)), {"head:in": jnp.ones((2, 7))})
    >>> head = {"kernel": jnp.ones((7, 3)), "bias": jnp.zeros(3)}
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), 0, head=head)
    >>> params, _ = srrl().init(jax.random.key(0), inputs)
    >>> params["connector"]["dense"]["kernel"].shape
    (5, 7)

  Source:
    Yang, Martinez, Bulat, Tzimiropoulos 2021, Knowledge distillation via
    softmax regression representation learning, ICLR, and its code;
    `kdjax.losses.srrl`.
  """
  check_value("feature_weight", feature_weight, lambda value: value >= 0)
  check_value("logit_weight", logit_weight, lambda value: value >= 0)

  def modules(inputs):
    width = last(inputs.teacher, teacher_tap).shape[-1]
    return {"connector": (Connector(width), last(inputs.student, student_tap))}

  def loss(call, inputs):
    teacher = over_positions(last(inputs.teacher, teacher_tap))
    head = classifier("srrl", "teacher", inputs.head, teacher.shape[-1])
    kernel, bias = jax.lax.stop_gradient(head)
    student = call("connector", last(inputs.student, student_tap))
    student = over_positions(student)
    return losses.srrl(
      student[:, None, None],
      teacher[:, None, None],
      jnp.matmul(student, kernel) + bias[None],
      inputs.teacher.answers,
      feature_weight=at(feature_weight, inputs.step),
      logit_weight=at(logit_weight, inputs.step),
    )

  return learned(
    modules,
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
    couples_batch=True,
  )
