"""What `launch.py` can be asked to do, one function each.

Rooms are imported when their command runs: jax reads its environment only once,
and bad input should not have to wait for what it does not need.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags as absl

from kdjax.core.errors import UserError, program, unknown_name
from kdjax.runner.config import Cluster, Experiment, experiments, flags
from kdjax.runner.config.commands import CONFIGS
from kdjax.runner.config.data import Source, StoredData
from kdjax.runner.config.options import (
  as_dict,
  as_text,
  options,
  value_of,
  with_own_groups,
)
from kdjax.runner.system import cluster
from kdjax.runner.system.platform import prepare_environment

# What stands beside the settings, in any command.
_LAUNCH = {"help": "this help", "version": "the version of kdjax"}
# The experiment of commands that are not for the demo's.
DEFAULT = {
  "compress": "compression_table",
  "quantify": "spurious_background",
  "soft_td": "soft_td",
  "synthesise": "dataset_distillation",
}
# Which images, and which networks: whoever names them means his own run, and
# whoever asks for help wants the defaults of one.
OWN = {one.flag for one in options() if one.group == "data"} | {"help"}
OWN -= {"resident_megabytes", "data_workers", "validation"}
OWN |= {
  "teacher",
  "teacher_from",
  "teacher_cache",
  "student",
  "chain",
  "regime",
}


class Call(NamedTuple):
  """A command with all that it was given.

  Attributes:
    command: its name.
    words: what stood behind it, flags aside.
    given: what was typed, by flag.
    name: the experiment's name.
    experiment: its settings, the flags' included.
    repeat: the command line that repeats it.
  """

  command: str
  words: list[str]
  given: Mapping[str, Any]
  name: str
  experiment: Experiment
  repeat: str


def flags_of(command: str | None, settings: Experiment) -> absl.FlagValues:
  """Makes the flags of a command.

  Args:
    command: its name; None for the flags of all.
    settings: what holds without flags.

  Example:
    >>> sorted(flags_of("reproduce", Experiment()))
    ['accelerator', 'h', 'help', 'version', 'workdir']
  """
  values = absl.FlagValues()
  values.set_gnu_getopt(True)
  launch = {"flag_values": values, "module_name": "launch"}
  for name, text in _LAUNCH.items():
    short = {"short_name": "h"} if name == "help" else {}
    absl.DEFINE_boolean(name, False, text, **launch, **short)
  if command is None or flags.contains(CONFIGS[command], Source):
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
    if other := one.field.metadata["other_flag"]:
      text = f"another name of --{one.flag}"
      absl.DEFINE_string(other, None, text, **group)


def read(argv: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
  """Tells the words of a command line from its flags, whichever command's.

  Args:
    argv: the program's name, then what was typed.

  Returns:
    The words, the command first; what was typed by flag, as text, or as a truth
    value for a switch.

  Raises:
    UserError: for a flag that no command has, or one without its value, or both
      names of one.

  Example:
    >>> read(["launch.py", "cache", "--views=4", "--noremat"])
    (['cache'], {'views': '4', 'remat': False})
  """
  values = flags_of(None, Experiment())
  try:
    words = values(argv)[1:]
  except absl.UnrecognizedFlagError as error:
    left = flags_of(None, Experiment())(argv, known_only=True)[1:]
    command = next((word for word in left if word in COMMANDS), "distill")
    typed = (x for x in left if x.lstrip("-").split("=")[0] == error.flagname)
    raise flags.no_such_flag(
      command, error.flagname, next(typed), CONFIGS
    ) from None
  except (absl.Error, ValueError) as error:  # --noFLAG=VALUE is the latter
    raise UserError(f"{error} (see --help)") from None
  typed = {one: values[one].value for one in values if values[one].present}
  for one in options():
    other = one.field.metadata["other_flag"]
    if other in typed and one.flag in typed:
      raise UserError(
        f"--{other}={typed[other]} --{one.flag}={typed[one.flag]}: two names of"
        " one flag; give one of them"
      )
    if other in typed:
      typed[one.flag] = typed.pop(other)
  return words, typed


def beginning(command: str, given: Mapping[str, Any]) -> tuple[str, str | None]:
  """Says what a command starts from, before its flags.

  Args:
    command: its name.
    given: what was typed, by flag.

  Returns:
    The run's name, and the experiment's whose settings hold; None for the
    defaults of `config`. These hold for one's own data or networks.

  Example:
    >>> beginning("distill", {}), beginning("distill", {"dataset": "./photos"})
    (('mnist_demo', 'mnist_demo'), ('photos', None))
  """
  if given.get("experiment") == "":
    raise UserError(
      f"--experiment=: it is empty; see {program()} list experiments"
    )
  name = given.get("experiment") or DEFAULT.get(command, "mnist_demo")
  if "experiment" in given or not OWN & set(given):
    return name, name
  own = _name_of(given.get("dataset", Experiment().data.dataset))
  if command in DEFAULT:
    return own if "dataset" in given else name, name
  return own, None


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
  """Runs a command.

  Args:
    call: the command.

  Raises:
    KdjaxError: for whatever ends it early.
  """
  flags.check_experiment(call.command, call.name, call.experiment, CONFIGS)
  if flags.contains(CONFIGS[call.command], StoredData):
    from kdjax.runner.pipeline import rules

    rules.check(CONFIGS[call.command], call.experiment, call.given)
  COMMANDS[call.command](call)


def _distill(call: Call) -> None:
  _check_no_words(call)
  cluster.join(call.experiment.cluster, _identity(call.experiment))
  from kdjax.runner.jobs import distill as run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _identity(experiment: Experiment) -> dict[str, dict[str, Any]]:
  """What all processes of a run must be asked for alike."""
  settings = as_dict(experiment)
  del settings["cluster"], settings["run"]["workdir"]
  return settings


def _cache(call: Call) -> None:
  _check_no_words(call)
  from kdjax.runner.jobs import cache

  cache.cache(call.experiment, name=call.name, command=call.repeat)


def _quantify(call: Call) -> None:
  _check_no_words(call)
  from kdjax.runner.jobs.knowledge import job as run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _soft_td(call: Call) -> None:
  _check_no_words(call)
  from kdjax.runner.jobs.soft_td import job as run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _synthesise(call: Call) -> None:
  _check_no_words(call)
  from kdjax.runner.jobs.synthesis import job as run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _check_no_words(call: Call) -> None:
  if call.words:
    raise UserError(
      f"{call.command} takes no further words, got {' '.join(call.words)!r}"
    )


def _compare(call: Call) -> None:
  from kdjax.runner.jobs.compare import job as compare

  names = call.words or call.experiment.search.methods.split()
  compare.compare(call.experiment, names, name=call.name, command=call.repeat)


def _reproduce(call: Call) -> None:
  from kdjax.runner.jobs import reproduce

  stored = reproduce.read(call.words)
  given, before = call.experiment.run, stored.experiment.run
  accelerator = given.accelerator
  if accelerator == "auto":
    accelerator = before.accelerator
  prepare_environment(accelerator, before.host_devices)
  chosen = dataclasses.replace(
    before, workdir=given.workdir, accelerator=accelerator, resume=True
  )
  from kdjax.runner.jobs import distill as run

  workdir = run.run(
    dataclasses.replace(stored.experiment, run=chosen, cluster=Cluster()),
    name=stored.results["name"],
    command=call.repeat,
  )
  reproduce.check(stored, workdir)


def _compress(call: Call) -> None:
  _check_no_words(call)
  from kdjax.runner.jobs.compress import job as run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _export(call: Call) -> None:
  _check_no_words(call)
  from kdjax.runner.jobs.export import job as export

  export.export(
    call.experiment.export,
    workdir=call.experiment.run.workdir,
    data_dir=call.experiment.data.data_dir,
    command=call.repeat,
  )


def _list(call: Call) -> None:
  from kdjax.runner.jobs import list

  print(
    list.listing(
      call.words,
      experiments=experiments.described(),
      experiment=call.experiment,
    )
  )


def _plot(call: Call) -> None:
  from kdjax.runner.report import record
  from kdjax.runner.system.workdir import claim

  figure = " ".join(call.words)
  if figure not in record.FIGURES:
    raise unknown_name("figure", figure, record.FIGURES)
  workdir = claim(call.experiment.run.workdir, f"plot-{figure}")
  print(*record.write_figure(workdir, figure), sep="\n")


COMMANDS = {
  "distill": _distill,
  "sweep": _distill,
  "compare": _compare,
  "cache": _cache,
  "quantify": _quantify,
  "soft_td": _soft_td,
  "synthesise": _synthesise,
  "reproduce": _reproduce,
  "compress": _compress,
  "export": _export,
  "list": _list,
  "plot": _plot,
}
