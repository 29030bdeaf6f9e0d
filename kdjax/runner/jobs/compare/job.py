"""One honest table of many methods on one pair of networks.

One teacher. Every arm, the controls among them, tries as many settings as every
other on images held out from teacher and students; then its best setting is
trained again with fresh seeds, the same for all arms, and scored on the test
images. Whatever the table says, nothing was chosen on what it shows.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.core.errors import counted
from kdjax.data import Split
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict
from kdjax.runner.jobs.compare.candidates import (
  CONTROLS,
  REFERENCE,
  Candidates,
  check_names,
  make_candidates,
)
from kdjax.runner.pipeline import fit, measure, predict, warnings
from kdjax.runner.pipeline.arms import looks_inside, settings_of
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.epochs import epochs
from kdjax.runner.pipeline.setup import Setup, network_note
from kdjax.runner.pipeline.stand_ins import make_teachers
from kdjax.runner.pipeline.teachers import TeacherPool, TrainedNetworks
from kdjax.runner.report import estimates, logs
from kdjax.runner.report.progress import compiling, progress, say
from kdjax.runner.system import environment
from kdjax.runner.system.workdir import claim
from kdjax.train.optimizer import make_optimizer
from kdjax.train.state import variables
from kdjax.train.teacher import Teacher

HELD_OUT = 0.2
# Seeds of the search: none of them is measured.
SEARCH_SEED = 10_000


class Outcome(NamedTuple):
  """What became of one arm.

  Attributes:
    cells: each tried setting with its accuracies on the held-out images.
    best: the place of the best one.
    networks: variables at the best setting, with a leading axis (seeds,).
    logits: (seeds, N, C) on the test images.
    seconds: that the arm took, compilation included.
  """

  cells: list[dict[str, Any]]
  best: int
  networks: Any
  logits: np.ndarray
  seconds: float


def compare(
  experiment: Experiment, names: Sequence[str], *, name: str, command: str
) -> Path:
  """Compares methods and writes their table.

  Args:
    experiment: the settings; `search` says what every arm tries.
    names: methods, as `--distillation` takes them, or "all".
    name: the experiment's name, for people.
    command: the command line that repeats it.

  Returns:
    The folder that holds results.json, report.html and all else.

  Raises:
    UserError: for bad settings or data, or a method that does not fit the
      networks, before anything is compiled.
    DivergedError: if the teacher's loss leaves the finite numbers.
    StorageError: if something cannot be written or read.
  """
  seconds = {}
  with fit.timed(seconds, "total"):
    with fit.timed(seconds, "data"):
      names = check_names(names)
      setup = prepare(_with_held_out(experiment))
      experiment = setup.experiment
      candidates = make_candidates(experiment, setup, names)
    workdir = claim(experiment.run.workdir, name)
    warnings.say(experiment, setup)
    with logs.RunLog(workdir) as log:
      with fit.timed(seconds, "teacher"):
        arms = candidates.arms.values()
        say(_ahead(experiment, candidates))
        teacher = fit.obtain_teacher(experiment, setup, workdir, log, arms)
      with fit.timed(seconds, "students"):
        outcomes = _train_all(experiment, setup, candidates, teacher, log)
    with fit.timed(seconds, "evaluation"):
      found, student = _measure(setup, candidates, outcomes, teacher)
    note = network_note(setup, setup.student) | found["student"]["settings"]
    storage.save_network(workdir / "student", student, note)
  found |= {
    "name": name,
    "command": command,
    "experiment": as_dict(experiment),
    "objective": candidates.texts[found["student"]["method"]],
    "left_out": candidates.left_out,
    "environment": environment.describe(setup.devices),
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.runner.report import record

  page = record.write_run(workdir, found, [])
  print(f"\n{record.summary(found)}\n\n{page}")
  return workdir


def _ahead(experiment: Experiment, candidates: Candidates) -> str:
  tried = sum(map(len, candidates.grids.values())) * experiment.search.seeds
  kept = len(candidates.arms) * experiment.student.seeds
  return estimates.beforehand(
    "compare",
    trainings=2 * len(candidates.arms),
    networks=tried + kept,
    epochs=experiment.student.epochs,
  )


def _with_held_out(experiment: Experiment) -> Experiment:
  share = experiment.data.validation or HELD_OUT
  chosen = dataclasses.replace(experiment.data, validation=share)
  return dataclasses.replace(experiment, data=chosen)


def _train_all(
  experiment: Experiment, setup: Setup, candidates: Candidates, teacher, log
) -> dict[str, Outcome]:
  """Searches and trains arm after arm; one whose loss is nowhere finite leaves."""
  ready = partial(
    make_teachers,
    experiment,
    setup,
    TeacherPool((TrainedNetworks(setup.teacher, teacher),)),
  )
  students = [arm for arm in candidates.arms.values() if arm.teacher]
  # Answers that never change are computed once, for those that need no more.
  inside, outside = (
    [arm for arm in students if looks_inside(arm) == looks]
    for looks in (True, False)
  )
  teachers = {True: ready(inside), False: ready(outside)}
  outcomes = {}
  start = time.perf_counter()
  for done, (name, arm) in enumerate(candidates.arms.items()):
    # The first needs no teacher; the controls are behind with the third.
    if done in (1, 3):
      spent = time.perf_counter() - start
      say(estimates.underway("arm", done, len(candidates.arms), spent))
    its_teachers = teachers[looks_inside(arm)]
    outcome = _try_arm(experiment, setup, candidates, name, its_teachers, log)
    if outcome is None:
      candidates.left_out[name] = "its loss did not stay finite at any setting"
    else:
      outcomes[name] = outcome
  return outcomes


def _try_arm(
  experiment: Experiment,
  setup: Setup,
  candidates: Candidates,
  name: str,
  teachers: Mapping[str, Teacher],
  log,
) -> Outcome | None:
  """Searches one arm's grid, then trains it at its best cell."""
  start = time.perf_counter()
  grid = candidates.grids[name]
  train = partial(
    _train, experiment, setup, candidates, name, teachers=teachers, programs={}
  )
  seeds = SEARCH_SEED + np.arange(experiment.search.seeds)
  networks, losses = train(settings_of(grid, seeds))
  best, cells = _choose(setup, grid, networks, losses)
  if not np.isfinite(losses[best * len(seeds) : (best + 1) * len(seeds)]).all():
    return None
  seeds = np.arange(experiment.student.seeds)
  networks, losses = train(settings_of([grid[best]], seeds))
  test = setup.dataset.test
  logits = _predict(setup, networks, test)
  seconds = time.perf_counter() - start
  log.write(
    {
      "network": name,
      "epoch": experiment.student.epochs,
      "step": _steps(experiment, candidates),
      "loss": [x if np.isfinite(x) else None for x in losses.tolist()],
      "test_accuracy": evaluate.accuracy(logits, test.labels).tolist(),
      "seconds": seconds,
    }
    | grid[best]
  )
  return Outcome(cells, best, networks, logits, seconds)


