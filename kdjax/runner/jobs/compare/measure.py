"""The table of all candidates, and the best of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax import evaluate
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
from kdjax.runner.pipeline.predict import predict
from kdjax.runner.pipeline.setup import network_note


def measure(setup: Comparison, context: Context) -> Measured:
  """Writes the table, and saves the best candidate's networks."""
  base, candidates = setup
  outcomes = context.values["students"]
  best, found = _scores(setup, outcomes, context.values["teacher"])
  found["objective"] = candidates.texts[best]
  found["left_out"] = candidates.left_out
  note = network_note(base, base.student) | found["student"]["settings"]
  networks = outcomes[best].networks
  storage.save_network(context.workdir / "student", networks, note)
  return Measured(found, {"history": []})


def _scores(
  setup: Comparison, outcomes: Mapping[str, Outcome], teacher: Any
) -> tuple[str, dict[str, Any]]:
  """Returns the best candidate's name, and the scores of results.json."""
  base, candidates = setup
  task = base.student.task
  base = base._replace(score_split=base.dataset.test)
  taught = predict(base.teacher, teacher, base.score_split.images)
  tried = {
    name: task.better * np.mean(one.cells[one.best][task.score])
    for name, one in outcomes.items()
  }
  best = max((name for name in outcomes if name not in CONTROLS), key=tried.get)
  controls = [name for name in CONTROLS if name in outcomes]
  shown = {"student": best} | {name: name for name in controls}
  found = scores.scores(
    base,
    teacher,
    {name: outcomes[arm].networks for name, arm in shown.items()},
    taught,
    {name: outcomes[arm].logits for name, arm in shown.items()},
  )
  table = {
    name: evaluate.measure_task(
      task, one.logits, base.score_split.labels, taught[0]
    )
    | {
      "objective": candidates.texts.get(name, "hard labels"),
      "settings": candidates.grids[name][one.best],
      "cells": one.cells,
      "seconds": one.seconds,
    }
    for name, one in outcomes.items()
  }
  _add_comparisons(table, task)
  found["student"] |= {"method": best, "settings": table[best]["settings"]}
  for name in controls:
    found[name] |= table.pop(name)
  found["controls"] = {
    name: found.pop(name) | {"objective": "smoothed labels"}
    for name in controls
    if name != "baseline"
  }
  found["comparisons"] = scores.comparisons(found, task)
  return best, found | {"methods": table}


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
