"""Who enters a comparison of methods, and what each may try.

Every arm, the controls among them, tries equally many settings: a method the
factors of its published weight times the learning rates, smoothed labels the
smoothings times the rates, hard labels as many rates.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kdjax import methods
from kdjax.core.errors import UserError
from kdjax.core.task import Task
from kdjax.methods import ObjectiveSpec
from kdjax.methods.registry import why_not
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import capacity
from kdjax.runner.pipeline.arms import assemble, settings_of
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.values import methods_of, objective_text
from kdjax.train.arm import Arm
from kdjax.train.dry_run import check_step
from kdjax.train.loader import Loader

# What every method is compared with, besides the baseline on hard labels.
REFERENCE = "kd"
CONTROLS = ("baseline", "label_smoothing")


class Candidates(NamedTuple):
  """Who is compared.

  Attributes:
    arms: by name, the controls first; their settings are one member a cell.
    grids: by arm, its cells, as many for each.
    texts: the methods' objectives with every weight.
    left_out: why a method does not fit the networks, by name.
  """

  arms: dict[str, Arm]
  grids: dict[str, list[dict[str, float]]]
  loaders: dict[str, Loader]
  texts: dict[str, str]
  left_out: dict[str, str]


def can_refer(task: Task) -> bool:
  """Says whether methods can be compared with the reference on a task."""
  return task.kind in methods.READS[REFERENCE]


def misfit_of(name: str, objective: ObjectiveSpec, task: Task) -> str | None:
  """Says in a line why a method's objective does not read a task's answers."""
  for method in methods_of(objective):
    if reason := why_not(method, task):
      return reason if method == name else f"has {method}, which {reason}"
  return None


def control_rates(rates: Sequence[float], count: int) -> tuple[float, ...]:
  """Spreads an arm's tries over the learning rate, where it has nothing else."""
  if count <= len(rates):
    return tuple(rates)
  spread = np.geomspace(min(rates) / 3, 3 * max(rates), count)
  return tuple(map(float, spread))


def make_candidates(
  experiment: Experiment, setup: Setup, objectives: Mapping[str, ObjectiveSpec]
) -> Candidates:
  """Makes every arm with its grid, and finds out whether it fits.

  Args:
    objectives: by name; one that does not fit is left out where all were asked
      for.
  """
  gather = partial(
    assemble,
    labels=setup.train_split.labels,
    examples=setup.examples,
    transfer=setup.transfer,
    classes=setup.dataset.classes,
    task=setup.student.task,
    # Methods that relate examples must, and all arms take the same steps.
    drop_remainder=True,
  )
  with_grids = _with_grids(experiment)
  cohort = gather(with_grids, setup.values)
  candidates = Candidates(
    {name: cohort.arms[name] for name in CONTROLS if name in cohort.arms},
    {name: cohort.grids[name] for name in CONTROLS if name in cohort.arms},
    {
      loader: x for loader, x in cohort.loaders.items() if loader != "augmented"
    },
    {},
    {},
  )
  everything = set(objectives) >= set(methods.MAKERS) - {"ce", REFERENCE}
  once = _with(with_grids, "distillation", method_weight=1.0)
  for name, objective in objectives.items():
    try:
      cohort = gather(with_grids, setup.values._replace(objective=objective))
      _try(setup, cohort.arms["student"])
      _check_room(
        setup, with_grids, cohort.arms["student"], cohort.grids["student"]
      )
    except UserError as error:
      if not everything or name == REFERENCE:
        raise UserError(f"compare: {name} does not fit: {error}") from error
      reason = misfit_of(name, objective, setup.student.task)
      candidates.left_out[name] = reason or str(error)
      continue
    candidates.arms[name] = cohort.arms["student"]
    candidates.grids[name] = cohort.grids["student"]
    candidates.texts[name] = objective_text(once, objective)
  return candidates


def _try(setup: Setup, arm: Arm) -> None:
  method = arm.method({name: x[0] for name, x in arm.settings.items()})
  networks = (setup.student.network, setup.teacher.network)
  check_step(*networks, method, setup.sample, setup.student.task)


def _check_room(setup: Setup, experiment: Experiment, arm, grid) -> None:
  """Refuses a method that does not fit with the networks of its search."""
  if experiment.computing.preflight:
    arm = arm._replace(
      settings=settings_of(grid, np.arange(experiment.search.seeds))
    )
    capacity.check_networks(
      "student",
      setup.student._replace(arms={"student": arm}),
      None if arm.teacher is None else setup.teacher.network,
      setup.sample,
      setup.devices,
    )


def _with_grids(experiment: Experiment) -> Experiment:
  """Puts what is to be tried into the settings, as many cells for every arm."""
  search = experiment.search
  best = experiment.student.learning_rate
  rates = search.rates or (best / 3, best)
  experiment = _with(experiment, "student", learning_rate=rates)
  experiment = _with(experiment, "distillation", method_weight=search.weights)
  return _with(
    experiment,
    "controls",
    controls=True,
    label_smoothing=search.smoothing,
    smoothing_learning_rate=rates,
    baseline_learning_rate=control_rates(
      rates, len(rates) * len(search.weights)
    ),
  )


def _with(experiment: Experiment, group: str, **values: Any) -> Experiment:
  new = dataclasses.replace(getattr(experiment, group), **values)
  return dataclasses.replace(experiment, **{group: new})
