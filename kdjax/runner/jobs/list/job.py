"""`launch.py list [WHAT]`: methods, models, data sets, taps and what else there is."""

from typing import Any

from kdjax.runner.config import experiments
from kdjax.runner.config.commands import ListConfig
from kdjax.runner.job import Command


def run(call: Any) -> None:
  """Prints what there is."""
  from kdjax.runner.jobs.list.listing import listing, task_of

  print(
    listing(
      call.words,
      experiments=experiments.described(),
      experiment=call.experiment,
      task=task_of(call.experiment),
    )
  )


COMMAND = Command("list", ListConfig, run)
