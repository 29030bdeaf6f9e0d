"""The hallway of `launch.py compress`: read `run` from top to bottom."""

from pathlib import Path

from kdjax import data
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict
from kdjax.runner.jobs.compress import measure, perturb, training
from kdjax.runner.pipeline import fit, warnings
from kdjax.runner.pipeline.arms import objective_text
from kdjax.runner.report import logs
from kdjax.runner.system import environment
from kdjax.runner.system.workdir import claim


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
      experiment, setup = variants["plain"]
      small = variants["quantized"].experiment.compression
      sparsity = variants["pruned"].experiment.compression.sparsity
    workdir = claim(experiment.run.workdir, name)
    warnings.say(experiment, setup)
    with fit.timed(seconds, "training"), logs.RunLog(workdir) as log:
      trained = training.train(variants, workdir, log)
    with fit.timed(seconds, "evaluation"):
      scheme = small.quantization
      gathered = measure.gather(setup, trained, scheme)
      measured = measure.measure(setup, gathered, workdir / "onnx")
  found = {
    "table": {
      "rows": measured,
      "comparisons": measure.compare(measured),
      "front": measure.front(measured),
      "quantization": scheme,
      "sparsity": sparsity,
      "noise": perturb.NOISE,
      "shift": perturb.SHIFT,
    },
    "name": name,
    "command": command,
    "experiment": as_dict(experiment)
    | {"compression": vars(small) | {"sparsity": sparsity}},
    "objective": objective_text(experiment),
    "environment": environment.describe(setup.devices),
    "fingerprints": {
      "shown": data.fingerprint(setup.train_split),
      "scored": data.fingerprint(setup.score_split),
    },
    "performance": log.performance,
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.runner.report import compression_page

  page = compression_page.write(workdir, found)
  print(f"\n{compression_page.summary(found)}\n\n{page}")
  return workdir
