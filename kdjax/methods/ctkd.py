"""CTKD: a temperature learned against the student, more and more."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax import losses
from kdjax.core.method import Method, batch_mean
from kdjax.core.schedule import check_value
from kdjax.methods.registry import register


class Temperature(nn.Module):
  """Two dense layers on both networks' softmaxes: one number an example.

  It starts as the global temperature does, the same for every example.

  Attributes:
    hidden: units of the hidden layer.
  """

  hidden: int

  @nn.compact
  def __call__(self, student: jax.Array, teacher: jax.Array) -> jax.Array:
    keep = (student != -jnp.inf) & (teacher != -jnp.inf)
    # No -inf: an example without a class in common would have no softmax.
    shares = [
      jnp.where(keep, jax.nn.softmax(jnp.where(keep, x, -1e30)), 0.0)
      for x in (teacher, student)
    ]
    x = jnp.concatenate(shares, -1)
    x = nn.relu(nn.Dense(self.hidden, name="dense_0")(x))
    return nn.Dense(
      1,
      kernel_init=nn.initializers.zeros,
      bias_init=nn.initializers.ones,
      name="dense_1",
    )(x)[:, 0]


@register("ctkd")
def ctkd(
  *,
  lowest: float = 1.0,
  span: float = 20.0,
  ramp: float = 10 / 240,
  instance: bool = False,
  hidden: int = 64,
  steps: int | None = None,
) -> Method:
  """Curriculum temperature: distillation that a learned temperature makes hard.

  loss = T^2 * KL(softmax(teacher / T) || softmax(student / T)),
  T = lowest + span * sigmoid(theta)

  theta climbs the loss that the student descends: its gradient is multiplied by
  -r, and r rises from 0 to 1 along half a cosine over the first `ramp` of the
  training (10 of 240 epochs). The authors raise it once an epoch, here it rises
  at every step. theta starts at 1 and obeys the student's optimiser. Metrics
  hold the mean temperature. The labels' share is the authors' 0.1, the default.

  Matched: the logits of both networks. Learned: theta, one number, or with
  `instance` a two-layer perceptron on both softmaxes, which are constants to
  it (the authors' code for it is not published: its size is ours).
  Default taps: none. Cost: two softmaxes over the classes.

  Args:
    lowest: the temperature's lower bound, > 0.
    span: > 0; the temperature stays below lowest + span.
    ramp: share of the training in (0, 1] over which the reversal sets in.
    instance: whether each example has a temperature of its own.
    hidden: units of the perceptron's hidden layer.
    steps: length of the training; None reverses in full from the start.

  Returns:
    The method.

  Raises:
    ValueError: for a bound, span or ramp that is not possible.

  Example:
    >>> student, teacher = Outputs(jnp.zeros((1, 2)), {}), Outputs(jnp.eye(2)[:1], {})
    >>> inputs = Inputs(student, teacher, jnp.array([0]), jnp.array(0))
    >>> method = ctkd()
    >>> params, state = method.init(jax.random.key(0), inputs)
    >>> _, _, metrics = method.apply(params, state, inputs)
    >>> print(metrics["temperature"][0].round(2))  # 1 + 20 sigmoid(1)
    15.62

  Source:
    Li et al. 2023, arXiv:2211.16231, and its code; `kdjax.losses.kd`.
  """
  for name, value in (("lowest", lowest), ("span", span), ("ramp", ramp)):
    if callable(value):
      raise ValueError(f"{name} must be a number, got a schedule")
  check_value("lowest", lowest, lambda value: value > 0)
  check_value("span", span, lambda value: value > 0)
  check_value("ramp", ramp, lambda value: 0 < value <= 1)
  if not isinstance(hidden, int) or hidden < 1:
    raise ValueError(f"hidden must be a whole number >= 1, got {hidden!r}")
  network = Temperature(hidden)

  def init(rng, inputs):
    if instance:
      return network.init(rng, *_logits(inputs))["params"], ()
    return {"theta": jnp.ones(())}, ()

  def apply(params, state, inputs):
    student, teacher = _logits(inputs)
    if instance:
      constant = jax.lax.stop_gradient(student)
      theta = network.apply({"params": params}, constant, teacher)
    else:
      theta = params["theta"]
    strength = _strength(inputs.step, ramp, steps)
    temperature = lowest + span * jax.nn.sigmoid(reverse(theta, strength))
    values = losses.kd(student, teacher, temperature=temperature)
    count = jnp.sum(
      jnp.ones(values.shape) if inputs.mask is None else inputs.mask
    )
    mean = batch_mean(jnp.broadcast_to(temperature, values.shape), inputs)
    metrics = {"temperature": (mean * count, count)}
    return batch_mean(values, inputs), state, metrics

  return Method(init, apply)


def reverse(x: jax.Array, strength: jax.Array | float) -> jax.Array:
  """Returns x as it is, and sends its gradient back times minus the strength.

  Args:
    x: any array.
    strength: a scalar, >= 0.

  Returns:
    x.

  Example:
    >>> print(jax.grad(lambda x: reverse(x, 0.5) * 3.0)(1.0))
    -1.5

  Source:
    Ganin, Lempitsky 2015, arXiv:1409.7495 (gradient reversal).
  """
  return x - (1.0 + strength) * (x - jax.lax.stop_gradient(x))


def _logits(inputs):
  """Both networks' logits in float32, the teacher's as a constant."""
  teacher = jax.lax.stop_gradient(inputs.teacher.answers)
  return (
    inputs.student.answers.astype(jnp.float32),
    teacher.astype(jnp.float32),
  )


def _strength(step, ramp, steps):
  if steps is None:
    return 1.0
  progress = jnp.minimum(step / max(1.0, ramp * steps), 1.0)
  return 0.5 * (1.0 - jnp.cos(jnp.pi * progress))
