"""From settings to checked candidates: whatever the user got wrong ends here."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from kdjax import methods
from kdjax.methods import ObjectiveSpec
from kdjax.runner.config import Experiment
from kdjax.runner.job import Plan
from kdjax.runner.jobs.compare.candidates import (
  REFERENCE,
  Candidates,
  can_refer,
  make_candidates,
)
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.plan import plan
from kdjax.runner.pipeline.setup import Setup

ALL = "all"
HELD_OUT = 0.2


class Comparison(NamedTuple):
  """What is compared.

  Attributes:
    base: the networks and the data.
    candidates: who is compared.
  """

  base: Setup
  candidates: Candidates


def build(experiment: Experiment, *words: str) -> Plan:
  """Checks the methods; images are held out to choose their settings on."""
  names = words or experiment.search.methods.split()
  objectives = read_methods(names)
  share = experiment.data.validation or HELD_OUT
  held_out = dataclasses.replace(experiment.data, validation=share)
  base = prepare(dataclasses.replace(experiment, data=held_out))
  if REFERENCE not in names and not can_refer(base.student.task):
    del objectives[REFERENCE]
  candidates = make_candidates(base.experiment, base, objectives)
  setup = Comparison(base, candidates)
  return plan(base.experiment, base, setup, methods=[*objectives])


def read_methods(names: Sequence[str]) -> dict[str, ObjectiveSpec]:
  """Reads what is to be compared, by name; the reference comes first."""
  if ALL in names:
    # The labels alone are the baseline.
    names = sorted(set(methods.MAKERS) - {"ce"} | set(names) - {ALL})
  names = dict.fromkeys([REFERENCE, *names])
  objectives = {name: methods.read_objective(name) for name in names}
  for objective in objectives.values():
    methods.terms_of(objective)  # refuses what names a method twice
  return objectives
