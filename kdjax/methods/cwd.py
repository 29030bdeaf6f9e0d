"""Channel-wise distillation: where each channel fires, as a distribution."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Method, learned, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.core.task import KINDS
from kdjax.methods import _features, _modules
from kdjax.methods.registry import register


@register("cwd", objective="ce:1 + cwd:50", reads=KINDS)
def cwd(
  *,
  channel_temperature: float | jax.Array | Schedule = 4.0,
  answers: bool = False,
  student_tap: str = "stage_*",
  teacher_tap: str = "stage_*",
) -> Method:
  """KL divergence of each channel's map, softened over its positions.

  loss = T^2 * mean_c KL(softmax(teacher_c / T) || softmax(r(student)_c / T)),
  softmax over positions

  Matched: the last stages, which must be maps; the larger map is
  average-pooled. Learned: r, a linear layer over the student's channels, where
  the widths differ. Default taps: `stage_*` of both networks, of which the last
  are used. Cost: one pass over the maps.

  Args:
    channel_temperature: T > 0, no unit; a number or a schedule. It is not the
      temperature of the logits, which the runner hands to other terms.
    answers: whether the maps of the answers are matched instead of features, a
      channel being a class, of a task with an answer at every pixel. Pixels that do
      not count are left out, and an image counts by how many do. Nothing is learned.
    student_tap: the student's stages.
    teacher_tap: the teacher's.

  Returns:
    The method.

  Raises:
    ValueError: for a temperature that is not a number > 0.
    UserError: when traced, for features that are no maps; for answers that are one
      row an example.

  Example:
    >>> student = Outputs(jnp.zeros((1, 2)), {"stage_0": jnp.zeros((1, 2, 1, 1))})
    >>> maps = jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> teacher = Outputs(None, {"stage_0": maps})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), 0)
    >>> print(cwd(channel_temperature=1.0).apply({}, (), inputs)[0].round(4))
    0.1109

  Source:
    Shu et al. 2021, arXiv:2011.13256; `kdjax.losses.cwd`. The temperature 4 and
    the weight 50 are the paper's for feature maps, of dense prediction; for the maps
    of logits its weight is 3.
  """
  check_value(
    "channel_temperature", channel_temperature, lambda value: value > 0
  )

  if answers:
    return stateless(
      lambda inputs: _of_answers(inputs, at(channel_temperature, inputs.step))
    )

  def pairs(inputs):
    feats = _features.pair_features(
      "cwd", inputs, student_tap, teacher_tap, maps=True
    )
    return (_features.same_size("cwd", *feats[-1]),)

  def loss(call, inputs):
    ((student, teacher),) = _modules.regress_pairs(call, pairs(inputs))
    return losses.cwd(
      student, teacher, temperature=at(channel_temperature, inputs.step)
    )

  return learned(
    lambda inputs: _modules.regressors(pairs(inputs), always=False),
    loss,
    student_taps=(student_tap,),
    teacher_taps=(teacher_tap,),
  )


def _of_answers(inputs: Inputs, temperature) -> jax.Array:
  """(R,) of every pixel its image's divergence, so that images count by pixels."""
  student, teacher = inputs.student.answers, inputs.teacher.answers
  if inputs.examples is None:
    raise UserError(
      "cwd(answers=True) matches maps of answers, one at every pixel, and the task"
      " has one row an example; without answers=True it matches features"
    )
  rows, count = len(student), len(inputs.examples)
  student, teacher = (
    side.reshape(count, rows // count, 1, -1) for side in (student, teacher)
  )
  mask = jnp.ones(rows, bool) if inputs.mask is None else inputs.mask != 0
  loss = losses.cwd(
    student, teacher, temperature=temperature, where=mask.reshape(count, -1, 1)
  )
  return jnp.repeat(loss, rows // count)
