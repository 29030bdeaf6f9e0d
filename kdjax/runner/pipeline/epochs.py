"""The epochs of a training: plain, or guarded, observed and profiled."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from kdjax import data
from kdjax.core.errors import TeacherError, warn
from kdjax.core.teacher import Teacher
from kdjax.data.length_groups import read_by_length
from kdjax.runner.pipeline import capacity
from kdjax.runner.pipeline.cached_teacher import answers_of
from kdjax.runner.pipeline.setup import Setup, TrainSpec
from kdjax.runner.report.logs import RunLog
from kdjax.runner.report.progress import compiling
from kdjax.train import loop, profiling
from kdjax.train.devices import memory, processes
from kdjax.train.devices.placement import local
from kdjax.train.epoch import Epoch, portions
from kdjax.train.fault_tolerance import nan_guard, resume
from kdjax.train.observer import Observer
from kdjax.train.population.arrangement import train_states


def epochs(
  setup: Setup,
  train_spec: TrainSpec,
  teachers: Mapping[str, Teacher] | None = None,
  **options: Any,
) -> Iterator[Epoch]:
  """Trains every arm on the training images, epoch by epoch."""
  settings, resident = (
    setup.experiment.computing,
    data.resident(setup.train_split),
  )
  if resident and settings.preflight:
    size = sum(x.nbytes for x in jax.tree.leaves(setup.train_split.images))
    maps = [x.targets for x in train_spec.loaders.values() if x.target_view]
    size += sum(x.nbytes for x in jax.tree.leaves(maps))
    memory.check_data(size, memory.free_memory(local(setup.devices)))
  workers = setup.experiment.data.data_workers
  images, lengths = setup.train_split.images, _lengths(train_spec)
  with data.open_reader(setup.train_split, workers=workers) as read:
    if lengths is not None:
      resident, read = False, partial(read_by_length, images, lengths)
    yield from loop.train(
      train_spec.network,
      train_spec.optimizer,
      train_spec.arms,
      train_spec.loaders,
      images if resident else None,
      epochs=train_spec.epochs,
      task=train_spec.task,
      sample=setup.sample,
      read=None if resident else read,
      teachers=teachers,
      devices=setup.devices,
      together=train_spec.together,
      most=train_spec.most,
      apart=train_spec.apart,
      variables=train_spec.variables,
      partition=train_spec.partition,
      **options,
    )


def _lengths(train_spec: TrainSpec) -> np.ndarray | None:
  """The texts' lengths, where a loader batches by them; not all setups have any."""
  lengths = (loader.lengths for loader in train_spec.loaders.values())
  return next((one for one in lengths if one is not None), None)


def with_nan_guard(setup: Setup, train_spec: TrainSpec) -> TrainSpec:
  """Gives a training schemes that a bad step does not take by surprise."""
  settings = setup.experiment.run
  arms = {
    name: arm._replace(
      scheme=nan_guard.guard(arm.scheme, settings.nan, settings.nan_patience)
    )
    for name, arm in train_spec.arms.items()
  }
  return train_spec._replace(arms=arms)


def initial_states(
  setup: Setup,
  train_spec: TrainSpec,
  teachers: Mapping[str, Teacher] | None = None,
) -> dict[str, Any]:
  """Returns what a training starts from."""
  return loop.initial_states(
    train_spec.network,
    train_spec.optimizer,
    train_spec.arms,
    task=train_spec.task,
    sample=setup.sample,
    teachers=teachers,
    variables=train_spec.variables,
  )


def observed_epochs(
  setup: Setup,
  train_spec: TrainSpec,
  log: RunLog,
  meter: profiling.Meter,
  teachers: Mapping[str, Teacher] | None = None,
  start: Epoch | None = None,
) -> Iterator[Epoch]:
  """Trains as `epochs` does, with all that a run wants to know of it.

  Args:
    start: as it was yielded, to go on from there; None for the beginning.
  """
  follow = partial(_observed, setup, train_spec, log, meter, teachers)
  initial = partial(initial_states, setup, train_spec, teachers)
  following = _watched(setup, log, follow, start, initial)
  yield from meter.watch(following, first=start.step if start else 0)


