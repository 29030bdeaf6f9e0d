"""Distillation of the classes that the teacher finds most likely."""

import functools

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_choice, check_value
from kdjax.methods.registry import register


@register("topk_kd")
def topk_kd(
  *,
  k: int | None = None,
  tail: str = "bucket",
  temperature: float | jax.Array | Schedule = 1.0,
  t_squared: bool = True,
) -> Method:
  """The teacher's k largest classes, and all others as one.

  loss = T^2 KL(p || q) over the k classes of the largest teacher logits, and
  p, q = softmaxes at temperature T

  With the bucket, a class more that has the rest's probability, it is a
  divergence: never negative, and the larger the more classes there are.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes, and the k largest.

  Args:
    k: how many classes, >= 1, and no more than there are; None for 64, or all of
      fewer.
    tail: "bucket", or "renormalize" for the k classes alone.
    temperature: T > 0, no unit; a number or a schedule.
    t_squared: whether to multiply by T^2.

  Returns:
    The method.

  Raises:
    ValueError: for an unknown tail, a k below 1, or a temperature that is not
      > 0; where the method is applied, for more classes than there are.

  Example:
    >>> student = Outputs(jnp.array([[0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.array([[1.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(topk_kd(k=1).apply((), (), inputs)[0].round(4))
    0.1109

  Source:
    Common practice; `kdjax.losses.topk_kd`.
  """
  check_choice("tail", tail, ("bucket", "renormalize"))
  check_value("temperature", temperature, lambda value: value > 0)
  if k is not None and (type(k) is not int or k < 1):
    raise ValueError(f"k must be a whole number >= 1, got {k!r}")

  def settings(inputs):
    return {
      "k": min(64, inputs.student.answers.shape[-1]) if k is None else k,
      "tail": tail,
      "t_squared": t_squared,
      "temperature": at(temperature, inputs.step),
    }

  return stateless(
    lambda inputs: losses.topk_kd(
      inputs.student.answers,
      inputs.teacher.answers,
      **settings(inputs),
    ),
    chunked=lambda inputs: functools.partial(
      losses.chunked.topk_kd, **settings(inputs)
    ),
  )
