"""Schedules by name: how a weight, a temperature or a rate changes with the step.

A schedule is optax's: a function of the step. Everything that takes one takes a
plain number too.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core import checks, spec
from kdjax.losses.checks import read_numbers

Schedule = Callable[[jax.Array], jax.Array]


def make_schedule(value, *, steps: int | None = None):
  """Turns what a user wrote into a number or a schedule.

  Args:
    value: a number (traced ones too) or a Spec: `linear(start, stop, steps)`,
      `cosine(start, stop, steps)`, `exponential(start, rate, steps)`,
      `step(start, boundaries, factor)`; `warmup(share, value)`, from 0 to the
      value in that share of the training, `before(share, value)`, 0 afterwards,
      `after(share, value)`, 0 until then, `complement(value)`, one minus it,
      `product(value, factor)`, these four of numbers or schedules. Steps count
      from 0.
    steps: length of the training, for schedules that do not say how long.

  Returns:
    The number, or the function of the step.

  Raises:
    UserError: for an unknown schedule or arguments that it does not take.

  Example:
    >>> float(at(make_schedule(spec.parse("linear(8, 4, 100)")), 50))
    6.0
  """
  if isinstance(value, spec.Spec):
    settings = {} if steps is None else {"steps": steps}
    return spec.build("schedule", value, SCHEDULES, **settings)
  return value


def at(value, step: jax.Array | int):
  """Returns a number, or a schedule's value, at a step.

  Args:
    value: a number or a function of the step.
    step: the training step, from 0.

  Returns:
    The number.

  Example:
    >>> at(0.5, 7), at(lambda step: 2 * step, 7)
    (0.5, 14)
  """
  return value(step) if callable(value) else value


def _linear(start, stop, steps):
  """From start to stop in so many steps, and stop from then on."""
  _check_numbers(start=start, stop=stop)
  checks.whole_number("steps", steps)
  return optax.linear_schedule(start, stop, steps)


def _cosine(start, stop, steps):
  """From start to stop along half a cosine, and stop from then on."""
  _check_numbers(start=start, stop=stop)
  checks.whole_number("steps", steps)
  decay = optax.cosine_decay_schedule(1.0, steps)
  return lambda step: stop + (start - stop) * decay(step)


def _exponential(start, rate, steps):
  """From start, times the rate in every so many steps."""
  _check_numbers(start=start)
  checks.whole_number("steps", steps)
  check_value("rate", rate, lambda value: value > 0)
  return optax.exponential_decay(start, steps, rate)


def _step(start, boundaries, factor):
  """From start, times the factor at each of these steps, such as (100, 200)."""
  _check_numbers(start=start, factor=factor)
  boundaries = boundaries if isinstance(boundaries, tuple) else (boundaries,)
  for step in boundaries:
    checks.whole_number("a boundary", step)
  if list(boundaries) != sorted(set(boundaries)):
    raise ValueError(f"boundaries must rise, got {boundaries}")
  return optax.piecewise_constant_schedule(
    start, dict.fromkeys(boundaries, factor)
  )


def _warmup(share, value=1.0, *, steps):
  """From 0 to the value in this share of the training, and the value then."""
  _check_numbers(value=value)
  return optax.linear_schedule(0.0, value, _part(share, steps))


def _before(share, value=1.0, *, steps):
  """The value in this first share of the training, and 0 from then on."""
  return _switch(_operand("value", value, steps), 0.0, _part(share, steps))


def _after(share, value=1.0, *, steps):
  """0 in this first share of the training, and the value from then on."""
  return _switch(0.0, _operand("value", value, steps), _part(share, steps))


def _complement(value, *, steps=None):
  """One minus a number or a schedule."""
  value = _operand("value", value, steps)
  return lambda step: 1.0 - at(value, step)


def _product(value, factor, *, steps=None):
  """A number or a schedule times another one."""
  value = _operand("value", value, steps)
  factor = _operand("factor", factor, steps)
  return lambda step: at(value, step) * at(factor, step)


SCHEDULES = {
  "linear": _linear,
  "cosine": _cosine,
  "exponential": _exponential,
  "step": _step,
  "warmup": _warmup,
  "before": _before,
  "after": _after,
  "complement": _complement,
  "product": _product,
}


def _operand(name: str, value, steps: int | None):
  # `inf` and `nan` are read as names without arguments.
  if str(value) not in ("inf", "nan"):
    value = make_schedule(value, steps=steps)
  _check_numbers(**{name: value})
  return value


def _check_numbers(**numbers) -> None:
  for name, value in numbers.items():
    check_value(name, value, lambda number: True)


def _part(share, steps):
  """The number of steps that a share of the training is, >= 1."""
  checks.number(
    "a share of the training", share, "in (0, 1]", lambda x: 0 < x <= 1
  )
  return max(1, round(share * steps))


def _switch(first, second, step):
  return lambda now: jnp.where(now < step, at(first, now), at(second, now))


def check_value(name: str, value, is_allowed) -> None:
  """Checks a hyper-parameter that is known before tracing.

  Args:
    name: its name, for the message.
    value: a number of Python, NumPy or JAX or an array of them, checked; a
      traced number or a schedule, let through.
    is_allowed: number -> bool.

  Raises:
    ValueError: if it is no number, or one that is not finite or not allowed.

  Example:
    >>> check_value("temperature", 4.0, lambda value: value > 0)
  """
  if callable(value):
    return
  try:
    numbers = read_numbers(value)
  except (TypeError, ValueError):
    numbers = np.asarray(np.nan)
  if numbers is None:
    return
  fits = all(
    math.isfinite(x) and is_allowed(x) for x in numbers.ravel().tolist()
  )
  if isinstance(value, bool | tuple | list) or not fits:
    raise ValueError(f"{name}={value!r} is not possible")


def check_static(
  name: str, value: float, is_allowed: Callable[[float], bool]
) -> None:
  """Checks a hyper-parameter that can be neither swept nor scheduled.

  Args:
    name: its name, for the message.
    value: what was given.
    is_allowed: number -> bool.

  Raises:
    ValueError: if it is no plain number, or one that is not allowed.

  Example:
    >>> check_static("rate", 0.5, lambda value: value > 0)
  """
  if callable(value) or isinstance(value, jax.Array | np.ndarray):
    raise ValueError(f"{name} must be a plain number, no sweep or schedule")
  check_value(name, value, is_allowed)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
  """Refuses a word that is none of the choices.

  Args:
    name: the hyper-parameter's name.
    value: what was given.
    choices: what is possible.

  Raises:
    ValueError: if the value is not among them.

  Example:
    >>> check_choice("kernel", "poly", ("poly", "linear"))
  """
  if value not in choices:
    raise ValueError(f"{name}={value!r} is not one of {', '.join(choices)}")
