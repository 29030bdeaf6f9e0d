"""From settings to a checked setup: whatever the user got wrong ends here."""

import dataclasses
from typing import NamedTuple

import numpy as np

from kdjax import methods
from kdjax.runner.config import Experiment
from kdjax.runner.job import Plan
from kdjax.runner.jobs.soft_td.outside import read_soft_labels
from kdjax.runner.pipeline import capacity
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.loaders import with_examples
from kdjax.runner.pipeline.plan import plan
from kdjax.runner.pipeline.setup import Setup, TrainSpec
from kdjax.train.arm import Arm
from kdjax.train.loader import Loader

HELD_OUT = 0.2


class SoftTdSetup(NamedTuple):
  """All that a run is made of.

  Attributes:
    base: data, student and loaders; what is scored there is held out of the
      training set, and decides about rates and rounds.
    sources: the networks that are trained on the labels, chain after chain.
    labelled: name of the loader of the labelled examples.
    transfer: which examples the students learn from.
    hard_weight: the labels' share of the objective.
    rates: the peak learning rates that every arm tries.
    outside: (N, C) logarithms of the soft labels from a file, or None.
  """

  base: Setup
  sources: TrainSpec
  labelled: str
  transfer: np.ndarray
  temperature: float
  hard_weight: float
  rates: tuple[float, ...]
  outside: np.ndarray | None

  @property
  def experiment(self) -> Experiment:
    """The settings, with the networks that were left open."""
    return self.base.experiment

  @property
  def chains(self) -> int:
    """M: one chain of sources and students for each seed."""
    return self.experiment.student.seeds


def build(experiment: Experiment) -> Plan:
  """Opens the data and builds every part."""
  setup = make_setup(experiment)
  return plan(experiment, setup.base, setup)


def make_setup(experiment: Experiment) -> SoftTdSetup:
  """Opens the data and builds every part."""
  settings = dataclasses.replace(
    experiment.data, validation=experiment.data.validation or HELD_OUT
  )
  experiment = dataclasses.replace(experiment, data=settings)
  base = prepare(experiment, "soft_td")
  loaders = base.student.loaders
  loader = "labelled" if "labelled" in loaders else "transfer"
  rate = base.experiment.student.learning_rate
  settings = experiment.distillation
  return SoftTdSetup(
    base=base,
    sources=_sources(base, examples_of(loaders[loader])),
    labelled=loader,
    transfer=examples_of(loaders["transfer"]),
    temperature=4.0 if settings.temperature is None else settings.temperature,
    hard_weight=(
      methods.HARD_WEIGHT
      if settings.hard_weight is None
      else settings.hard_weight
    ),
    rates=experiment.search.rates or (rate / 3, rate),
    outside=_outside(experiment, base),
  )


def examples_of(loader: Loader) -> np.ndarray:
  """Lists the examples that a loader shows in one pass."""
  indices, weights = loader.batches(0, 0, loader.steps)
  return np.unique(np.asarray(indices)[np.asarray(weights) > 0])


def _sources(base: Setup, examples: np.ndarray) -> TrainSpec:
  experiment = base.experiment
  teacher = experiment.teacher
  count = experiment.soft_td.sources * experiment.student.seeds
  loader = with_examples(
    base.teacher.loaders["labels"],
    examples,
    base.dataset.train.labels,
    teacher.batch_size,
  )
  settings = {
    "seed": teacher.seed + np.arange(count),
    "learning_rate": np.full(count, teacher.learning_rate),
  }
  arm = Arm(
    "labels",
    lambda _: methods.make_objective("hard", task=base.student.task),
    settings,
  )
  train_spec = base.teacher._replace(
    optimizer=base.teacher.optimizer_for(loader.steps * teacher.epochs),
    arms={"teacher": arm},
    loaders={"labels": loader},
    images=loader.steps * teacher.batch_size * count,
  )
  if experiment.computing.preflight:
    capacity.check_networks(
      "source", train_spec, None, base.sample, base.devices
    )
  return train_spec


def _outside(experiment: Experiment, base: Setup) -> np.ndarray | None:
  source = experiment.soft_td.soft_labels_from
  if source is None:
    return None
  return read_soft_labels(
    source,
    examples=len(base.dataset.train.labels),
    classes=base.dataset.classes,
    project=experiment.soft_td.project_simplex,
  )
