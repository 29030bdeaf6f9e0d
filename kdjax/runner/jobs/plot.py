"""`launch.py plot temperature|norms`: the theory's two teaching figures."""

from typing import Any

from kdjax.core.errors import unknown_name
from kdjax.runner.config.commands import PlotConfig
from kdjax.runner.job import Command
from kdjax.runner.system.workdir import claim


def run(call: Any) -> None:
  """Draws one of the figures into a folder of its own."""
  from kdjax.runner.report import record

  figure = " ".join(call.words)
  if figure not in record.FIGURES:
    raise unknown_name("figure", figure, record.FIGURES)
  workdir = claim(call.experiment.run.workdir, f"plot-{figure}")
  print(*record.write_figure(workdir, figure), sep="\n")


COMMAND = Command("plot", PlotConfig, run)
