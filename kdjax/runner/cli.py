"""What `launch.py` is asked to do: a command, checked, is the start of its job.

What computes is imported when it runs: jax reads its environment only once, and
bad input should not have to wait for what it does not need.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from absl import flags as absl

from kdjax.core import plugins
from kdjax.core.errors import UserError, program
from kdjax.runner.config import Experiment, flags
from kdjax.runner.config.language import PretrainedTexts
from kdjax.runner.config.options import (
  as_dict,
  as_text,
  options,
  value_of,
  with_own_groups,
)
from kdjax.runner.job import Command, Job, find_jobs, jobs_in, run_job
from kdjax.runner.system import cluster

# What stands beside the settings, in any command.
_LAUNCH = {"help": "this help", "version": "the version of kdjax"}
COMMANDS = find_jobs()
CONFIGS = {name: one.config for name, one in COMMANDS.items()}
# Its settings are not for one's own data or networks.
DEMO = "mnist_demo"


class Call(NamedTuple):
  """A command with all that it was given.

  Attributes:
    words: what stood behind it, flags aside.
    flags: what was typed, by flag.
    experiment: its settings, the flags' included.
    repeat: the command line that repeats it.
  """

  command: str
  words: list[str]
  flags: Mapping[str, Any]
  name: str
  experiment: Experiment
  repeat: str


def flags_of(command: str | None, settings: Experiment) -> absl.FlagValues:
  """Makes the flags of a command.

  Args:
    command: its name; None for the flags of all.
  """
  values = absl.FlagValues()
  values.set_gnu_getopt(True)
  launch = {"flag_values": values, "module_name": "launch"}
  for name, text in _LAUNCH.items():
    short = {"short_name": "h"} if name == "help" else {}
    absl.DEFINE_boolean(name, False, text, **launch, **short)
  text = (
    "FILE.py or a module, several with commas: imported before all else, to"
  )
  text += " add your own networks, data sets and methods"
  absl.DEFINE_string("plugins", None, text, **launch)
  if command is None or flags.takes_experiment(CONFIGS[command]):
    text = "one of `list experiments`; flags override it"
    absl.DEFINE_string("experiment", None, text, **launch)
  configs = [CONFIGS[command]] if command else [Experiment, *CONFIGS.values()]
  for config in configs:
    _define(values, config, with_own_groups(settings, config))
  return values


def _define(values: absl.FlagValues, config: type, settings: Experiment):
  """Makes the flags of a class, but for those that are there."""
  for one in options(config):
    if one.flag in values:
      continue
    default = as_text(value_of(settings, one))
    switch = isinstance(default, bool)
    define = absl.DEFINE_boolean if switch else absl.DEFINE_string
    text = one.field.metadata["help"]
    group = {"flag_values": values, "module_name": one.group}
    define(one.flag, default, text, **group)
    for other in one.flags[1:]:
      text = f"another name of --{one.flag}"
      absl.DEFINE_string(other, None, text, **group)


def read(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
  """Tells the words of a command line from its flags, whichever command's."""
  values = flags_of(None, Experiment())
  try:
    words = values(argv)[1:]
  except absl.UnrecognizedFlagError as error:
    others = flags_of(None, Experiment())(argv, known_only=True)[1:]
    command = next((word for word in others if word in COMMANDS), "distill")
    texts = (x for x in others if x.lstrip("-").split("=")[0] == error.flagname)
    raise flags.no_such_flag(
      command, error.flagname, next(texts), CONFIGS
    ) from None
  except (absl.Error, ValueError) as error:  # --noFLAG=VALUE is the latter
    raise UserError(f"{error} (see --help)") from None
  return words, {
    one: values[one].value for one in values if values[one].present
  }


