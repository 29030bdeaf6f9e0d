"""How every command runs: build -> stages -> measure -> results.json -> page.

A job says what is its own; `run_job` does what all share. Modules that define
jobs are imported to find their names: what computes is imported when it is called.
"""

import importlib
import pkgutil
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from kdjax.core import plugins, timing
from kdjax.core.errors import warn
from kdjax.runner.config.options import as_dict
from kdjax.runner.report import logs
from kdjax.runner.system.workdir import CHECKPOINTS, RESULTS, claim
from kdjax.train.devices import processes

# The command where none is named stands first.
DEFAULT = "distill"
# Of what a stopped run must find again, what results.json says of the data.
FINGERPRINTS = {
  "sha256 of the training images": "shown",
  "sha256 of the scored images": "scored",
  "sha256 of the training texts": "shown",
  "sha256 of the test texts": "scored",
}


class Plan(NamedTuple):
  """What settings come to, checked, before a folder is made.

  Attributes:
    setup: what the stages take.
    experiment: the settings, with what was left open.
    devices: what to run on.
    inputs: () -> what a stopped run must find again, JSON values by what they are.
    warnings: what is to be said of the run before it begins.
    resumable: whether a stopped run goes on; one that does not leaves nothing.
  """

  setup: Any
  experiment: Any
  devices: Sequence[Any]
  inputs: Callable[[], Mapping[str, Any]] = dict
  warnings: Sequence[str] = ()
  resumable: bool = True


class Context(NamedTuple):
  """What stages share.

  Attributes:
    command: the command line that repeats the run.
    workdir: the run's folder.
    log: writes metrics.jsonl; `fit` keeps checkpoints beside it.
    values: by stage, what it returned.
    seconds: by stage, how long it took; a stage may add parts of its own.
  """

  command: str
  workdir: Path
  log: logs.RunLog
  values: dict[str, Any]
  seconds: dict[str, float]

  def stored(self, name: str, make: Callable[[], Any]) -> Any:
    """Makes a value, or reads the one that a stopped run made.

    Args:
      name: of its folder.
      make: () -> dicts and lists of arrays and of what JSON has, at least one
        array.
    """
    from kdjax.runner.system import stored_values

    folder = self.workdir / CHECKPOINTS / "values" / name
    return stored_values.stored(folder, make)


class Stage(NamedTuple):
  """A step of a job, such as the training of the teacher.

  Attributes:
    name: of its value and its time.
    run: (setup, context) -> its value. A stopped job runs all stages again: what
      `fit` trained, or `context.stored` keeps, is read instead of computed.
  """

  name: str
  run: Callable[[Any, Context], Any]


class Measured(NamedTuple):
  """What a job comes to.

  Attributes:
    scores: JSON values by name, for results.json.
    details: what else the page takes, by name.
  """

  scores: dict[str, Any]
  details: Mapping[str, Any] = MappingProxyType({})


class Job(NamedTuple):
  """A command that trains or measures; found wherever it stands in `jobs`.

  Attributes:
    name: the command.
    config: the dataclass of its settings.
    example: the experiment whose settings hold where none is named.
    build: (settings, words behind the command) -> Plan; refuses what is wrong.
    stages: in their order, run by all processes.
    measure: (setup, context) -> Measured; run, as all after it, by the first.
    page: (workdir, results, **details) -> the page's path; None for no page.
    summary: results -> what the terminal shows.
    words: how the words behind the command are called; "" where it takes none.
    folder: how the run's folder is called by default.
  """

  name: str
  config: type
  example: str
  build: Callable[..., Plan]
  stages: tuple[Stage, ...]
  measure: Callable[[Any, Context], Measured]
  page: Callable[..., Path] | None
  summary: Callable[[Mapping[str, Any]], str]
  words: str = ""
  folder: str = "{name}"


class Command(NamedTuple):
  """A command that is no job: it prints, draws, or starts another job.

  Attributes:
    name: the command.
    config: the dataclass of its settings.
    run: `cli.Call` -> None.
    example: as a job's.
  """

  name: str
  config: type
  run: Callable[[Any], None]
  example: str = "mnist_demo"


class LazyModule:
  """A module that is imported when one of its functions is called."""

  def __init__(self, name: str):
    self._name = name

  def __getattr__(self, function: str) -> Callable[..., Any]:
    def call(*arguments, **keywords):
      module = importlib.import_module(self._name)
      return getattr(module, function)(*arguments, **keywords)

    return call


