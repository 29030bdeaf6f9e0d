"""The hallway of `launch.py soft_td`: read `run` from top to bottom."""

from pathlib import Path
from typing import Any

import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.core.errors import counted
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict
from kdjax.runner.jobs.soft_td import measure as scores
from kdjax.runner.jobs.soft_td import training
from kdjax.runner.jobs.soft_td.build import SoftTdSetup, make_setup
from kdjax.runner.jobs.soft_td.rounds import (
  Round,
  Taught,
  iterate,
  make_soft_labels,
)
from kdjax.runner.pipeline import fit, predict, warnings
from kdjax.runner.pipeline.setup import network_note
from kdjax.runner.report import logs
from kdjax.runner.system import environment
from kdjax.runner.system.workdir import claim


def run(experiment: Experiment, *, name: str, command: str) -> Path:
  """Trains sources, goes round after round, trains the controls, reports.

  Args:
    experiment: all settings.
    name: the experiment's name, for people.
    command: the command line that repeats it.

  Returns:
    The folder that holds results.json, report.html and all else.

  Raises:
    UserError: for bad settings or data, before anything is compiled.
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if something cannot be written or read.
  """
  seconds = {}
  with fit.timed(seconds, "total"):
    with fit.timed(seconds, "data"):
      setup = make_setup(experiment)
    workdir = claim(experiment.run.workdir, name)
    warnings.say(experiment, setup.base)
    with logs.RunLog(workdir) as log:
      with fit.timed(seconds, "sources"):
        seeds = setup.sources.arms["teacher"].settings["seed"]
        title = counted(len(seeds), "source")
        sources = training.train(setup, setup.sources, {}, title=title)
        sources = sources["teacher"]
        said = _pretrained(setup, sources)
      with fit.timed(seconds, "rounds"):
        rounds, cells = _rounds(setup, said, log)
      with fit.timed(seconds, "controls"):
        networks, tried = _controls(setup, said, rounds)
        cells |= tried
    with fit.timed(seconds, "evaluation"):
      patience = setup.experiment.soft_td.patience
      networks["student"] = scores.best_students(rounds, patience)
      found = scores.measure(setup, sources, networks, rounds)
      _add_cells(found, cells)
    _save(setup, workdir, sources, networks["student"])
  found |= {
    "name": name,
    "command": command,
    "experiment": as_dict(setup.experiment),
    "objective": _objective_text(setup),
    "environment": environment.describe(setup.base.devices),
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.runner.report import record

  page = record.write_run(workdir, found, [])
  print(f"\n{record.summary(found)}\n\n{page}")
  return workdir


def _pretrained(setup: SoftTdSetup, sources: Any) -> np.ndarray:
  """What the sources say of the training set, (S, M, N, C) nats."""
  said = training.answers(setup, setup.sources, sources)
  said = said.reshape(setup.chains, -1, *said.shape[1:]).swapaxes(0, 1)
  if setup.outside is None:
    return said
  outside = np.broadcast_to(setup.outside, said.shape[1:])
  return np.concatenate([said, outside[None]])


def _rounds(
  setup: SoftTdSetup, said: np.ndarray, log
) -> tuple[list[Round], dict]:
  """Tries the student's rates in the first round, then goes on with the best."""
  chosen = setup.experiment.soft_td
  train_spec = training.student_trainee(setup, ["student"])
  programs, cells = {}, {}

  def teach(number, soft_labels):
    lessons = _with_anchor(setup, soft_labels.log_targets, said)
    title = f"round {number}, {counted(soft_labels.sources, 'source')}"
    if not cells:
      networks, found = training.train_tuned(
        setup, train_spec, lessons, title=title
      )
      cells.update(found)
    else:
      ready = training.with_members(
        train_spec, training.best_settings(cells), setup.chains
      )
      networks = training.train(
        setup, ready, lessons, title=title, programs=programs
      )
    networks = networks["student"]
    taught = _taught(setup, networks)
    _log_round(setup, log, number, soft_labels, taught)
    return taught

  done = iterate(
    said,
    teach,
    rounds=chosen.rounds,
    patience=chosen.patience,
    beta=chosen.beta,
    kind=chosen.pseudo_labels,
    next_sources=chosen.next_sources,
  )
  return done, cells


def _taught(setup: SoftTdSetup, networks: Any) -> Taught:
  losses, accuracy = training.validate(setup, networks)
  student, test = setup.base.student, setup.base.dataset.test
  tested = predict.predict(student, networks, test.images)
  scores = {
    "validation_accuracy": accuracy,
    "test_accuracy": evaluate.accuracy(tested, test.labels),
  }
  said = training.answers(setup, student, networks)
  return Taught(networks, losses, said, scores)


def _controls(
  setup: SoftTdSetup, said: np.ndarray, rounds: list[Round]
) -> tuple[dict[str, Any], dict]:
  """Trains those that have one go, each for as long as all rounds together."""
  first = rounds[0].soft_labels.log_targets
  networks, cells = {}, {}
  # Plain distillation has a single teacher: the chain's first source.
  lessons = _with_anchor(setup, first, said)
  lessons["source"] = training.side_by_side(said[0])
  for names in (("one_round",), ("baseline", "label_smoothing", "reference")):
    train_spec = training.student_trainee(setup, names, rounds=len(rounds))
    trained, tried = training.train_tuned(
      setup, train_spec, lessons, title=" + ".join(names)
    )
    networks |= trained
    cells |= tried
  return networks, cells


def _with_anchor(setup: SoftTdSetup, log_targets: np.ndarray, said: np.ndarray):
  """Lays the pre-trained sources' soft labels beside the round's."""
  beta = setup.experiment.soft_td.beta
  anchor = make_soft_labels(said, beta=beta, kind="soft").log_targets
  return {
    "soft_labels": training.side_by_side(np.concatenate([log_targets, anchor]))
  }


def _log_round(setup: SoftTdSetup, log, number, soft_labels, taught) -> None:
  effective = soft_labels.effective[:, setup.transfer].mean(axis=1)
  log.write(
    {
      "network": "student",
      "round": number,
      "step": number,
      "sources": soft_labels.sources,
      "effective_sample_size": effective.tolist(),
      "validation_loss": taught.validation_loss.tolist(),
    }
    | {name: values.tolist() for name, values in taught.scores.items()}
  )


def _add_cells(found: dict[str, Any], cells: dict) -> None:
  entries = {"student": found["student"], "baseline": found["baseline"]}
  for arm, entry in (entries | found["controls"]).items():
    best = training.best_settings(cells)[arm][0]
    entry |= {"settings": best, "cells": cells[arm]}


def _objective_text(setup: SoftTdSetup) -> str:
  chosen = setup.experiment.soft_td
  share = setup.hard_weight
  text = (
    f"ce:{share:g} + soft_td(temperature={setup.temperature:g}):{1 - share:g}"
  )
  if chosen.regulariser == "none":
    return text
  return f"{text} + {chosen.regulariser}:{chosen.regulariser_weight:g}"


def _save(
  setup: SoftTdSetup, workdir: Path, sources: Any, students: Any
) -> None:
  note = network_note(setup.base, setup.sources)
  note["validation"] = setup.experiment.data.validation
  storage.save_network(workdir / "teacher", predict.first(sources), note)
  note = network_note(setup.base, setup.base.student)
  storage.save_network(workdir / "student", students, note)
