"""The built-in experiments: settings by name, with what they say of themselves."""

import functools
import importlib.util
from pathlib import Path

from kdjax.core.errors import unknown_name
from kdjax.runner.config import Experiment


def folder() -> Path:
  """Returns where the experiments' files are: in a clone beside kdjax/."""
  runner = Path(__file__).parents[1]
  folder = runner / "experiments"
  return folder if folder.is_dir() else runner.parents[1] / "experiments"


@functools.cache
def all_experiments() -> dict[str, tuple[Experiment, str]]:
  """Reads all experiments, each with what its file says behind its name."""
  experiments = {}
  for file in folder().glob("[!_]*.py"):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    several = getattr(module, "EXPERIMENTS", None)
    text = module.__doc__
    for name, one in (several or {file.stem: module.EXPERIMENT}).items():
      experiments[name] = one, text.partition(f"\n{name}: ")[2] or text
  return dict(sorted(experiments.items()))


def load_experiment(name: str) -> Experiment:
  """Returns an experiment's settings."""
  experiments = all_experiments()
  if name not in experiments:
    raise unknown_name("experiment", name, experiments)
  return experiments[name][0]


def described() -> dict[str, str]:
  """Returns what the files say of the experiments, by name."""
  return {name: text for name, (_, text) in all_experiments().items()}
