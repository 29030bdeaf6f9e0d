"""The hallway of `launch.py soft_td`: read `run` from top to bottom."""

from pathlib import Path
from typing import Any

import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.core.errors import counted
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict
from kdjax.runner.jobs.soft_td import measure as figures
from kdjax.runner.jobs.soft_td import training
from kdjax.runner.jobs.soft_td.build import Parts, make_parts
from kdjax.runner.jobs.soft_td.rounds import (
  Round,
  Taught,
  iterate,
  make_soft_labels,
)
from kdjax.runner.pipeline import fit, predict, setup, warnings
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
      parts = make_parts(experiment)
    workdir = claim(experiment.run.workdir, name)
    warnings.say(experiment, parts.prepared)
    with logs.RunLog(workdir) as log:
      with fit.timed(seconds, "sources"):
        seeds = parts.sources.arms["teacher"].settings["seed"]
        title = counted(len(seeds), "source")
        sources = training.train(parts, parts.sources, {}, title=title)
        sources = sources["teacher"]
        said = _pretrained(parts, sources)
      with fit.timed(seconds, "rounds"):
        rounds, cells = _rounds(parts, said, log)
      with fit.timed(seconds, "controls"):
        networks, tried = _controls(parts, said, rounds)
        cells |= tried
    with fit.timed(seconds, "evaluation"):
      patience = parts.experiment.soft_td.patience
      networks["student"] = figures.best_students(rounds, patience)
      found = figures.measure(parts, sources, networks, rounds)
      _add_cells(found, cells)
    _save(parts, workdir, sources, networks["student"])
  found |= {
    "name": name,
    "command": command,
    "experiment": as_dict(parts.experiment),
    "objective": _objective_text(parts),
    "environment": environment.describe(parts.prepared.devices),
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.runner.report import record

  page = record.write_run(workdir, found, [])
  print(f"\n{record.summary(found)}\n\n{page}")
  return workdir


def _pretrained(parts: Parts, sources: Any) -> np.ndarray:
  """What the sources say of the training set, (S, M, N, C) nats."""
  said = training.answers(parts, parts.sources, sources)
  said = said.reshape(parts.chains, -1, *said.shape[1:]).swapaxes(0, 1)
  if parts.outside is None:
    return said
  outside = np.broadcast_to(parts.outside, said.shape[1:])
  return np.concatenate([said, outside[None]])


def _rounds(parts: Parts, said: np.ndarray, log) -> tuple[list[Round], dict]:
  """Tries the student's rates in the first round, then goes on with the best."""
  chosen = parts.experiment.soft_td
  trainee = training.student_trainee(parts, ["student"])
  programs, cells = {}, {}

  def teach(number, soft_labels):
    lessons = _with_anchor(parts, soft_labels.log_targets, said)
    title = f"round {number}, {counted(soft_labels.sources, 'source')}"
    if not cells:
      networks, found = training.train_tuned(
        parts, trainee, lessons, title=title
      )
      cells.update(found)
    else:
      ready = training.with_members(
        trainee, training.best_settings(cells), parts.chains
      )
      networks = training.train(
        parts, ready, lessons, title=title, programs=programs
      )
    networks = networks["student"]
    taught = _taught(parts, networks)
    _log_round(parts, log, number, soft_labels, taught)
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


def _taught(parts: Parts, networks: Any) -> Taught:
  losses, accuracy = training.validate(parts, networks)
  student, test = parts.prepared.student, parts.prepared.dataset.test
  tested = predict.predict(student, networks, test.images)
  scores = {
    "validation_accuracy": accuracy,
    "test_accuracy": evaluate.accuracy(tested, test.labels),
  }
  said = training.answers(parts, student, networks)
  return Taught(networks, losses, said, scores)


def _controls(
  parts: Parts, said: np.ndarray, rounds: list[Round]
) -> tuple[dict[str, Any], dict]:
  """Trains those that have one go, each for as long as all rounds together."""
  first = rounds[0].soft_labels.log_targets
  networks, cells = {}, {}
  # Plain distillation has a single teacher: the chain's first source.
  lessons = _with_anchor(parts, first, said)
  lessons["source"] = training.side_by_side(said[0])
  for names in (("one_round",), ("baseline", "label_smoothing", "reference")):
    trainee = training.student_trainee(parts, names, rounds=len(rounds))
    trained, tried = training.train_tuned(
      parts, trainee, lessons, title=" + ".join(names)
    )
    networks |= trained
    cells |= tried
  return networks, cells


def _with_anchor(parts: Parts, log_targets: np.ndarray, said: np.ndarray):
  """Lays the pre-trained sources' soft labels beside the round's."""
  beta = parts.experiment.soft_td.beta
  anchor = make_soft_labels(said, beta=beta, kind="soft").log_targets
  return {
    "soft_labels": training.side_by_side(np.concatenate([log_targets, anchor]))
  }


def _log_round(parts: Parts, log, number, soft_labels, taught) -> None:
  effective = soft_labels.effective[:, parts.transfer].mean(axis=1)
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


def _objective_text(parts: Parts) -> str:
  chosen = parts.experiment.soft_td
  share = parts.hard_weight
  text = (
    f"ce:{share:g} + soft_td(temperature={parts.temperature:g}):{1 - share:g}"
  )
  if chosen.regulariser == "none":
    return text
  return f"{text} + {chosen.regulariser}:{chosen.regulariser_weight:g}"


def _save(parts: Parts, workdir: Path, sources: Any, students: Any) -> None:
  note = setup.note(parts.prepared, parts.sources)
  note["validation"] = parts.experiment.data.validation
  storage.save_network(workdir / "teacher", predict.first(sources), note)
  note = setup.note(parts.prepared, parts.prepared.student)
  storage.save_network(workdir / "student", students, note)
