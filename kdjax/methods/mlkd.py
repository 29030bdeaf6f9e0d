"""Multi-level logit distillation: examples, batch and classes."""

from kdjax import losses
from kdjax.core.method import Method, stateless
from kdjax.core.schedule import check_value
from kdjax.methods.registry import register


@register("mlkd", objective="ce:0.1 + mlkd:0.9")
def mlkd(
  *, temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0)
) -> Method:
  """Multi-level logit distillation.

  loss = sum_T (mean_i T^2 KL(p_i || q_i) + ||P P' - Q Q'||^2 / B
              + ||P' P - Q' Q||^2 / C)

  with P, Q the softmaxes (B, C) of teacher and student at T. The authors add
  this up over a weakly and a strongly augmented view of each image, with a
  confidence mask that acts as a factor of about one half; here the one view
  that training has is used, and no mask. The weights are theirs, of each view.

  Matched: the logits of both networks. Learned: nothing but the student.
  Default taps: none. Cost: for each T two softmaxes and matrix products of B^2
  C and B C^2.

  Args:
    temperatures: the temperatures T > 0 that are added up; static.

  Returns:
    The method; it couples the batch.

  Raises:
    ValueError: for no temperature, or one that is not a number > 0.

  Example:
    >>> student = Outputs(jnp.zeros((2, 2)), {})
    >>> teacher = Outputs(jnp.array([[1.0, 0.0], [0.0, 1.0]]), {})
    >>> inputs = Inputs(student, teacher, jnp.zeros(2, int), jnp.array(0))
    >>> print(mlkd(temperatures=(1.0, 2.0)).apply((), (), inputs)[0].round(2))
    0.28

  Source:
    Jin, Wang, Lin 2023, Multi-level logit distillation, CVPR, and its code;
    `kdjax.losses.mlkd`.
  """
  if not isinstance(temperatures, tuple) or not temperatures:
    raise ValueError(
      f"temperatures must be some numbers such as (2.0, 4.0), got"
      f" {temperatures!r}"
    )
  for temperature in temperatures:
    check_value("temperature", temperature, lambda value: value > 0)
  return stateless(
    lambda inputs: losses.mlkd(
      inputs.student.answers, inputs.teacher.answers, temperatures=temperatures
    ),
    couples_batch=True,
  )
