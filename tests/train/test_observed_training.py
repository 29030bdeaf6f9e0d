"""A training that is watched: what it needs, once compiled, nothing changed."""

import jax
import numpy as np

from kdjax.methods import make_objective
from kdjax.train.devices import memory as preflight
from kdjax.train.observer import Observer


def test_needs_of_a_training(fit, caplog):
  """Read off the program that then runs: compiled once, states donated."""
  seen, waits = {}, []

  def step(run, arguments):
    if run not in seen:
      with jax.log_compiles():
        seen[run] = preflight.needs(run, arguments)
      sizes.append(
        [sum(x.nbytes for x in jax.tree.leaves(arguments[i])) for i in (0, 5)]
      )

  def input(fed, idle):
    for one in fed:
      waits.append(idle())
      yield one

  sizes = []
  with jax.log_compiles():
    (epoch,) = fit(
      lambda settings: make_objective("kd"),
      devices=2,
      epochs=1,
      observer=Observer(step, input),
    )
  (found,) = seen.values()
  (states, teachers), memory = sizes[0], found.memory
  assert memory["parameters"] + memory["optimiser"] == states == found.donated
  assert memory["teachers"] == teachers > 0
  assert memory["temporary"] > 0 and waits == [True]
  compiled = [
    one for one in caplog.messages
    if "Finished XLA compilation of jit(_fun)" in one
  ]  # fmt: skip
  assert len(compiled) == 1
  # Two members of 36-10-4 with their gradients but for the images', 8 examples
  # a device; the teacher 36-12-4 answers once for each seed.
  student = 2 * 8 * (2 * 36 * 10 + 3 * 10 * 4)
  teacher = 2 * 8 * (36 * 12 + 12 * 4)
  assert found.operations == 2 * (student + teacher)
  assert np.isfinite(epoch.metrics["student"]["loss"]).all()
