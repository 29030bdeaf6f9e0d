"""Transformed teacher matching: a temperature on the teacher alone."""

import jax

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import Schedule, at, check_value
from kdjax.methods.registry import register


@register("ttm", objective="ce:1 + ttm:45")
def ttm(
  *, gamma: float | jax.Array | Schedule = 0.1, weighted: bool = False
) -> Method:
  """Transformed teacher matching, and its weighted form WTTM.

  loss = KL(p_g || q),  p_g = softmax(gamma log softmax(teacher)),
  q = softmax(student);  times sum_c softmax(teacher)_c^gamma if `weighted`

  gamma 0.1 and the weight 45 are the authors' for vgg13 and vgg8 on CIFAR-100.
  With `weighted` the sum is itself well above 1, so write a smaller weight:
  the authors show "ttm(gamma=0.2, weighted=True):4", beside another loss.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: two softmaxes over the classes.

  Args:
    gamma: the exponent, > 0: one over the teacher's temperature; a number or
      a schedule.
    weighted: whether each example is weighed by its teacher's power sum.

  Returns:
    The method.

  Raises:
    ValueError: for an exponent that is not a number > 0.

  Example:
    >>> student = Outputs(jnp.array([[0.0, 0.0]]), {})
    >>> teacher = Outputs(jnp.array([[4.0, 0.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> print(f"{ttm(gamma=0.25).apply((), (), inputs)[0]:.4f}")
    0.1109

  Source:
    Zheng, Yang 2024, arXiv:2402.11148, and its code; `kdjax.losses.ttm`.
  """
  check_value("gamma", gamma, lambda value: value > 0)
  return stateless(
    lambda inputs: losses.ttm(
      inputs.student.answers,
      inputs.teacher.answers,
      gamma=at(gamma, inputs.step),
      weighted=weighted,
    )
  )
