"""Factor transfer: the teacher's features, paraphrased, then translated."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, learned
from kdjax.core.schedule import Schedule, at, check_static, check_value
from kdjax.core.task import KINDS
from kdjax.methods import _features
from kdjax.methods.registry import register


class Convolutions(nn.Module):
  """3x3 convolutions, each with a leaky ReLU of slope 0.1 behind it.

  Attributes:
    widths: their output channels.
  """

  widths: tuple[int, ...]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for i, width in enumerate(self.widths):
      x = nn.Conv(width, (3, 3), padding=((1, 1), (1, 1)), name=f"conv_{i}")(x)
      x = nn.leaky_relu(x, 0.1)
    return x


@register("factor_transfer", objective="ce:1 + factor_transfer:1", reads=KINDS)
def factor_transfer(
  *,
  rate: float = 0.5,
  weight: float | jax.Array | Schedule = 500.0,
  pretraining: float = 0.11,
  steps: int | None = None,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Distance between a translation and a paraphrase of the last stages.

  loss = mean over elements of (decode(encode(teacher)) - teacher)^2 in the
         first share of the training, and then
         weight * mean over elements of
         |u(translate(student)) - u(encode(teacher))|,
  u(x) = x / ||x|| over the whole example

  The paraphraser (encode, decode) learns to reproduce the teacher before it is
  used, and is a constant from then on, which no optimiser touches; until then
  the translator is one, and the student gets nothing from this term. The weight
  is in here, as it must not scale the first stage.

  Matched: the last stages, which must be maps; the larger factor is
  average-pooled. Learned: the paraphraser and the translator, three 3x3
  convolutions each way. Default taps: `stage_*` of both networks, of which the
  last are used. Cost: nine 3x3 convolutions on the last stages' maps.

  Args:
    rate: k > 0, the factor's channels as a share of the teacher's.
    weight: >= 0, of the factors' distance; a number or a schedule.
    pretraining: share of the training in [0, 1) that the paraphraser takes.
    steps: length of the training; where it is not known the paraphraser learns
      beside the student all the time.
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a rate, weight or share that is not possible.
    UserError: when traced, for features that are no maps.

  Example:
    >>> student = Outputs(jnp.zeros((1, 3)), {"stage_0": jnp.ones((1, 4, 4, 2))})
    >>> teacher = Outputs(jnp.zeros((1, 3)), {"stage_0": jnp.ones((1, 4, 4, 6))})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), 0)
    >>> params, _ = factor_transfer().init(jax.random.key(0), inputs)
    >>> params["translate"]["conv_2"]["kernel"].shape
    (3, 3, 3, 3)

  Source:
    Kim, Park, Kwak 2018, arXiv:1802.04977; `kdjax.losses.factor_transfer`. The
    rate, the layers and the weight 500 are the authors' code's. It trains the
    paraphraser for a whole run of its own, on absolute errors; the share is
    RepDistiller's 30 epochs of 270, on squared errors.
  """
  check_static("rate", rate, lambda value: value > 0)
  check_value("weight", weight, lambda value: value >= 0)
  check_static("pretraining", pretraining, lambda value: 0 <= value < 1)

  def last(inputs):
    return _features.pair_features(
      "factor_transfer", inputs, student_tap, teacher_tap, maps=True
    )[-1]

  def modules(inputs):
    student, teacher = last(inputs)
    narrow, wide = student.shape[-1], teacher.shape[-1]
    factors = max(1, round(wide * rate))
    code = jnp.zeros((*teacher.shape[:-1], factors), teacher.dtype)
    return {
      "encode": (Convolutions((wide, factors, factors)), teacher),
      "decode": (Convolutions((factors, wide, wide)), code),
      "translate": (Convolutions((narrow, factors, factors)), student),
    }

  def loss(call, inputs):
    student, teacher = last(inputs)
    code = call("encode", teacher)
    reconstruction = losses.fitnet(call("decode", code), teacher)
    student_factor, teacher_factor = _features.same_size(
      "factor_transfer", call("translate", student), code
    )
    distance = at(weight, inputs.step) * losses.factor_transfer(
      student_factor, teacher_factor
    )
    if steps is None:
      return reconstruction + distance
    return jnp.where(learning(inputs.step), reconstruction, distance)

  def learning(step):
    return step < round(pretraining * steps)

  def frozen(step):
    first = learning(step)
    paraphraser = dict.fromkeys(("encode", "decode"), jnp.logical_not(first))
    return {"method": paraphraser | {"translate": first}}

  method = learned(
    modules, loss, student_taps=(student_tap,), teacher_taps=(teacher_tap,)
  )
  return method if steps is None else method._replace(frozen=frozen)
