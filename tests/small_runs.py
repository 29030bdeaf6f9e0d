"""What small runs do without: most of their time would go to it."""

from contextlib import contextmanager

import jax
import pytest


def quick(patch):
  """One device, as eight on two cores wait for each other; no timing."""
  from kdjax.runner.pipeline import measure
  from kdjax.train.devices import placement

  one = jax.local_devices()[:1]
  patch.setattr(placement, "choose", lambda accelerator: one)
  # Compiling and timing them takes longer than all the rest.
  patch.setattr(
    measure,
    "latencies",
    lambda parts, networks: {name: {} for name in networks},
  )


def untried(patch):
  """No trial of a step before its training, which traces it again."""
  from kdjax.train import dry_run

  patch.setattr(dry_run, "_step_of", lambda *parts: lambda *given: None)


def undrawn(patch):
  """No pictures: they take longer than small trainings."""
  from kdjax.runner.report import pictures

  patch.setattr(pictures, "drawn", lambda makers, left_out: {})


@contextmanager
def bare():
  """All of this, for runs of which networks and scores alone are looked at."""
  with pytest.MonkeyPatch.context() as patch:
    for leave_out in (quick, untried, undrawn):
      leave_out(patch)
    yield
