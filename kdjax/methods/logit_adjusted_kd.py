"""Distillation from a teacher that takes common classes for likelier."""

from collections.abc import Sequence

import jax

from kdjax import losses
from kdjax.core.class_weights import read_prior
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import (
  Schedule,
  at,
  check_choice,
  check_static,
  check_value,
)
from kdjax.methods.registry import register

SIDES = ("student", "teacher")


@register(
  "logit_adjusted_kd",
  objective="logit_adjustment:0.1 + logit_adjusted_kd:0.9",
  reads=("categories",),
)
def logit_adjusted_kd(
  *,
  temperature: float | jax.Array | Schedule = 4.0,
  tau: float = 1.0,
  side: str = "student",
  prior: Sequence[float] | None = None,
) -> Method:
  """Knowledge distillation between logits of which one side knows the frequencies.

  loss = kd(student + tau log prior, teacher)   side = "student"
  loss = kd(student, teacher - tau log prior)   side = "teacher"

  A teacher that learned from a long tail has its frequencies in its logits. With
  the student adjusted, its own logits, which are used afterwards, become those of a
  balanced teacher, and what is matched stays the teacher's answer; with the teacher
  adjusted, the teacher's doubt about rare classes counts for more, as in balanced
  knowledge distillation. At T = 1 both have one minimum. A teacher that was trained
  by `logit_adjustment` or on batches with classes alike needs neither: `kd`.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes.

  Args:
    temperature: T > 0, no unit; a number or a schedule.
    tau: strength of the adjustment, >= 0; 0 for `kd`.
    side: whose logits are adjusted, "student" or "teacher".
    prior: how common each class is, C counts or shares > 0; those of the training
      images with labels by default, as they are shown, where a run knows them.

  Returns:
    The method.

  Raises:
    ValueError: for a temperature that is not a number > 0, a strength below 0, or
      another side.
    UserError: for a prior that is not > 0; when called, without one.

  Example:
    >>> method = logit_adjusted_kd(temperature=1.0, prior=(3, 1))
    >>> student = Outputs(jnp.zeros((1, 2)), {})
    >>> teacher = Outputs(jnp.log(jnp.array([[3.0, 1.0]])), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(abs(method.apply((), (), inputs)[0].round(4)))
    0.0

  Source:
    Menon et al. 2021, arXiv:2007.07314, for the adjustment; Zhang et al. 2021,
    arXiv:2104.10510, for a reweighted teacher; `kdjax.losses.add_log_prior`.
  """
  check_value("temperature", temperature, lambda value: value > 0)
  check_static("tau", tau, lambda value: 0 <= value < float("inf"))
  check_choice("side", side, SIDES)
  prior = read_prior(prior)

  def loss(inputs):
    student, teacher = inputs.student.answers, inputs.teacher.answers
    counts = read_prior(prior, student.shape[-1], "logit_adjusted_kd")
    if side == "student":
      student = losses.add_log_prior(student, counts, tau=tau)
    else:
      teacher = losses.add_log_prior(teacher, counts, tau=-tau)
    return losses.kd(student, teacher, temperature=at(temperature, inputs.step))

  return stateless(loss)
