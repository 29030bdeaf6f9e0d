"""Sources, then students round after round, then controls that have one go."""

from typing import Any, NamedTuple

import numpy as np

from kdjax import evaluate
from kdjax.core.errors import quantity
from kdjax.runner.job import Context
from kdjax.runner.jobs.soft_td import training
from kdjax.runner.jobs.soft_td.build import SoftTdSetup
from kdjax.runner.jobs.soft_td.rounds import (
  RoundResult,
  iterate,
  make_soft_labels,
)
from kdjax.runner.pipeline import predict


class Sources(NamedTuple):
  """The networks that are trained on the labels.

  Attributes:
    networks: their variables, with a leading axis (M * S,), chain after chain.
    log_probs: (S, M, N, C) what they say of the training set, nats.
  """

  networks: Any
  log_probs: np.ndarray


class StageResult(NamedTuple):
  """What was trained in a stage after them.

  Attributes:
    result: the rounds; of the controls, variables by arm.
    cells: by arm, each rate with its validation losses.
  """

  result: Any
  cells: training.Cells


def train_sources(setup: SoftTdSetup, context: Context) -> Sources:
  """Trains the sources, and reads what they say of the training set."""
  seeds = setup.sources.arms["teacher"].settings["seed"]
  title = quantity(len(seeds), "source")

  def train():
    return training.train(setup, setup.sources, {}, title=title)["teacher"]

  networks = context.stored("sources", train)
  return Sources(networks, _pretrained(setup, networks))


def _pretrained(setup: SoftTdSetup, sources: Any) -> np.ndarray:
  """What the sources say of the training set, (S, M, N, C) nats."""
  log_probs = training.answers(setup, setup.sources, sources)
  log_probs = log_probs.reshape(
    setup.chains, -1, *log_probs.shape[1:]
  ).swapaxes(0, 1)
  if setup.outside is None:
    return log_probs
  outside = np.broadcast_to(setup.outside, log_probs.shape[1:])
  return np.concatenate([log_probs, outside[None]])


def train_rounds(setup: SoftTdSetup, context: Context) -> StageResult:
  """Tries the student's rates in the first round, then goes on with the best."""
  log_probs, log = context.values["sources"].log_probs, context.log
  train_spec = training.student_trainee(setup, ["student"])
  programs, cells = {}, {}
  # A stopped run goes through its rounds again, and logs them again.
  log.rewind(["student"], 0)

  def train(teachers, title):
    if not cells:
      networks, cells_of_arm = training.train_tuned(
        setup, train_spec, teachers, title=title
      )
      return {"networks": networks["student"], "cells": cells_of_arm}
    best = training.best_settings(cells)
    ready = training.with_members(train_spec, best, setup.chains)
    networks = training.train(
      setup, ready, teachers, title=title, programs=programs
    )
    return {"networks": networks["student"], "cells": cells}

  def teach(number, soft_labels):
    teachers = _with_anchor(setup, soft_labels.log_targets, log_probs)
    title = f"round {number}, {quantity(soft_labels.sources, 'source')}"
    result = context.stored(f"round_{number}", lambda: train(teachers, title))
    cells.update(result["cells"])
    students = _round_result(setup, result["networks"])
    _log_round(setup, log, number, soft_labels, students)
    return students

  settings = setup.experiment.soft_td
  rounds = iterate(
    log_probs,
    teach,
    rounds=settings.rounds,
    patience=settings.patience,
    beta=settings.beta,
    kind=settings.pseudo_labels,
    next_sources=settings.next_sources,
  )
  return StageResult(rounds, cells)


def _round_result(setup: SoftTdSetup, networks: Any) -> RoundResult:
  losses, accuracy = training.validate(setup, networks)
  student, test = setup.base.student, setup.base.dataset.test
  logits = predict.predict(student, networks, test.images)
  scores = {
    "validation_accuracy": accuracy,
    "test_accuracy": evaluate.accuracy(logits, test.labels),
  }
  log_probs = training.answers(setup, student, networks)
  return RoundResult(networks, losses, log_probs, scores)


def train_controls(setup: SoftTdSetup, context: Context) -> StageResult:
  """Trains those that have one go, each for as long as all rounds together."""
  log_probs, rounds = (
    context.values["sources"].log_probs,
    context.values["rounds"].result,
  )
  # Plain distillation has a single teacher: the chain's first source.
  teachers = _with_anchor(setup, rounds[0].soft_labels.log_targets, log_probs)
  teachers["source"] = training.side_by_side(log_probs[0])

  def train(names):
    train_spec = training.student_trainee(setup, names, rounds=len(rounds))
    networks, cells = training.train_tuned(
      setup, train_spec, teachers, title=" + ".join(names)
    )
    return {"networks": networks, "cells": cells}

  networks, cells = {}, {}
  for names in (("one_round",), ("baseline", "label_smoothing", "reference")):
    result = context.stored(names[0], lambda names=names: train(names))
    networks |= result["networks"]
    cells |= result["cells"]
  return StageResult(networks, cells)


def _with_anchor(
  setup: SoftTdSetup, log_targets: np.ndarray, log_probs: np.ndarray
):
  """Lays the pre-trained sources' soft labels beside the round's."""
  beta = setup.experiment.soft_td.beta
  anchor = make_soft_labels(log_probs, beta=beta, kind="soft").log_targets
  return {
    "soft_labels": training.side_by_side(np.concatenate([log_targets, anchor]))
  }


def _log_round(setup: SoftTdSetup, log, number, soft_labels, students) -> None:
  effective = soft_labels.effective[:, setup.transfer].mean(axis=1)
  log.write(
    {
      "network": "student",
      "round": number,
      "step": number,
      "sources": soft_labels.sources,
      "effective_sample_size": effective.tolist(),
      "validation_loss": students.validation_loss.tolist(),
    }
    | {name: values.tolist() for name, values in students.scores.items()}
  )
