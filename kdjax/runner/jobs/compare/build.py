"""From settings to checked candidates: whatever the user got wrong ends here."""

import dataclasses
from typing import NamedTuple

from kdjax.runner.config import Experiment
from kdjax.runner.job import Plan
from kdjax.runner.jobs.compare.candidates import (
  REFERENCE,
  Candidates,
  can_refer,
  check_names,
  make_candidates,
)
from kdjax.runner.pipeline.build import prepare
from kdjax.runner.pipeline.plan import plan
from kdjax.runner.pipeline.setup import Setup

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
  named = words or experiment.search.methods.split()
  names = check_names(named)
  share = experiment.data.validation or HELD_OUT
  held_out = dataclasses.replace(experiment.data, validation=share)
  base = prepare(dataclasses.replace(experiment, data=held_out))
  if REFERENCE not in named and not can_refer(base.student.task):
    names.remove(REFERENCE)
  candidates = make_candidates(base.experiment, base, names)
  setup = Comparison(base, candidates)
  return plan(base.experiment, base, setup, methods=names)
