"""The record of `quantify`: sentences, tables and pictures from plain values."""

import numpy as np
import pytest

from kdjax.runner.report import knowledge_page, knowledge_tables
from kdjax.runner.report.overview import overview

NAMES = ("n_fg", "n_bg", "lambda", "d_mean", "d_std", "d_var", "rho")
COUNTS = ("no_concepts", "no_foreground_concepts", "invalid")


def network(value, seeds=2):
  curve = {name: [value, None] for name in NAMES} | {"threshold": [0.2, 0.5]}
  training = {"distance": [0.0, 1.0], "n_fg": [0.0, value], "n_bg": [1.0, 2.0]}
  return {
    "model": "mlp(2)",
    "parameters": 1234,
    "test_accuracy": [0.5] * seeds,
    "test_examples": 1000,
    "metrics": {name: [value] * seeds for name in NAMES}
    | {name: [1] * seeds for name in COUNTS},
    "all_weights": {"d_mean": [value] * seeds},
    "curves": [curve] * seeds,
    "training": [training] * seeds,
    "convergence": {
      "steps": 0.0, "ratio": 3.5, "at_bounds": 0.25, "mean_entropy": -2.0,
    },
  }  # fmt: skip


def compared(metric, expected, verdict, mean=1.0):
  return {
    "metric": metric, "expected": expected, "by": "paper", "mean": mean,
    "p_value": 0.01, "wins": 2, "pairs": 2, "verdict": verdict,
  }  # fmt: skip


@pytest.fixture
def results():
  rows = [
    compared("n_fg", "larger", "reproduced"),
    compared("n_bg", "smaller", "opposite"),
    compared("rho", "larger", "undefined", None),
  ]
  each = [{"wins": 2, "pairs": 2}, {"wins": 0, "pairs": 1}]
  return {
    "name": "toy", "command": "python launch.py quantify",
    "teacher": network(3.0, 1), "student": network(2.0),
    "baseline": network(1.0),
    "quantify": {
      "tap": "stage_0", "estimator": "jacobian", "threshold": 0.2, "images": 60,
      "comparisons": rows,
      "thresholds": {"threshold": [0.2, 0.5]} | dict.fromkeys(NAMES, each),
      "estimators": {"teacher": {"correlation": 0.99, "mean_difference": 0.1,
                                 "steps": 150.0}},
    },
  }  # fmt: skip


@pytest.fixture
def samples():
  rng = np.random.default_rng(0)
  maps = {
    name: rng.normal(size=(2, 4, 4))
    for name in ("teacher", "student", "baseline")
  }
  masks = np.zeros((2, 8, 8), bool)
  masks[:, 2:6, 2:6] = True
  return {
    "images": rng.uniform(size=(2, 8, 8, 1)), "masks": masks, "entropy": maps,
    "concepts": {name: one > 0 for name, one in maps.items()},
    "moments": np.array([0, 1]),
    "over_time": {name: maps[name] for name in ("student", "baseline")},
  }  # fmt: skip


def test_headline_hides_no_failure(results):
  text = knowledge_page.headline(results)
  assert "reproduced: N_fg" in text
  assert "opposite: N_bg" in text
  assert "undefined: rho" in text
  assert "2 paired seeds" in text and "b = 0.2" in text


def test_tables(results):
  table = knowledge_tables.metrics_table(results)
  assert [row[0] for row in table.rows] == [
    "N_fg, foreground concepts ↑", "N_bg, background concepts ↓",
    "rho, share of concepts kept ↑",
  ]  # fmt: skip
  assert table.rows[0][1:4] == ("3.0", "2.0 ± 0.0", "1.0 ± 0.0")
  assert table.rows[0][-2:] == ("2 of 2", "reproduced")
  assert table.rows[2][4] == "–"
  assert "teacher 1 / 1 / 1; student 2 / 2 / 2" in table.notes[3]
  over = knowledge_tables.thresholds_table(results)
  assert over.rows[1][:2] == ("0.5", "0 of 1")


@pytest.mark.parametrize(
  ("left_out", "mark"), [([30, 30], ""), ([60, 1], " †"), ([40, 40], " †")]
)
def test_few_images_are_marked(results, left_out, mark):
  results["baseline"]["metrics"]["no_foreground_concepts"] = left_out
  rows = knowledge_tables.metrics_table(results).rows
  # Concepts are counted on all images, whatever has been learned on them.
  assert [row[-1] for row in rows] == [
    "reproduced", "opposite", f"undefined{mark}"
  ]  # fmt: skip
  assert (f"rho{mark}" in knowledge_page.headline(results)) and (
    ("Rests on few" in knowledge_page.headline(results)) == bool(mark)
  )


def test_overview_has_its_section(results):
  results |= {
    "seconds": {"total": 61.0},
    "environment": {
      "devices": ["cpu:cpu"], "processors": 2, "jax": "1", "git": "abc",
    },
  }  # fmt: skip
  text = overview({"toy": results})
  assert "| [toy](#toy) | 50.00 |" in text
  assert "## toy" in text and "| N_fg, foreground concepts ↑ | 3.0 |" in text
  assert "opposite: N_bg" in text and "commit `abc`" in text


def test_pictures_and_page(results, samples, tmp_path):
  makers = knowledge_page.makers(results, samples)
  assert list(makers) == [
    "entropies", "concepts", "over_time", "concepts_over_distance", "thresholds",
  ]  # fmt: skip
  titles = [axis.get_title() for axis in makers["over_time"]().figure.axes]
  assert titles[:2] == ["Epoch 0", "Epoch 1"]
  page = knowledge_page.write(tmp_path, results, samples)
  text = page.read_text()
  assert text.count("data:image/") == 5
  assert "python launch.py quantify" in text
  assert (tmp_path / "figures" / "concepts.png").stat().st_size > 1000
