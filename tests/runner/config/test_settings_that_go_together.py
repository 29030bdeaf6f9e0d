"""What is wrong with settings that are right one by one."""

import pytest

from kdjax.core.errors import UserError
from kdjax.runner.config import Controls, Distillation, Experiment
from kdjax.runner.pipeline.validate import check_weights
from kdjax.runner.pipeline.values import read_values

STEPS = 20


@pytest.mark.parametrize(
  ("chosen", "said"),
  [
    ({"distillation": "kd:0 + ce:0"}, "'kd:0 + ce:0': every weight is 0"),
    ({"distillation": "ce:0"}, "'ce:0': every weight is 0"),
    ({"distillation": "kd:before(0.5, 0) + ce:0"}, "every weight is 0"),
    ({"distillation": "kd:linear(0, 0, 9)"}, "every weight is 0"),
    (
      {"distillation": "kd:1", "method_weight": 0.0},
      "'kd:1', --method_weight=0.0: every weight is 0",
    ),
    (
      {"distillation": "kd", "hard_weight": 0.0, "method_weight": 0.0},
      "'kd', --hard_weight=0.0, --method_weight=0.0: every weight is 0",
    ),
    # One cell of a sweep.
    (
      {"distillation": "kd:1", "method_weight": (1.0, 0.0)},
      "every weight is 0",
    ),
    # 0.5 - 0.1 * step: -0.1 at step 6, as linear goes.
    (
      {"distillation": "kd:linear(0.5, -0.5, 10) + ce:1"},
      "'kd:linear(0.5, -0.5, 10)' must be finite and not negative, but is -0.1 at"
      " step 6",
    ),
    ({"distillation": "kd:exponential(1, 1e9, 1)"}, "must be finite"),
  ],
)
def test_an_objective_that_trains_nothing_is_refused(chosen, said):
  experiment = Experiment(distillation=Distillation(**chosen))
  with pytest.raises(UserError) as error:
    check_weights(experiment, read_values(experiment), STEPS)
  assert said in str(error.value)


@pytest.mark.parametrize(
  "chosen",
  [
    {"distillation": "kd"},
    {"distillation": "ce"},
    {"distillation": "fitnets"},
    {"distillation": "kd", "hard_weight": 1.0},
    {"distillation": "kd:0 + ce:after(0.5)"},
    {"distillation": "kd:linear(0, 1, 9)"},
    {"distillation": "kd", "method_weight": (0.0, 1.0)},
  ],
)
def test_an_objective_that_trains_at_some_step_is_taken(chosen):
  experiment = Experiment(distillation=Distillation(**chosen))
  check_weights(experiment, read_values(experiment), STEPS)


def test_a_reference_that_trains_nothing_is_refused():
  experiment = Experiment(controls=Controls(reference="kd:0"))
  with pytest.raises(UserError, match="'kd:0': every weight is 0"):
    check_weights(experiment, read_values(experiment), STEPS)