def by_setting(command: str, values: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what was typed by each setting's own flag: some have two."""
  values = dict(values)
  for one in options(CONFIGS[command]):
    names = [flag for flag in one.flags if flag in values]
    if len(names) > 1:
      twice = " ".join(f"--{name}={values[name]}" for name in names)
      raise UserError(f"{twice}: two names of one flag; give one of them")
    for name in names:
      values[one.flag] = values.pop(name)
  return values


def add_jobs(modules: Iterable[ModuleType]) -> None:
  """Adds the jobs of plugins to the commands; they are found as the others are."""
  for module in modules:
    for name, one in jobs_in(module).items():
      if COMMANDS.setdefault(name, one) is not one:
        raise UserError(
          f"--plugins: job {name!r} of {module.__name__} is there already"
        )
      CONFIGS[name] = one.config


def read_some(argv: Sequence[str], names: Sequence[str]) -> dict[str, str]:
  """Returns what was typed for some flags, without a look at the others."""
  values = absl.FlagValues()
  values.set_gnu_getopt(True)
  for name in names:
    absl.DEFINE_string(name, None, "", flag_values=values)
  try:
    values(argv, known_only=True)
  except absl.Error:  # is said where all flags are read
    return {}
  return {one: values[one].value for one in values if values[one].present}


def beginning(
  command: str, values: Mapping[str, Any]
) -> tuple[str, str | None]:
  """Says what a command starts from, before its flags.

  Returns:
    The run's name, and the experiment's whose settings hold; None for the
    defaults of `config`. These hold for one's own data or networks.

  Example:
    >>> beginning("distill", {}), beginning("distill", {"dataset": "./photos"})
    (('mnist_demo', 'mnist_demo'), ('photos', None))
  """
  if values.get("experiment") == "":
    raise UserError(
      f"--experiment=: it is empty; see {program()} list experiments"
    )
  name = values.get("experiment") or COMMANDS[command].example
  settings = flags.by_flag(CONFIGS[command]).items()
  names_own = any(one.own_run and flag in values for flag, one in settings)
  # Who asks for help wants the defaults of a run of his own.
  if "experiment" in values or not (names_own or "help" in values):
    return name, name
  dataset_name = _name_of(values.get("dataset", Experiment().data.dataset))
  # What is distill by another name begins as that does.
  alike = CONFIGS[command] is CONFIGS["distill"]
  if COMMANDS[command].example != DEMO and not alike:
    return dataset_name if "dataset" in values else name, name
  return dataset_name, None


def for_own_data(command: str, settings: Experiment) -> Experiment:
  """Leaves out an example's views where inputs may be no images."""
  if not flags.contains(CONFIGS[command], PretrainedTexts):
    return settings
  teacher, student = (
    dataclasses.replace(one, augment="none")
    for one in (settings.teacher, settings.student)
  )
  return dataclasses.replace(settings, teacher=teacher, student=student)


def _name_of(dataset: str) -> str:
  """A data set's name, fit for a folder: of a path the last part."""
  part = dataset.rstrip("/'\") ")
  if dataset.startswith((".", "~", os.sep)) or os.path.isdir(dataset):
    part = os.path.abspath(os.path.expanduser(dataset))
  elif "(" not in dataset:
    part = part.partition("/")[0]
  name = re.sub(r"[^\w.-]+", "_", part.rpartition("/")[2]).strip("_")
  return name[:80] or "run"


def run(call: Call) -> None:
  """Runs a command."""
  flags.check_experiment(call.command, call.name, call.experiment, CONFIGS)
  config = CONFIGS[call.command]
  if flags.trains(config):
    from kdjax.runner.pipeline import defaults, rules

    experiment = defaults.as_begun(config, call.experiment, call.flags)
    rules.check(config, experiment, call.flags)
    call = call._replace(experiment=experiment)
  start(COMMANDS[call.command], call)


def start(job: Job | Command, call: Call) -> None:
  """Starts a job, once all processes that it is to run in have met."""
  if isinstance(job, Command):
    job.run(call)
    return
  if call.words and not job.words:
    raise UserError(
      f"{call.command} takes no further words, got {' '.join(call.words)!r}"
    )
  cluster.join(call.experiment.cluster, _identity(call))
  run_job(job, call.experiment, call.words, name=call.name, command=call.repeat)


def _identity(call: Call) -> list[Any]:
  """What all processes of a run must be asked for alike."""
  settings = as_dict(call.experiment)
  del settings["cluster"], settings["run"]["workdir"]
  return [call.command, call.words, settings, plugins.digests()]
