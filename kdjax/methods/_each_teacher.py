"""Features of several teachers: a method for each of them, and the mean loss."""

import jax
import jax.numpy as jnp

from kdjax.core.method import Inputs, Method


def for_each_teacher(method: Method) -> Method:
  """Applies a method to every network of an ensemble and averages.

  loss = mean over teachers t of method(student, teacher t)

  What the method learns (regressors) and remembers is every teacher's own: the
  networks' features have neither sizes nor directions in common. What
  the student takes over before the first step (a classifier) is the first
  teacher's.

  Returns:
    The method; with a single network it is the one that was given.
  """

  def init(rng, inputs):
    teacher_inputs = _each(inputs)
    if teacher_inputs is None:
      return method.init(rng, inputs)
    keys = jax.random.split(rng, len(teacher_inputs))
    pairs = [
      method.init(key, one)
      for key, one in zip(keys, teacher_inputs, strict=True)
    ]
    params, states = zip(*pairs, strict=True)
    return params, states

  def apply(params, state, inputs):
    teacher_inputs = _each(inputs)
    if teacher_inputs is None:
      return method.apply(params, state, inputs)
    results = [
      method.apply(*one)
      for one in zip(params, state, teacher_inputs, strict=True)
    ]
    losses, states, metrics = zip(*results, strict=True)
    mean = jax.tree.map(lambda *x: sum(x) / len(x), *metrics)
    return jnp.mean(jnp.stack(losses)), states, mean

  def adopt(params, inputs):
    teacher_inputs = _each(inputs)
    return method.adopt(
      params, inputs if teacher_inputs is None else teacher_inputs[0]
    )

  # The sum of a sum's parts is its loss: `apply` alone is enough.
  return method._replace(
    init=init,
    apply=apply,
    adopt=adopt if method.adopt is not None else None,
    parts=None,
  )


def _each(inputs: Inputs) -> list[Inputs] | None:
  """The inputs as each network of an ensemble makes them; None without one."""
  if inputs.teacher is None or not inputs.teacher.members:
    return None
  members = inputs.teacher.members
  heads = inputs.head or (None,) * len(members)
  return [
    inputs._replace(teacher=outputs, head=head)
    for outputs, head in zip(members, heads, strict=True)
  ]
