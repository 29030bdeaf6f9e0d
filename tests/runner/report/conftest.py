"""Results as a run writes them: small, and with round numbers."""

import pytest


def network(errors, **more):
  """A network's entry from its test errors in percent."""
  return {
    "model": "mlp(hidden=(100,))",
    "parameters": 79510,
    "flops": 158800,
    "latency_ms": {"1": 0.04, "64": 0.2},
    "test_accuracy": [1 - error / 100 for error in errors],
    "test_examples": 1000,
    "agreement": [0.95, 0.96, 0.97],
    "calibration_error": [0.01, 0.02, 0.03],
    "negative_log_likelihood": [0.1, 0.2, 0.3],
  } | more


def comparison(control, mean, p_value, wins):
  return {
    "student": "student",
    "control": control,
    "mean": mean,
    "standard_deviation": 0.1,
    "p_value": p_value,
    "wins": wins,
    "pairs": 10,
  }


@pytest.fixture
def results():
  teacher = network([2.2], model="mlp(hidden=(1200, 1200))", agreement=None)
  teacher |= {"parameters": 2395210, "flops": 4785600}
  teacher |= {"latency_ms": {"1": 0.4, "64": 4.0}}
  return {
    "name": "mnist_demo",
    "command": "python launch.py --student='mlp(hidden=(100,))'",
    "experiment": {
      "seed": 7,
      "distillation": {"method": "kd(temperature=8.0)", "weights": [0.9, 0.1]},
    },
    "teacher": teacher,
    "student": network([4.5, 4.6, 4.7]),
    "baseline": network([5.5, 5.6, 5.7]),
    "controls": {
      "label_smoothing": network([5.0, 5.1, 5.2]),
      "augmented": network([4.0, 4.1, 4.2]),
    },
    "comparisons": [
      comparison("baseline", -1.0, 7e-6, 10),
      comparison("label_smoothing", -0.5, 0.3, 7),
      comparison("augmented", 0.5, 0.001, 0),
    ],
    "environment": {"jax": "0.10.2", "devices": ["cpu:0"]},
    "seconds": {"data": 1.2, "total": 94.4},
  }


@pytest.fixture
def history():
  return [
    {
      "network": name,
      "epoch": epoch,
      "step": 32 * epoch,
      "loss": [1.0 / epoch, 1.2 / epoch],
      "train_accuracy": [0.98, 0.99],
      "test_accuracy": [0.9 + 0.01 * epoch, 0.91 + 0.01 * epoch],
      "images_per_second": 1000.0 * epoch,
    }
    for name in ("teacher", "student", "baseline")
    for epoch in (1, 2, 3)
  ]


@pytest.fixture
def sweep():
  return {
    "axes": {"temperature": [1.0, 4.0], "hard_weight": [0.0, 0.1, 0.5]},
    "accuracy": [
      [[0.94, 0.94], [0.93, 0.93], [0.92, 0.92]],
      [[0.96, 0.96], [0.95, 0.95], [0.94, 0.94]],
    ],
    "baseline_accuracy": [0.93, 0.95],
    "recommendation": {"temperature": 4.0, "hard_weight": 0.0},
    "text": "Any temperature from 4 on does.",
  }
