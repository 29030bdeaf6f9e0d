"""The numbers of the teaching pictures, by closed formulas and by hand."""

import json
import math

import numpy as np
import pytest

from kdjax.runner.report import theory


@pytest.mark.parametrize("place", range(4))
def test_temperature_by_the_geometric_series(place):
  # exp(-k / T), k = 0..9, is a cut geometric series with q = exp(-1 / T):
  # Z = (1 - q^10) / (1 - q), E[k] = q / (1 - q) - 10 q^10 / (1 - q^10), and
  # the entropy is log Z + E[k] / T.
  temperature = place + 1
  q = math.exp(-1 / temperature)
  z = (1 - q**10) / (1 - q)
  mean = q / (1 - q) - 10 * q**10 / (1 - q**10)
  data = theory.temperature_data()
  assert data["temperatures"][place] == temperature
  assert data["entropies"][place] == pytest.approx(
    math.log(z) + mean / temperature, rel=1e-12
  )
  expected = [q ** (9 - k) / z for k in range(10)]
  assert data["probabilities"][place] == pytest.approx(expected, rel=1e-12)


def test_temperature_raises_entropy_towards_log_ten():
  data = theory.temperature_data()
  entropies = [*data["entropies"], data["largest_entropy"]]
  assert entropies == sorted(entropies)
  assert data["largest_entropy"] == pytest.approx(2.302585, abs=1e-6)
  assert [sum(row) for row in data["probabilities"]] == pytest.approx([1] * 4)


def test_norms_by_their_definition():
  data = theory.norms_data(3, rows=5, columns=4)
  assert np.shape(data["rows"]) == (5, 4)
  for place, row in enumerate(data["rows"]):
    sizes = [abs(value) for value in row]
    expected = {
      "1": sum(sizes),
      "2": math.sqrt(sum(size**2 for size in sizes)),
      "3": sum(size**3 for size in sizes) ** (1 / 3),
      "inf": max(sizes),
    }
    for name, norm in expected.items():
      assert data["norms"][name][place] == pytest.approx(norm, rel=1e-12)
    assert data["mean"][place] == pytest.approx(sum(row) / 4, rel=1e-12)


def test_norms_follow_the_seed():
  assert theory.norms_data(1) == theory.norms_data(1)
  assert theory.norms_data(1)["rows"] != theory.norms_data(2)["rows"]


def test_data_are_plain_json():
  data = [theory.temperature_data(), theory.norms_data()]
  assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_temperature_figure_draws_its_data():
  panels = theory.temperature_figure().axes
  heights = [[bar.get_height() for bar in panel.patches] for panel in panels]
  assert heights == theory.temperature_data()["probabilities"]
  assert panels[0].get_title() == "T = 1: entropy 1.04 nats"
  assert panels[3].get_title() == "T = 4: entropy 2.08 nats"


def test_norms_figure_draws_its_data():
  below = theory.norms_figure(5).axes[1]
  drawn = [line.get_ydata().tolist() for line in below.get_lines()]
  assert drawn == list(theory.norms_data(5)["norms"].values())