def _watched(setup, log, follow, start, initial) -> Iterator[Epoch]:
  """The epochs, all of them finite, with a line for each bad portion."""
  settings = setup.experiment.run
  advice = "lower the learning rate, or the method's weight"
  if log.recoverable and settings.nan == "stop":
    advice += (
      "; or pass over such steps: the same command with --nan=skip"
      f" --workdir={log.workdir} goes on from the last good state kept"
    )
  following = nan_guard.finite_epochs(
    follow,
    start,
    policy=settings.nan,
    patience=settings.nan_patience,
    initial=initial,
    advice=advice,
  )
  lost_steps = None if start is None else nan_guard.lost_steps(start)
  for epoch in _answered(log, following):
    before, lost_steps = lost_steps, nan_guard.lost_steps(epoch)
    for name, steps in lost_steps.items():
      new = sum(steps) - sum(before[name] if before else ())
      if new and processes.is_first():
        warn(
          f"epoch {epoch.number}: {new} steps of the {name}, over all its"
          f" members, were not finite and do not count (--nan={settings.nan})"
        )
    yield epoch


def _answered(log: RunLog, following: Iterator[Epoch]) -> Iterator[Epoch]:
  """The epochs; where a served teacher fails, it is said how to go on."""
  try:
    yield from following
  except TeacherError as error:
    raise TeacherError(
      f"{error}; the same command with --workdir={log.workdir} goes on from the"
      " last state kept"
    ) from None


def _observed(
  setup, train_spec, log, meter, teachers, start
) -> Iterator[Epoch]:
  """The epochs, their programs measured, the students' profiled if asked for."""
  students = train_spec.arms.keys() == setup.student.arms.keys()
  portion_steps = setup.experiment.run.checkpoint_steps
  answers = {"teacher": partial(answers_of, setup.cached)}
  following = epochs(
    setup,
    train_spec,
    teachers,
    answers=answers if students and setup.streams_answers else None,
    gradient_metrics=setup.experiment.distillation.gradient_metrics,
    portion=portion_steps,
    start=start,
    observer=_observer(setup, train_spec, meter, quiet=log.quiet),
  )
  window = setup.values.profile_window
  if window is None or not students or log.quiet:
    return following
  length = max(loader.steps for loader in train_spec.loaders.values())
  first = start.step if start else 0
  return profiling.trace_epochs(
    following,
    portions(first, train_spec.epochs * length, length, portion_steps),
    window,
    log.workdir / "profile",
  )


def _observer(
  setup, train_spec: TrainSpec, meter: profiling.Meter, *, quiet: bool
) -> Observer:
  """Says what every program takes before its first step, and counts its work."""
  programs = {}
  meshed = setup.student.partition is not None
  sharers = len(setup.devices) if meshed else 1

  def step(run, arguments):
    if run not in programs:
      title = " + ".join(arguments[0])
      compiling(title)
      programs[run] = needs = memory.needs(
        run,
        arguments,
        sharers=sharers,
        within=_rollouts(train_spec, arguments[0]),
      )
      meter.needs.append(needs)
      if setup.experiment.computing.preflight:
        line = _checked(setup, train_spec, needs, arguments)
        if not quiet:
          print(line, flush=True)
    examples = np.sum(arguments[2] >= 0) * len(setup.devices)
    meter.count(programs[run].operations * examples)

  return Observer(step, meter.input, resume.cut)


def _checked(setup, train_spec: TrainSpec, needs, arguments) -> str:
  """One line of what a program takes; where that is too much, what has room."""
  title, devices = " + ".join(arguments[0]), setup.devices
  free = memory.free_memory(local(devices))
  try:
    return memory.check(needs, title, devices, free)
  except memory.DoesNotFit as error:
    if any(arm.scheme.layout for arm in train_spec.arms.values()):
      raise
    advice = capacity.step_advice(
      setup.experiment, needs, arguments, devices, train_spec.partition, free
    )
    raise memory.DoesNotFit(f"{error}; {advice}", error.share) from None


def _rollouts(train_spec: TrainSpec, states: Mapping[str, Any]) -> dict:
  """What of a step's memory is keys and values of the texts that it writes."""
  if train_spec.kv_cache is None:
    return {}
  members = sum(
    len(train_states(states[name])[0].step)
    for name, arm in train_spec.arms.items()
    if arm.scheme.asks and name in states
  )
  return {"KV cache": members * train_spec.kv_cache(train_spec.partition)}
