"""What `launch.py` can be asked to do, one function each.

Rooms are imported when their command runs: jax reads its environment only once,
and bad input should not have to wait for what it does not need.
"""

import dataclasses
import shlex
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from kdjax import cluster
from kdjax.accelerator import prepare_environment
from kdjax.config import (
  Cluster,
  Compression,
  Computing,
  Experiment,
  Export,
  Teaching,
)
from kdjax.errors import UserError, unknown_name
from kdjax.options import as_dict, options

# The experiment of commands that are not for the demo's.
DEFAULT = {
  "compress": "compression_table",
  "quantify": "spurious_background",
  "soft_td": "soft_td",
  "synthesise": "dataset_distillation",
}
# Commands that need the teacher's network.
LIVE = {"compare", "compress", "quantify", "soft_td", "synthesise"}
# Commands that open no data set of their own.
STORED = {"export", "list", "plot", "reproduce"}
# Settings that a command does not know, and would not heed.
SEVERAL = {field.name for field in dataclasses.fields(Teaching)}
ELSEWHERE = SEVERAL | {"regime", "transfer_dataset", "teacher_view"}
# What only a run that can go on after a kill heeds in all its trainings.
GUARDED = {"keep_best", "best_metric", "nan", "nan_patience"}
# What only trainings that a log follows heed.
LOGGED = {"accumulate_steps", "profile_steps", "members_at_once", "shard"}
# Those of a run in several processes.
JOINT = {field.name for field in dataclasses.fields(Cluster)}
# What only trained networks that are put beside each other heed.
TIMED = {"latency"}
# What leaves the house.
SHIPPED = {field.name for field in dataclasses.fields(Export)}
TAKEN = {"from", "format", "network", "member"}
TAKEN |= {"workdir", "data_dir", "accelerator"}
# What makes the student of a run small.
SMALL = {field.name for field in dataclasses.fields(Compression)}
# What trainings of their own kind do not heed.
APART = {field.name for field in dataclasses.fields(Computing)} | {
  "views",
  "data_workers",
}
UNKNOWN = {
  "cache": ELSEWHERE
  | GUARDED
  | JOINT
  | TIMED
  | SHIPPED
  | SMALL
  | {"profile_steps", "shard"},
  "compare": SEVERAL - {"teachers", "pool", "teacher_weights"}
  | GUARDED
  | LOGGED
  | JOINT
  | SHIPPED
  | SMALL
  | {"regime"},
  "compress": ELSEWHERE | GUARDED | APART | JOINT | SHIPPED | {"reference"},
  "distill": SHIPPED,
  "list": JOINT | SHIPPED | TIMED,
  "plot": JOINT | SHIPPED | TIMED,
  "quantify": ELSEWHERE | GUARDED | APART | JOINT | SHIPPED | SMALL | TIMED,
  "soft_td": ELSEWHERE | GUARDED | LOGGED | JOINT | SHIPPED | SMALL,
  "sweep": SHIPPED,
  "synthesise": ELSEWHERE | GUARDED | APART | JOINT | SHIPPED | SMALL | TIMED,
}


class Call(NamedTuple):
  """A command with all that it was given.

  Attributes:
    command: its name.
    words: what stood behind it, flags aside.
    name: the experiment's name.
    experiment: its settings, the flags' included.
    repeat: the command line that repeats it.
    describe: () -> docstring of every experiment by name.
  """

  command: str
  words: list[str]
  name: str
  experiment: Experiment
  repeat: str
  describe: Callable[[], Mapping[str, str]]


def run(call: Call) -> None:
  """Runs a command.

  Args:
    call: the command.

  Raises:
    KdjaxError: for whatever ends it early.
  """
  cache = call.experiment.teacher.teacher_cache
  if cache is not None and call.command in LIVE:
    raise UserError(
      f"--teacher_cache={cache}: {call.command} asks the teacher itself"
    )
  for one in options():
    value = getattr(getattr(call.experiment, one.group), one.field.name)
    unknown = one.field.name in UNKNOWN.get(call.command, ())
    if unknown and value != one.field.default:
      raise UserError(f"--{one.flag}={value}: {call.command} does not take it")
  if call.command not in STORED:
    _check_dataset(call.experiment.data.dataset)
  COMMANDS[call.command](call)


def _check_dataset(name: str) -> None:
  """Refuses images of no class before anything is trained on their labels."""
  from kdjax import data

  if data.is_drawn(name):
    raise UserError(
      f"--dataset={name}: its images belong to no classes that could be learned;"
      f" give it as --transfer_dataset={name}, beside a --dataset"
    )


def _distill(call: Call) -> None:
  _check_no_words(call)
  cluster.join(call.experiment.cluster, _identity(call.experiment))
  from kdjax import run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _identity(experiment: Experiment) -> dict[str, dict[str, Any]]:
  """What all processes of a run must be asked for alike."""
  settings = as_dict(experiment)
  del settings["cluster"], settings["run"]["workdir"]
  return settings


def _cache(call: Call) -> None:
  _check_no_words(call)
  from kdjax import cache

  cache.cache(call.experiment, name=call.name, command=call.repeat)


def _quantify(call: Call) -> None:
  _check_no_words(call)
  from kdjax.explain import run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _soft_td(call: Call) -> None:
  _check_no_words(call)
  from kdjax.soft_td import run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _synthesise(call: Call) -> None:
  _check_no_words(call)
  from kdjax.synthesis import run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _check_no_words(call: Call) -> None:
  if call.words:
    raise UserError(
      f"{call.command} takes no further words, got {' '.join(call.words)!r}"
    )


def _compare(call: Call) -> None:
  from kdjax import compare

  names = call.words or call.experiment.search.methods.split()
  compare.compare(call.experiment, names, name=call.name, command=call.repeat)


def _reproduce(call: Call) -> None:
  from kdjax import reproduce

  stored = reproduce.read(call.words, call.repeat)
  given, before = call.experiment.run, stored.experiment.run
  accelerator = given.accelerator
  if accelerator == "auto":
    accelerator = before.accelerator
  prepare_environment(accelerator, before.host_devices)
  chosen = dataclasses.replace(
    before, workdir=given.workdir, accelerator=accelerator, resume=True
  )
  from kdjax import run

  workdir = run.run(
    dataclasses.replace(stored.experiment, run=chosen, cluster=Cluster()),
    name=stored.results["name"],
    command=call.repeat,
  )
  reproduce.check(stored, workdir)


def _compress(call: Call) -> None:
  _check_no_words(call)
  from kdjax.weighing import run

  run.run(call.experiment, name=call.name, command=call.repeat)


def _export(call: Call) -> None:
  _check_no_words(call)
  _check_given(call, TAKEN)
  from kdjax.deploy import export

  export.export(
    call.experiment.export,
    workdir=call.experiment.run.workdir,
    data_dir=call.experiment.data.data_dir,
    command=call.repeat,
  )


def _check_given(call: Call, allowed: Collection[str]) -> None:
  """Refuses settings that a finished run has decided already."""
  for word in shlex.split(call.repeat):
    name = word.partition("=")[0]
    if word.startswith("-") and name.lstrip("-") not in allowed:
      raise UserError(
        f"{word}: {call.command} takes a finished run's settings; only"
        f" --{', --'.join(sorted(allowed))} may be given"
      )


def _list(call: Call) -> None:
  from kdjax import catalogue

  print(
    catalogue.listing(
      call.words, experiments=call.describe(), experiment=call.experiment
    )
  )


def _plot(call: Call) -> None:
  from kdjax.report import record
  from kdjax.workdir import claim

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
