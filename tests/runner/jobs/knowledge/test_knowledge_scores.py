"""Which weights are a layer's, and what a comparison says."""

import numpy as np
import pytest

from kdjax.runner.jobs.knowledge import metrics
from kdjax.taps import parse_tap

PARAMS = {
  "stage_0": {"dense": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}},
  "stage_1": {"dense": {"kernel": np.ones((3, 4)), "bias": np.ones(4)}},
  "head": {"kernel": np.ones((4, 5)), "bias": np.ones(5)},
}


def below(*names):
  return {
    name: {key: _filled(part, name in names) for key, part in layer.items()}
    for name, layer in PARAMS.items()
  }


def _filled(part, value):
  return dict.fromkeys(part, value) if isinstance(part, dict) else value


@pytest.mark.parametrize(
  ("tap", "needed", "shapes"),
  [
    ("stage_0", ("stage_0",), [(2, 3)]),
    ("stage_1/activation", ("stage_0", "stage_1"), [(3, 4)]),
    ("head", ("stage_0", "stage_1", "head"), [(4, 5)]),
    ("head:in", ("stage_0", "stage_1"), [(2, 3), (3, 4)]),
  ],
)
def test_layer_weights(tap, needed, shapes):
  found = metrics.layer_weights(PARAMS, parse_tap(tap), below(*needed))
  assert [x.shape for x in found] == shapes


@pytest.mark.parametrize(
  ("name", "metric", "student", "baseline", "mean", "wins", "verdict"),
  [
    ("larger, clear", "n_fg", [2, 3.1, 4], [1, 2, 3], 3.1 / 3, 3, "reproduced"),
    ("larger, but smaller", "n_fg", [1, 2, 3], [2, 3.1, 4], -3.1 / 3, 0, "opposite"),
    ("smaller, clear", "n_bg", [1, 2, 3], [2, 3.1, 4], -3.1 / 3, 3, "reproduced"),
    ("smaller, unclear", "d_mean", [1, 5, 1], [2, 4, 3], -2 / 3, 2,
     "as expected, not significant"),
    ("larger, unclear", "rho", [0.5, 0.2], [0.6, 0.2], -0.05, 0, "not reproduced"),
    ("one seed", "rho", [0.5], [0.4], 0.1, 1, "as expected, not significant"),
    ("one undefined", "lambda", [None, 0.5], [0.1, 0.4], 0.1, 1,
     "as expected, not significant"),
    ("all undefined", "lambda", [None, 0.5], [0.1, None], None, 0, "undefined"),
  ],
)  # fmt: skip
def test_comparisons(name, metric, student, baseline, mean, wins, verdict):
  (row,) = metrics.comparisons({metric: student}, {metric: baseline})
  assert row["verdict"] == verdict
  assert row["wins"] == wins
  assert row["mean"] == (None if mean is None else pytest.approx(mean))


def test_over_thresholds_compares_each():
  def curve(values):
    return {"threshold": [0.2, 0.5]} | dict.fromkeys(metrics.HYPOTHESES, values)

  found = metrics.over_thresholds(
    [curve([2.0, 1.0]), curve([3.0, 1.0])], [curve([1.0, 2.0])] * 2
  )
  assert found["threshold"] == [0.2, 0.5]
  assert [one["wins"] for one in found["n_fg"]] == [2, 0]
  assert [one["wins"] for one in found["n_bg"]] == [0, 2]
