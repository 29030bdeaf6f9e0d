"""The hallway of `launch.py compress`: read `run` from top to bottom."""

from pathlib import Path

from kdjax import data, doubts, environment, fit
from kdjax.arms import objective_text
from kdjax.config import Experiment
from kdjax.options import as_dict
from kdjax.report import logs
from kdjax.weighing import disturbed, rows, training
from kdjax.workdir import claim


def run(experiment: Experiment, *, name: str, command: str) -> Path:
  """Trains, shrinks and measures networks, and writes the table.

  Args:
    experiment: all settings.
    name: the experiment's name, for people.
    command: the command line that repeats it.

  Returns:
    The folder that holds results.json, report.html and all else.

  Raises:
    UserError: for bad settings or data, before anything is compiled.
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if something cannot be written.
  """
  seconds = {}
  with fit.timed(seconds, "total"):
    with fit.timed(seconds, "data"):
      variants = training.variants(experiment)
      experiment, parts = variants["plain"]
      small = variants["quantized"].experiment.compression
      sparsity = variants["pruned"].experiment.compression.sparsity
    workdir = claim(experiment.run.workdir, name)
    doubts.say(experiment, parts)
    with fit.timed(seconds, "training"), logs.RunLog(workdir) as log:
      trained = training.train(variants, workdir, log)
    with fit.timed(seconds, "evaluation"):
      scheme = small.quantization
      gathered = rows.gather(parts, trained, scheme)
      measured = rows.measure(parts, gathered, workdir / "onnx")
  found = {
    "table": {
      "rows": measured,
      "comparisons": rows.compare(measured),
      "front": rows.front(measured),
      "quantization": scheme,
      "sparsity": sparsity,
      "noise": disturbed.NOISE,
      "shift": disturbed.SHIFT,
    },
    "name": name,
    "command": command,
    "experiment": as_dict(experiment)
    | {"compression": vars(small) | {"sparsity": sparsity}},
    "objective": objective_text(experiment),
    "environment": environment.describe(parts.devices),
    "fingerprints": {
      "shown": data.fingerprint(parts.shown),
      "scored": data.fingerprint(parts.scored),
    },
    "performance": log.performance,
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.report import sizes

  page = sizes.write(workdir, found)
  print(f"\n{sizes.summary(found)}\n\n{page}")
  return workdir
