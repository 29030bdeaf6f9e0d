"""The table of all candidates, and the best of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax.core import storage
from kdjax.core.task import Task
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.compare.build import Comparison
from kdjax.runner.jobs.compare.candidates import (
  CONTROLS,
  REFERENCE,
)
from kdjax.runner.jobs.compare.training import Outcome
from kdjax.runner.pipeline import measure as scores
from kdjax.runner.pipeline import sweep
from kdjax.runner.pipeline.predict import measured, predict
from kdjax.runner.pipeline.setup import network_note
from kdjax.runner.pipeline.teacher_targets import with_targets
from kdjax.runner.pipeline.teachers import TeacherPool, TrainedNetworks


def measure(setup: Comparison, context: Context) -> Measured:
  """Writes the table, and saves the best candidate's networks."""
  base, candidates = setup
  outcomes, teacher = context.values["students"], context.values["teacher"]
  pool = TeacherPool((TrainedNetworks(base.teacher, teacher),))
  setup = setup._replace(base=with_targets(base, pool))
  best, results = _scores(setup, outcomes, teacher)
  results["objective"] = candidates.texts[best]
  results["left_out"] = candidates.left_out
  note = (
    network_note(base, base.student.model.text) | results["student"]["settings"]
  )
  networks = outcomes[best].networks
  storage.save_network(context.workdir / "student", networks, note)
  return Measured(results, {"history": []})


def _scores(
  setup: Comparison, outcomes: Mapping[str, Outcome], teacher: Any
) -> tuple[str, dict[str, Any]]:
  """Returns the best candidate's name, and the scores of results.json."""
  base, candidates = setup
  task = base.student.task
  base = base._replace(score_split=base.dataset.test)
  teacher_logits = predict(base.teacher, teacher, base.score_split.images)
  held_out_scores = {
    name: task.better * np.mean(one.cells[one.best][task.score])
    for name, one in outcomes.items()
  }
  best = max(
    (name for name in outcomes if name not in CONTROLS), key=held_out_scores.get
  )
  controls = [name for name in CONTROLS if name in outcomes]
  arms = {"student": best} | {name: name for name in controls}
  results = scores.scores(
    base,
    teacher,
    {name: outcomes[arm].networks for name, arm in arms.items()},
    teacher_logits,
    {name: outcomes[arm].logits for name, arm in arms.items()},
  )
  table = {
    name: measured(base, task, one.logits, teacher_logits[0])
    | {
      "objective": candidates.texts.get(name, "hard labels"),
      "settings": candidates.grids[name][one.best],
      "cells": one.cells,
      "seconds": one.seconds,
    }
    for name, one in outcomes.items()
  }
  _add_comparisons(table, task)
  results["student"] |= {"method": best, "settings": table[best]["settings"]}
  for name in controls:
    results[name] |= table.pop(name)
  results["controls"] = {
    name: results.pop(name) | {"objective": "smoothed labels"}
    for name in controls
    if name != "baseline"
  }
  results["comparisons"] = scores.comparisons(results, task)
  return best, results | {"methods": table}


def _add_comparisons(table: dict[str, dict[str, Any]], task: Task) -> None:
  """Compares every arm with the baseline and with the reference, seed by seed."""
  score = f"test_{task.score}"
  for key, control in (
    ("versus_baseline", "baseline"),
    ("versus_kd", REFERENCE),
  ):
    others = [name for name in table if name not in (control, "baseline")]
    if control not in table:
      continue
    values = [table[name][score] for name in others]
    rows = sweep.versus(values, table[control][score], task)
    for name, row in zip(others, rows, strict=True):
      table[name][key] = row