def _choose(setup, grid, networks, losses) -> tuple[int, list[dict[str, Any]]]:
  """Scores the cells on the held-out images; where the loss is lost, with 0."""
  labels = setup.score_split.labels
  logits = _predict(setup, networks, setup.score_split)
  accuracy = np.where(
    np.isfinite(losses), evaluate.accuracy(logits, labels), 0.0
  ).reshape(len(grid), -1)
  nll = evaluate.negative_log_likelihood(logits, labels).reshape(len(grid), -1)
  # Accuracies are coarse: the likelihood decides where they are the same.
  order = np.lexsort((np.nan_to_num(nll.mean(1), nan=1e9), -accuracy.mean(1)))
  cells = [
    cell | {"accuracy": values.tolist()}
    for cell, values in zip(grid, accuracy, strict=True)
  ]
  return int(order[0]), cells


def _train(
  experiment, setup, candidates, name, settings, *, teachers, programs
) -> tuple[Any, np.ndarray]:
  """Trains one arm's members; returns their variables and last losses."""
  chosen = experiment.student
  train_spec = setup.student._replace(
    optimizer=make_optimizer(
      chosen.optimizer, chosen.schedule, _steps(experiment, candidates)
    ),
    arms={name: candidates.arms[name]._replace(settings=settings)},
    loaders=candidates.loaders,
    apart=False,
  )
  title = f"{name}, {counted(len(settings['seed']), 'student')}"
  if not programs:
    compiling(title)
  with progress(chosen.epochs, title) as advance:
    for epoch in epochs(setup, train_spec, teachers, programs=programs):
      advance(loss=float(epoch.metrics[name]["loss"].mean()))
  return variables(epoch.states[name]), epoch.metrics[name]["loss"]


def _steps(experiment: Experiment, candidates: Candidates) -> int:
  length = max(loader.steps for loader in candidates.loaders.values())
  return experiment.student.epochs * length


def _predict(setup: Setup, networks: Any, images: Split) -> np.ndarray:
  return predict.predict(setup.student, networks, images.images)


def _measure(
  setup: Setup,
  candidates: Candidates,
  outcomes: Mapping[str, Outcome],
  teacher: Any,
) -> tuple[dict[str, Any], Any]:
  """Returns the scores of results.json and the best student's variables."""
  setup = setup._replace(score_split=setup.dataset.test)
  teacher_logits = predict.predict(
    setup.teacher, teacher, setup.score_split.images
  )
  tried = {
    name: np.mean(one.cells[one.best]["accuracy"])
    for name, one in outcomes.items()
  }
  best = max((name for name in outcomes if name not in CONTROLS), key=tried.get)
  shown = {"student": best} | {name: name for name in CONTROLS}
  found = measure.scores(
    setup,
    teacher,
    {name: outcomes[arm].networks for name, arm in shown.items()},
    teacher_logits,
    {name: outcomes[arm].logits for name, arm in shown.items()},
  )
  table = {
    name: evaluate.measure(
      one.logits, setup.score_split.labels, teacher_logits[0]
    )
    | {
      "objective": candidates.texts.get(name, "hard labels"),
      "settings": candidates.grids[name][one.best],
      "cells": one.cells,
      "seconds": one.seconds,
    }
    for name, one in outcomes.items()
  }
  _add_comparisons(table)
  found["student"] |= {"method": best, "settings": table[best]["settings"]}
  for name in CONTROLS:
    found[name] |= table.pop(name)
  found["controls"] = {"label_smoothing": found.pop("label_smoothing")}
  found["controls"]["label_smoothing"]["objective"] = "smoothed labels"
  found["comparisons"] = measure.comparisons(found)
  return found | {"methods": table}, outcomes[best].networks


def _add_comparisons(table: dict[str, dict[str, Any]]) -> None:
  """Compares every arm with the baseline and the reference, seed by seed."""
  for key, control in (
    ("versus_baseline", "baseline"),
    ("versus_kd", REFERENCE),
  ):
    others = [name for name in table if name not in (control, "baseline")]
    if control not in table:
      continue
    found = [
      evaluate.compare(
        table[name]["test_accuracy"], table[control]["test_accuracy"]
      )._asdict()
      for name in others
    ]
    corrected = evaluate.holm([one["p_value"] for one in found])
    for name, one, p_value in zip(others, found, corrected, strict=True):
      table[name][key] = one | {"holm_p_value": p_value}
