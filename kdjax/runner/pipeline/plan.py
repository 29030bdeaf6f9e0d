"""What jobs over the pipeline's setup are made of."""

from typing import Any

from kdjax.data import Split
from kdjax.runner.config import Experiment
from kdjax.runner.job import Plan
from kdjax.runner.pipeline.dataset import classes_of
from kdjax.runner.pipeline.fingerprints import fingerprints, of_setup
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.warnings import doubts, warnings_of


def plan(
  experiment: Experiment,
  base: Setup,
  setup: Any = None,
  **inputs: Any,
) -> Plan:
  """Makes the plan of a job.

  Args:
    setup: what the job's stages take; `base` by default.
    **inputs: what a stopped run must find again besides its data; JSON values.
  """
  return Plan(
    base if setup is None else setup,
    base.experiment,
    base.devices,
    lambda: of_setup(base) | inputs,
    warnings_of(experiment, base),
  )


def plan_of(setup: Any, train: Split, score_split: Split) -> Plan:
  """Makes the plan of a job with a setup of its own."""
  warnings = doubts(
    setup.experiment,
    examples=len(train.labels),
    labels=score_split.labels,
    classes=classes_of(setup.dataset),
  )
  return Plan(
    setup,
    setup.experiment,
    setup.devices,
    lambda: fingerprints(train, score_split),
    warnings,
  )
