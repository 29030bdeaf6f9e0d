"""Training sources, students and controls, each at the best of equally many rates."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from kdjax import evaluate, methods
from kdjax.core.errors import DivergedError
from kdjax.core.teacher import Teacher, stored_teacher
from kdjax.evaluate.scores import log_softmax
from kdjax.methods.soft_td import soft_td
from kdjax.runner.jobs.soft_td.build import SoftTdSetup
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.arms import settings_of
from kdjax.runner.pipeline.epochs import epochs
from kdjax.runner.pipeline.setup import TrainSpec
from kdjax.runner.pipeline.sweep import ranking
from kdjax.runner.report.progress import compiling, progress
from kdjax.train.arm import Arm
from kdjax.train.optimizer import with_l2
from kdjax.train.state import variables

Cells = dict[str, list[dict[str, Any]]]


def make_arms(setup: SoftTdSetup) -> dict[str, Arm]:
  """Makes who learns from what; settings are filled in by `with_members`."""
  options, chains = setup.experiment.soft_td, setup.chains
  objective = partial(
    soft_td,
    classes=setup.base.dataset.classes,
    temperature=setup.temperature,
    hard_weight=setup.hard_weight,
  )

  def regularised(settings):
    return objective(
      place=settings["chain"],
      anchor=settings["chain"] + chains,
      regulariser=options.regulariser,
      regulariser_weight=options.regulariser_weight,
    )

  def plain(settings):
    return objective(place=settings["chain"])

  def smoothed(_):
    smoothing = setup.experiment.controls.label_smoothing
    return methods.make_objective(
      "ce:1", label_smoothing=smoothing, task=setup.base.student.task
    )

  return {
    "student": Arm("transfer", regularised, {}, "soft_labels"),
    "one_round": Arm("transfer", regularised, {}, "soft_labels"),
    "reference": Arm("transfer", plain, {}, "source"),
    "label_smoothing": Arm(setup.labelled, smoothed, {}),
    "baseline": Arm(
      setup.labelled,
      lambda _: methods.make_objective("hard", task=setup.base.student.task),
      {},
    ),
  }


def student_trainee(
  setup: SoftTdSetup, names: Sequence[str], *, rounds: int = 1
) -> TrainSpec:
  """Readies some arms for a training as long as some rounds."""
  base, settings = setup.base, setup.experiment.student
  loaders = base.student.loaders
  loaders = {name: loaders[name] for name in {"transfer", setup.labelled}}
  epochs = settings.epochs * rounds
  steps = epochs * max(loader.steps for loader in loaders.values())
  optimizer = base.student.optimizer_for(steps)
  regulariser = setup.experiment.soft_td
  if regulariser.regulariser == "l2" and {"student", "one_round"} & set(names):
    optimizer = with_l2(optimizer, regulariser.regulariser_weight)
  arms = make_arms(setup)
  return base.student._replace(
    optimizer=optimizer,
    arms={name: arms[name] for name in names},
    loaders=loaders,
    epochs=epochs,
  )


def with_members(
  train_spec: TrainSpec,
  grids: Mapping[str, Sequence[Mapping[str, float]]],
  chains: int,
) -> TrainSpec:
  """Fills in the settings of every arm's members.

  Args:
    chains: M; every cell has a member for each, whose seed is its number.
  """
  arms = {}
  for name, arm in train_spec.arms.items():
    settings = settings_of(grids[name], np.arange(chains))
    arms[name] = arm._replace(settings=settings | {"chain": settings["seed"]})
  return train_spec._replace(arms=arms)


def side_by_side(tables: np.ndarray) -> Teacher:
  """Lays tables side by side, so that each chain finds its own in one teacher.

  Args:
    tables: (K, N, C) logarithms, nats.
  """
  beside = np.moveaxis(tables, 0, 1).reshape(tables.shape[1], -1)
  return stored_teacher(beside.astype(np.float32))


def train(
  setup: SoftTdSetup,
  train_spec: TrainSpec,
  teachers: Mapping[str, Teacher],
  *,
  title: str,
  programs: dict | None = None,
) -> dict[str, Any]:
  """Trains all members of all arms; variables by arm, with an axis of members.

  Args:
    teachers: who teaches, by the names that the arms give them.
    title: for the progress bar.
    programs: as in `loop.train`.
  """
  following = epochs(setup.base, train_spec, teachers, programs=programs)
  if not programs:
    compiling(title)
  with progress(train_spec.epochs, title) as advance:
    for epoch in following:
      losses = {arm: one["loss"] for arm, one in epoch.metrics.items()}
      for arm, values in losses.items():
        if not np.isfinite(values).all():
          raise DivergedError(
            f"the loss of the {arm} is not finite in epoch {epoch.number}; lower"
            " the learning rates, or the regulariser's weight"
          )
      advance(loss=float(np.mean([one.mean() for one in losses.values()])))
  return {arm: variables(epoch.states[arm]) for arm in train_spec.arms}


def train_tuned(
  setup: SoftTdSetup,
  train_spec: TrainSpec,
  teachers: Mapping[str, Teacher],
  *,
  title: str,
) -> tuple[dict[str, Any], Cells]:
  """Trains every arm at the same rates, and keeps each at its best one.

  Best on the held-out images, on average over the chains: the test images,
  which measure, choose nothing. With the networks come the cells of each arm with
  their validation losses, the best one first.
  """
  grid = [{"learning_rate": rate} for rate in setup.rates]
  ready = with_members(
    train_spec, dict.fromkeys(train_spec.arms, grid), setup.chains
  )
  networks_of, cells = {}, {}
  for arm, members in train(setup, ready, teachers, title=title).items():
    losses = validate(setup, members)[0].reshape(len(grid), -1)
    order = ranking(losses, better=-1)
    cells[arm] = [
      grid[i] | {"validation_loss": losses[i].tolist()} for i in order
    ]
    start = order[0] * setup.chains
    networks_of[arm] = jax.tree.map(
      lambda x, start=start: x[start : start + setup.chains], members
    )
  return networks_of, cells


def best_settings(cells: Cells) -> dict[str, list[dict[str, float]]]:
  """Returns the grid of the best cell alone, by arm.

  Example:
    >>> best_settings({"kd": [{"learning_rate": 0.1, "validation_loss": [1.0]}]})
    {'kd': [{'learning_rate': 0.1}]}
  """
  return {
    arm: [{"learning_rate": rows[0]["learning_rate"]}]
    for arm, rows in cells.items()
  }


def validate(
  setup: SoftTdSetup, networks: Any
) -> tuple[np.ndarray, np.ndarray]:
  """Scores (M, ...) networks on the held-out images: nats, and accuracies, (M,)."""
  split = setup.base.score_split
  logits = predict.predict(setup.base.student, networks, split.images)
  return (
    evaluate.negative_log_likelihood(logits, split.labels),
    evaluate.accuracy(logits, split.labels),
  )


def answers(
  setup: SoftTdSetup, train_spec: TrainSpec, networks: Any
) -> np.ndarray:
  """Asks (M, ...) networks about the training set: (M, N, C) log-probabilities."""
  images = setup.base.dataset.train.images
  return log_softmax(predict.predict(train_spec, networks, images))
