"""The scores of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.evaluate.scores import log_softmax
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.soft_td import training
from kdjax.runner.jobs.soft_td.build import SoftTdSetup, examples_of
from kdjax.runner.jobs.soft_td.rounds import Round, make_soft_labels, stopping
from kdjax.runner.pipeline import measure as results
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.setup import network_note

CONTROLS = ("reference", "one_round", "label_smoothing")


def best_students(rounds: Sequence[Round], patience: int) -> Any:
  """Takes every chain's student of its best round; variables with an axis (M,)."""
  best, _ = stopping([one.students.validation_loss for one in rounds], patience)
  chain = np.arange(len(best))
  return jax.tree.map(
    lambda *leaves: np.stack([np.asarray(x) for x in leaves])[best, chain],
    *(one.students.networks for one in rounds),
  )


def measure(setup: SoftTdSetup, context: Context) -> Measured:
  """Scores all networks, and saves sources and students."""
  sources, rounds, controls = (
    context.values[name] for name in ("sources", "rounds", "controls")
  )
  patience = setup.experiment.soft_td.patience
  students = best_students(rounds.result, patience)
  networks = controls.result | {"student": students}
  results = scores(setup, sources.networks, networks, rounds.result)
  _add_cells(results, rounds.cells | controls.cells)
  results["objective"] = _objective_text(setup)
  note = network_note(setup.base, setup.sources.model.text)
  note["validation"] = setup.experiment.data.validation
  first = predict.first(sources.networks)
  storage.save_network(context.workdir / "teacher", first, note)
  note = network_note(setup.base, setup.base.student.model.text)
  storage.save_network(context.workdir / "student", students, note)
  return Measured(results, {"history": []})


def scores(
  setup: SoftTdSetup,
  sources: Any,
  networks: Mapping[str, Any],
  rounds: Sequence[Round],
) -> dict[str, Any]:
  """Scores sources, students and controls on the test images.

  Args:
    sources: variables with a leading axis (M * S,), chain after chain.
    networks: variables by arm, with a leading axis (M,).
  """
  test = setup.base.dataset.test
  base = setup.base._replace(score_split=test)
  source_logits = predict.predict(base.teacher, sources, test.images)
  logits = {
    arm: predict.predict(base.student, members, test.images)
    for arm, members in networks.items()
  }
  entries = results.scores(base, sources, networks, source_logits, logits)
  mixture = _mixed(setup, source_logits)
  for arm, values in logits.items():
    # Every chain has sources of its own to agree with.
    entries[arm]["agreement"] = [
      float(evaluate.agreement(one, mixed))
      for one, mixed in zip(values, mixture, strict=True)
    ]
  entries["controls"] = {arm: entries.pop(arm) for arm in CONTROLS}
  entries["comparisons"] = results.comparisons(entries, base.student.task)
  entries["rounds"] = round_rows(setup, rounds)
  entries["soft_td"] = _summary(setup, rounds) | {
    "mixture_accuracy": evaluate.accuracy(mixture, test.labels).tolist()
  }
  return entries


def round_rows(
  setup: SoftTdSetup, rounds: Sequence[Round]
) -> list[dict[str, Any]]:
  """Lists what every round gave, one number a chain."""
  patience = setup.experiment.soft_td.patience
  _, last = stopping([one.students.validation_loss for one in rounds], patience)
  places = setup.transfer
  labels = setup.base.dataset.train.labels[places]
  rows = []
  for place, (soft_labels, students) in enumerate(rounds):
    effective = soft_labels.effective[:, places]
    targets = soft_labels.log_targets[:, places]
    rows.append(
      {
        "round": place + 1,
        "sources": soft_labels.sources,
        "counts": ((last < 0) | (last >= place)).tolist(),
        "effective_sample_size": effective.mean(axis=1).tolist(),
        "least_effective_sample_size": effective.min(axis=1).tolist(),
        "target_accuracy": evaluate.accuracy(targets, labels).tolist(),
        "validation_loss": students.validation_loss.tolist(),
      }
      | {name: values.tolist() for name, values in students.scores.items()}
    )
  return rows


def _summary(setup: SoftTdSetup, rounds: Sequence[Round]) -> dict[str, Any]:
  settings = setup.experiment
  losses = [one.students.validation_loss for one in rounds]
  best, last = stopping(losses, settings.soft_td.patience)
  loaders = setup.base.student.loaders
  return {
    "best_round": (best + 1).tolist(),
    "last_round": np.where(last < 0, len(rounds), last + 1).tolist(),
    "epochs_of_controls": len(rounds) * settings.student.epochs,
    "labelled": len(examples_of(loaders[setup.labelled])),
    "transfer": len(setup.transfer),
    "validation": len(setup.base.score_split.labels),
  }


def _mixed(setup: SoftTdSetup, source_logits: np.ndarray) -> np.ndarray:
  """What the pre-trained sources of each chain say together of the test images."""
  settings = setup.experiment.soft_td
  by_chain = log_softmax(source_logits).reshape(
    setup.chains, settings.sources, *source_logits.shape[1:]
  )
  mixture = make_soft_labels(
    np.moveaxis(by_chain, 1, 0), beta=settings.beta, kind="soft"
  )
  return mixture.log_targets


def _add_cells(results: dict[str, Any], cells: dict) -> None:
  entries = {"student": results["student"], "baseline": results["baseline"]}
  for arm, entry in (entries | results["controls"]).items():
    best = training.best_settings(cells)[arm][0]
    entry |= {"settings": best, "cells": cells[arm]}


def _objective_text(setup: SoftTdSetup) -> str:
  settings = setup.experiment.soft_td
  share = setup.hard_weight
  text = (
    f"ce:{share:g} + soft_td(temperature={setup.temperature:g}):{1 - share:g}"
  )
  if settings.regulariser == "none":
    return text
  return f"{text} + {settings.regulariser}:{settings.regulariser_weight:g}"
