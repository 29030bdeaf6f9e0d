"""Reports speak of the score of their task, and know which way it is better."""

import numpy as np
import pytest
from documented_code import code_of, loaded, page

from kdjax import tasks
from kdjax.core.task import Words
from kdjax.evaluate import compare
from kdjax.runner.report import (
  methods,
  overview,
  pictures,
  plots,
  reading,
  sweep_tables,
  sweeps,
  tables,
  teachers,
  verdicts,
)
from kdjax.runner.report import page as report

# By task: how its reports are worded, and what a student gains or loses.
WORDED = {
  "number": {
    "title": "root mean squared error",
    "header": "Test root mean squared error",
    "training": "Training root mean squared error",
    "best": "lower",
    "sign": "Negative: the student errs less.",
    "student": "0.50",
    "gain": "takes 0.53 off the test root mean squared error: 0.50 for the",
    "worse": "difference +0.53, better in 0 of 3 paired seeds",
    "doubtful": "errs more than the baseline (1.50 against 1.03 test root mean",
  },
  "share": {
    "title": "F1",
    "header": "Test F1, %",
    "training": "Training F1, %",
    "best": "higher",
    "sign": "Positive: the student scores higher.",
    "student": "90.00 %",
    "gain": "adds 9.67 points to the test F1: 90.00 % for the student",
    "worse": "difference −9.67 points, better in 0 of 3 paired seeds",
    "doubtful": "scores lower than the baseline (70.00 % against 80.33 % test",
  },
}
SCORES = {
  "number": {
    "teacher": [1.5],
    "student": [0.5, 0.4, 0.6],
    "baseline": [1.0, 1.0, 1.1],
  },
  "share": {
    "teacher": [0.7],
    "student": [0.9, 0.89, 0.91],
    "baseline": [0.8, 0.8, 0.81],
  },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """The page's regression of a number, and a task of which more is better."""
  file = tmp_path_factory.mktemp("tasks") / "number.py"
  with loaded(code_of(page("tasks.md")), file, tasks.MAKERS) as module:
    words = Words("F1", "%", 100.0, 0.0)
    share = module.number()._replace(
      name="share", score="f1", better=1, words=words
    )
    tasks.MAKERS["share"] = lambda: share
    yield {"number": module.number(), "share": share}
    del tasks.MAKERS["share"]


@pytest.fixture(params=WORDED)
def task(request, made):
  return made[request.param]


def results_of(task, *, swapped=False):
  scores = dict(SCORES[task.name])
  if swapped:
    scores["student"], scores["baseline"] = (
      scores["baseline"],
      scores["student"],
    )
  entries = {
    name: {f"test_{task.score}": values, "test_examples": 40}
    for name, values in scores.items()
  }
  compared = compare(
    scores["student"],
    scores["baseline"],
    better=task.better,
    factor=task.words.factor,
  )._asdict()
  one = {"student": "student", "control": "baseline"} | compared
  cells = [
    {"temperature": value, task.score: scores[name], "versus_best": versus}
    | {"versus_baseline": compared | {"holm_p_value": 0.01}}
    for value, name, versus in (
      (1.0, "baseline", compared | {"holm_p_value": 0.01}),
      (4.0, "student", None),
    )
  ]
  sweep = {
    "axes": {"temperature": [1.0, 4.0]},
    task.score: [scores["baseline"], scores["student"]],
    f"baseline_{task.score}": scores["baseline"],
    "recommendation": {"temperature": 4.0},
    "cells": {"student": cells},
  }
  return {"task": task.name, "comparisons": [one], "sweep": sweep, **entries}


def history_of(task):
  return [
    {"network": "student", "epoch": epoch, "step": epoch, "loss": [1.0, 1.0]}
    | {f"test_{task.score}": [0.25, 0.75], f"train_{task.score}": [0.5, 0.5]}
    for epoch in (1, 2)
  ]


def test_sentences(task):
  worded, results = WORDED[task.name], results_of(task)
  headline = verdicts.headline(results)
  assert f"Distillation {worded['gain']}" in headline
  assert "better in 3 of 3 paired seeds" in headline
  assert worded["doubtful"] in teachers.remark(results)
  notes = " ".join(verdicts.notes(results))
  assert f"with a test {worded['title']} of {worded['student'][:4]}" in notes
  assert f"{worded['best']} than the baseline's" in notes


def test_a_student_that_is_worse(task):
  results = results_of(task, swapped=True)
  headline = verdicts.headline(results)
  assert "No gain: student worse" in headline
  assert WORDED[task.name]["worse"] in headline


def test_without_a_paired_test(task):
  results = results_of(task) | {"comparisons": []}
  results["controls"] = {"augmented": results.pop("baseline")}
  worded = WORDED[task.name]
  assert f"has no {worded['best']} test {worded['title']} than the student" in (
    " ".join(verdicts.notes(results))
  )
  assert f"The student's test {worded['title']} is {worded['student']}." in (
    verdicts.headline(results)
  )


def test_tables(task):
  worded, results = WORDED[task.name], results_of(task)
  score = reading.score_of(results)
  networks = tables.networks_table(results)
  assert networks.headers == ("Network", worded["header"])
  assert networks.rows[1][1].startswith(worded["student"].split()[0])
  paired = tables.comparisons_table(results)
  assert paired.rows[0][-1] == "gain"
  assert worded["sign"] in paired.notes[0]
  training = tables.training_table(history_of(task), score)
  assert worded["training"] in training.headers
  grid, cells = sweep_tables.tables_of(results["sweep"], score)
  assert grid.headers[1] == worded["header"]
  # The best first, whichever way that is.
  assert [row[0] for row in cells.rows] == ["4", "1"]


def test_numbers_have_the_digits_that_the_task_says(made, monkeypatch):
  fine = made["number"]._replace(
    name="fine", words=made["number"].words._replace(digits=4)
  )
  monkeypatch.setitem(tasks.MAKERS, "fine", lambda: fine)
  results = results_of(made["number"]) | {"task": "fine"}
  assert tables.networks_table(results).rows[2][1] == "1.5000"
  assert "0.5000 for the student" in verdicts.headline(results)
  assert tables.comparisons_table(results).rows[0][1].startswith("−0.5333 ±")
  assert "1.5000" in overview._row("x", results)


def test_tables_of_other_scores_stand_apart(made):
  environment = {"devices": ["cpu"], "processors": 1, "jax": "0", "git": "a"}
  found = {
    name: results_of(task)
    | {"command": "x", "environment": environment, "seconds": {"total": 1.0}}
    for name, task in made.items()
  }
  shown = overview.overview(found)
  for name in WORDED:
    assert WORDED[name]["header"] in shown
  assert "Test error, %" not in shown


def test_pictures(task):
  worded, results = WORDED[task.name], results_of(task)
  score = reading.score_of(results)
  (axes,) = plots.accuracy_figure(results).axes
  assert axes.get_ylabel() == worded["header"]
  above, _ = plots.curves_figure(history_of(task), score).axes
  assert above.get_ylabel() == f"{worded['header']}\n(log scale)"
  assert np.allclose(above.get_lines()[0].get_ydata(), task.words.shown(0.5))
  (axes,) = sweeps.sweep_figure(results["sweep"], score).axes
  assert axes.get_ylabel() == worded["header"]
  drawn = pictures.makers(results, history_of(task))
  assert f"; {worded['best']} is better." in drawn["accuracy"]().caption


def test_page_and_overview(task):
  worded, results = WORDED[task.name], results_of(task)
  content = report.content(results, history_of(task))
  labels = {tile.unit for tile in content["tiles"]()}
  unit = task.words.unit
  assert labels == {f"{unit} test {worded['title']}".strip()}
  assert report.render(results, content, {}).count(worded["header"]) > 2
  assert worded["student"].split()[0] in " ".join(overview._row("x", results))


def test_methods_best_first(task):
  results = results_of(task)
  versus = results["comparisons"][0] | {"holm_p_value": 0.001}
  found = results | {
    "methods": {
      "good": results["student"] | {"versus_baseline": versus},
      "poor": results["teacher"],
    }
  }
  assert list(methods.entries(found)) == ["good", "baseline", "poor"]
  table = methods.methods_table(found)
  assert WORDED[task.name]["header"] in table.headers
  assert methods.HELPS in table.rows[0]
  sign = WORDED[task.name]["sign"].split(":")[0].lower()
  assert f"{sign} where the method" in table.notes[0]


@pytest.mark.parametrize("results", [{}, {"task": "classification"}])
def test_classification_and_older_results(results):
  assert reading.score_of(results) == reading.ACCURACY
  assert reading.ACCURACY.header == "Test error, %"
  assert list(reading.ACCURACY.of({"test_accuracy": [0.97, 1]})) == [
    100 * (1 - 0.97),
    0,
  ]