def find_jobs() -> dict[str, Job | Command]:
  """All jobs by name: those of each file of `jobs`, and of each folder's `job`."""
  package = importlib.import_module("kdjax.runner.jobs")
  jobs = {}
  files = pkgutil.iter_modules(package.__path__)
  for file in sorted(files, key=lambda one: one.name != DEFAULT):
    name = f"{package.__name__}.{file.name}" + ".job" * file.ispkg
    jobs |= jobs_in(importlib.import_module(name))
  return jobs


def jobs_in(module: ModuleType) -> dict[str, Job | Command]:
  """The jobs that a module defines, by name."""
  values = vars(module).values()
  return {one.name: one for one in values if isinstance(one, Job | Command)}


def run_job(
  job: Job, config: Any, words: Sequence[str] = (), *, name: str, command: str
) -> Path:
  """Runs a job from its settings to its page; returns its folder.

  Args:
    words: what stood behind the command.
    name: the experiment's name, for people.
    command: the command line that repeats it.
  """
  run = partial(_run, job, config, words, name=name, command=command)
  if not config.run.profile:
    return run()
  from kdjax.runner.report import profile

  with profile.profiled() as found:
    workdir = run()
  if processes.is_first():
    print(f"\n{profile.write(workdir, found)}")
  return workdir


def _run(job: Job, config: Any, words: Sequence[str], *, name, command) -> Path:
  """As `run_job`, which may watch it."""
  seconds, quiet = {}, not processes.is_first()
  with timed(seconds, "total"):
    with timed(seconds, "data"), timing.part("data"):
      plan = job.build(config, *words)
      inputs = {} if quiet else plan.inputs()
    workdir = _claim(job, plan, name, inputs)
    without_files = quiet or not plan.resumable
    with (
      _compiling(plan),
      logs.RunLog(workdir, recoverable=True, quiet=without_files) as log,
    ):
      context = Context(command, workdir, log, {}, seconds)
      for stage in job.stages:
        with timed(seconds, stage.name), timing.part("steps"):
          context.values[stage.name] = stage.run(plan.setup, context)
    if quiet:
      return workdir
    with (
      timed(seconds, "evaluation"),
      timing.part("evaluation"),
      _compiling(plan),
    ):
      measurement = job.measure(plan.setup, context)
  about = _about(plan, context, inputs)
  results = measurement.scores | {"name": name, "command": command} | about
  # Drawing needs matplotlib, which bad input should not have to wait for; and
  # nothing that is drawn can cost the results.
  with timing.part("report"):
    logs.write_json(workdir / RESULTS, results)
    page = job.page and job.page(workdir, results, **measurement.details)
  shutil.rmtree(workdir / CHECKPOINTS, ignore_errors=True)
  print(f"\n{job.summary(results)}")
  if page is not None:
    print(f"\n{page}")
  return workdir


def _compiling(plan: Plan) -> AbstractContextManager[None]:
  """Over a mesh every program is one of several devices, see `compiled_anew`."""
  from kdjax.train.devices.placement import compiled_anew

  return compiled_anew(plan.devices if plan.experiment.computing.mesh else ())


def _claim(job: Job, plan: Plan, name: str, inputs) -> Path:
  settings = plan.experiment.run
  workdir = claim(
    settings.workdir,
    job.folder.format(name=name),
    as_dict(plan.experiment) if plan.resumable else None,
    resume=settings.resume,
    fingerprints=inputs,
  )
  if processes.is_first():
    for line in plan.warnings:
      warn(line)
  return workdir


def _about(plan: Plan, context: Context, inputs) -> dict[str, Any]:
  """What results.json says of every run besides its scores."""
  from kdjax.runner.system import environment
  from kdjax.train.fault_tolerance import resume

  about = {
    "experiment": as_dict(plan.experiment),
    "environment": environment.describe(plan.devices),
    "fingerprints": {
      name: inputs[what]
      for what, name in FINGERPRINTS.items()
      if what in inputs
    },
    "performance": context.log.performance,
    "seconds": context.seconds,
  }
  if plan.experiment.run.nan != "stop":
    history = logs.read_history(context.workdir)
    about["lost_steps"] = resume.lost_steps(history)
  if digests := plugins.digests():
    about["plugins"] = digests
  return about


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
  """Adds to `seconds` how long a phase takes."""
  start = time.perf_counter()
  yield
  seconds[phase] = time.perf_counter() - start
