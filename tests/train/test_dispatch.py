"""What a training costs besides its steps: programs, dispatches and memory."""

import chex
import jax
import numpy as np
import pytest

from kdjax.methods import make_objective
from kdjax.train.observer import Observer


def response(settings):
  return make_objective("kd")


@pytest.mark.parametrize(
  ("together", "portion", "dispatches"),
  [
    pytest.param(True, None, [4, 4, 4], marks=pytest.mark.slow),
    # The last portion of an epoch is shorter: the same program takes it.
    (True, 3, [3, 1, 3, 1, 3, 1]),
    (False, 3, [1] * 12),
  ],
)
def test_a_training_is_one_program(fit, caplog, together, portion, dispatches):
  """All epochs, their ragged last batches and their ragged last portions."""
  taken, compiled = [], []

  def step(run, arguments):
    taken.append(int(np.sum(arguments[2] >= 0)))
    compiled.append(sum("Compiling" in x.message for x in caplog.records))

  chex.clear_trace_counter()
  with jax.log_compiles():
    fit(
      # Once to initialise, once for the step.
      chex.assert_max_traces(response, n=2),
      seeds=(0,),
      epochs=3,
      together=together,
      portion=portion,
      observer=Observer(step, lambda fed, idle: fed),
    )
  assert taken == dispatches
  after = sum("Compiling" in x.message for x in caplog.records)
  assert compiled[0] < compiled[1] == after


@pytest.mark.parametrize(
  "together", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_the_memory_of_states_is_used_again(fit, together):
  given = []

  def step(run, arguments):
    given.append(jax.tree.leaves(arguments[0]))

  fit(
    response,
    seeds=(0,),
    together=together,
    observer=Observer(step, lambda fed, idle: fed),
  )
  # Of the later ones the fixture keeps what numpy sees.
  assert given[0] and all(x.is_deleted() for x in given[0])


def test_what_is_read_step_by_step_is_not_lengthened(fit):
  steps = []
  images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 1), np.uint8)
  fit(
    response,
    seeds=(0,),
    epochs=1,
    portion=3,
    read=lambda indices: (images[one] for one in indices),
    observer=Observer(
      lambda run, arguments: steps.append(arguments[2].tolist()),
      lambda fed, idle: fed,
    ),
  )
  assert steps == [[0], [1], [2], [3]]
