"""Masked generative distillation: the teacher's map out of a torn one."""

import flax.linen as nn
import jax

from kdjax import losses
from kdjax.core.method import Method, example_keys
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.core.task import KINDS
from kdjax.methods import _features as features
from kdjax.methods import _modules
from kdjax.methods.registry import register


class Generation(nn.Module):
  """Two 3x3 convolutions with a ReLU between, all of one width.

  Attributes:
    features: the channels.
  """

  features: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    pad = ((1, 1), (1, 1))
    x = nn.relu(nn.Conv(self.features, (3, 3), padding=pad, name="conv_0")(x))
    return nn.Conv(self.features, (3, 3), padding=pad, name="conv_1")(x)


@register("mgd", objective="ce:1 + mgd:7e-5", reads=KINDS)
def mgd(
  *,
  erased: float | jax.Array | Schedule = 0.15,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """Squared distance of a map generated from the student's masked one.

  loss = sum over elements of (g(mask * r(student)) - teacher)^2

  Matched: the last stages, which must be maps; the larger map is
  average-pooled. Learned: the generation block g, two 3x3 convolutions with a
  ReLU between, and r, a linear layer over the student's channels, where the
  widths differ. Drawn: which channels of an example are erased, anew in each
  step. Default taps: `stage_*` of both networks, of which the last are used.
  Cost: two 3x3 convolutions as wide as the teacher.

  Args:
    erased: probability in [0, 1) that a channel is erased; a number or a
      schedule.
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a probability outside [0, 1).
    UserError: when traced, for features that are no maps.

  Example:
    >>> student = Outputs(jnp.zeros((1, 3)), {"stage_0": jnp.ones((1, 4, 4, 2))})
    >>> teacher = Outputs(jnp.zeros((1, 3)), {"stage_0": jnp.ones((1, 4, 4, 6))})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), 0)
    >>> params, _ = mgd().init(jax.random.key(0), inputs)
    >>> params["generate"]["conv_0"]["kernel"].shape
    (3, 3, 6, 6)

  Source:
    Yang et al. 2022, arXiv:2205.01529; `kdjax.losses.mgd`. Channels, erased
    with probability 0.15, and the weight 7e-5 are the authors' code's for
    classification on ImageNet: the weight goes with a sum over 7 x 7 x 512
    elements, so that smaller maps want a larger one.
  """
  check_value("erased", erased, lambda value: 0 <= value < 1)

  def pairs(inputs):
    feats = features.pair_features(
      "mgd", inputs, student_tap, teacher_tap, maps=True
    )
    return (features.same_size("mgd", *feats[-1]),)

  def modules(inputs):
    ((_, teacher),) = pairs(inputs)
    return _modules.regressors(pairs(inputs), always=False) | {
      "generate": (Generation(teacher.shape[-1]), teacher)
    }

  def loss(call, inputs, key):
    ((student, teacher),) = _modules.regress_pairs(call, pairs(inputs))
    kept_share = 1 - at(erased, inputs.step)
    mask = jax.vmap(
      lambda key: jax.random.bernoulli(key, kept_share, student.shape[-1:])
    )(example_keys(key, inputs))
    values = losses.mgd(
      student,
      teacher,
      mask[:, None, None, :],
      generate=lambda x: call("generate", x),
    )
    return values, key

  return _modules.remembering(
    modules,
    lambda rng, inputs: rng,
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
  )
