"""A noisy teacher: logits that are disturbed before they are learned."""

import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, batch_mean, example_keys
from kdjax.core.schedule import Schedule, at, check_choice, check_value
from kdjax.methods.registry import register

KINDS = ("regression", "softened")


@register("noisy_teacher", objective="noisy_teacher:1", reads=("categories",))
def noisy_teacher(
  *,
  share: float | jax.Array | Schedule = 0.5,
  sigma: float | jax.Array | Schedule = 0.5,
  kind: str = "regression",
  temperature: float | jax.Array | Schedule = 4.0,
) -> Method:
  """Distillation of logits under multiplicative Gaussian noise.

  loss = sum_c (student - t')^2 / 2, or that of `kd` on t',
  t'_c = (1 + sigma n_c) t_c for a share of the examples,  n_c ~ N(0, 1)

  Which examples are disturbed, and how, is drawn anew for each example and
  step: the student learns from many teachers around one. Regression alone, no
  labels, is the paper's; it tries many shares and sigmas, and both must suit
  the task: the defaults are only where to begin.

  Matched: the student's logits to the teacher's, disturbed. Learned: nothing
  but the student. Default taps: none. Cost: B * C random numbers.

  Args:
    share: of the examples that are disturbed, in [0, 1]; a number or a schedule.
    sigma: standard deviation of the noise, relative to each logit, >= 0;
      likewise.
    kind: "regression" of the logits, or "softened" as in `kd`.
    temperature: T > 0 of the softened ones; likewise.

  Returns:
    The method.

  Raises:
    ValueError: for a value that is not possible.

  Example:
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), {}), Outputs(jnp.ones((1, 2)), {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> method = noisy_teacher(share=0.0)
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> print(method.apply(params, state, inputs)[0])
    1.0

  Source:
    Sau, Balasubramanian 2016, arXiv:1610.09650; `kdjax.losses.logit_mse`, `kd`.
  """
  check_value("share", share, lambda value: 0 <= value <= 1)
  check_value("sigma", sigma, lambda value: value >= 0)
  check_choice("kind", kind, KINDS)
  check_value("temperature", temperature, lambda value: value > 0)

  def apply(params, key, inputs):
    del params
    teacher = inputs.teacher.answers
    chance = at(share, inputs.step)
    keys, shape = example_keys(key, inputs), teacher.shape[1:]
    if len(keys) < len(teacher):
      # Of pixels and tokens an example has several rows.
      shape = (len(teacher) // len(keys), *shape)

    def noise(key):
      which_key, noise_key = jax.random.split(key)
      values = jax.random.normal(noise_key, shape)
      return values * jax.random.bernoulli(which_key, chance)

    draws = jax.vmap(noise)(keys).reshape(teacher.shape)
    noisy = teacher * (1 + at(sigma, inputs.step) * draws)
    # A negative factor would make the largest logit of a masked class.
    noisy = jnp.where(teacher == -jnp.inf, teacher, noisy)
    if kind == "regression":
      values = losses.logit_mse(inputs.student.answers, noisy, reduce="sum") / 2
    else:
      values = losses.kd(
        inputs.student.answers,
        noisy,
        temperature=at(temperature, inputs.step),
      )
    return batch_mean(values, inputs), key, {}

  return Method(lambda rng, inputs: ((), rng), apply)
