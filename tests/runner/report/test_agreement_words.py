"""What agreement with the teacher is called, of classes and of yes and no."""

import pytest

from kdjax.runner.report import plots, tables


@pytest.mark.parametrize(
  ("names", "note", "axis"),
  [
    ({}, "puts into its teacher's class", "Same class"),
    (
      {"label_names": ["red"]},
      "share of all answers, yes or no",
      "Same yes or no",
    ),
  ],
)
def test_words(names, note, axis):
  task = "multilabel" if names else "classification"
  score = "test_f1" if names else "test_accuracy"
  entry = {score: [0.5, 0.6], "agreement": [0.7, 0.8]}
  results = {"task": task, "student": entry, "baseline": entry} | names
  (words, _) = tables.networks_table(results).notes
  assert note in words
  (axes,) = plots.agreement_figure(results).axes
  assert axes.get_ylabel().startswith(axis)
