"""Training as a run does it: the log, the progress bar, the saved teacher."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax import evaluate
from kdjax.core import storage, timing
from kdjax.core.errors import quantity
from kdjax.core.task import Task, final_score
from kdjax.core.teacher import Teacher
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import best_epochs as best_of
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.epochs import (
  initial_states,
  observed_epochs,
  with_nan_guard,
)
from kdjax.runner.pipeline.partition import placed
from kdjax.runner.pipeline.setup import Setup, TrainSpec, network_note
from kdjax.runner.pipeline.tokens import keep_tokenizer
from kdjax.runner.report.logs import RunLog
from kdjax.runner.report.progress import Advance, progress
from kdjax.train import profiling
from kdjax.train.arm import Arm
from kdjax.train.devices import memory
from kdjax.train.devices.placement import local
from kdjax.train.epoch import Epoch
from kdjax.train.fault_tolerance import nan_guard, resume


class FitResult(NamedTuple):
  """What training arms gives.

  Attributes:
    networks: variables by arm, with a leading axis of members.
    together: by arm of networks that learn together, the variables of all of
      them, with leading axes (members, roles).
    train_spec: what was trained, with as many members side by side as fit.
  """

  networks: dict[str, Any]
  together: dict[str, Any]
  train_spec: TrainSpec


def obtain_teacher(
  experiment: Experiment,
  setup: Setup,
  workdir: Path,
  log: RunLog,
  arms: Iterable[Arm],
  watch: Callable[[int, dict[str, Any]], None] | None = None,
) -> Any:
  """Loads the teacher, or trains and saves it, with those trained beside it.

  Their variables have a leading axis (1,) or (T,); None where the teacher is cached, or
  nobody learns from one and none was given.
  """
  keep_tokenizer(setup.dataset, workdir)
  if setup.cached is not None:
    return None
  if not setup.trains_teacher:
    networks = jax.tree.map(
      lambda x: np.asarray(x)[None], setup.saved_teacher.load()
    )
    return placed(networks, setup.teacher.partition)
  is_start = setup.start is not None and setup.start.of_teacher
  if not is_start and not any(arm.teacher for arm in arms):
    return None
  result = fit(setup, setup.teacher, log, watch=watch)
  networks = result.networks["teacher"]
  note = network_note(setup, setup.teacher.model.text)
  note["validation"] = experiment.data.validation
  for number in range(len(jax.tree.leaves(networks)[0])):
    one = jax.tree.map(lambda x, i=number: x[i], networks)
    folder = f"teacher_{number}" if number else "teacher"
    storage.save_network(workdir / folder, one, note)
  return networks


def fit(
  setup: Setup,
  train_spec: TrainSpec,
  log: RunLog,
  teachers: Mapping[str, Teacher] | None = None,
  watch: Callable[[int, dict[str, Any]], None] | None = None,
  best: best_of.Best | None = None,
) -> FitResult:
  """Trains every arm, logging each epoch, from where a killed run has come to.

  Args:
    watch: is shown every epoch's number and variables by arm. The next epoch
      reuses their memory: it must copy what it keeps.
  """
  while True:
    try:
      result = _fit(setup, train_spec, log, teachers, watch, best)
      return result._replace(train_spec=train_spec)
    except memory.DoesNotFit as error:
      train_spec = train_spec._replace(most=fewer(setup, train_spec, error))
    if not log.quiet:
      print(
        f"memory is short: {quantity(train_spec.most, 'network')} at a time, the"
        " others wait their turn (--members_at_once)",
        flush=True,
      )


def fewer(setup: Setup, train_spec: TrainSpec, error: memory.DoesNotFit) -> int:
  """Says how many members may fit where those that were tried do not."""
  setting = setup.experiment.computing.members_at_once
  owners = len(setup.devices) if train_spec.apart else 1
  now = train_spec.most or -(-train_spec.members // owners)
  # Processes would have to agree on it.
  alone = len(setup.devices) == len(local(setup.devices))
  if setting is not None or now == 1 or not (train_spec.together and alone):
    raise error
  # Not all of it grows with the members.
  return max(1, min(now - 1, int(0.9 * error.share * now)))


def _fit(setup, train_spec, log, teachers, watch, best) -> FitResult:
  """As `fit`, if it fits into memory."""
  title = " + ".join(train_spec.arms)
  train_spec = with_nan_guard(setup, train_spec)
  # Only the form of what was kept is asked for.
  initial = partial(
    jax.eval_shape, partial(initial_states, setup, train_spec, teachers)
  )
  with _kept(setup, train_spec, log, initial, watch) as (epoch, keep):
    networks, epochs_before = None, 0
    if epoch is not None:
      log.rewind(train_spec.arms, epoch.step)
      networks = _networks(train_spec, epoch)
      epochs_before = epoch.number - (not epoch.ended)
    bar = progress(
      train_spec.epochs,
      title,
      train_spec.images,
      counted=train_spec.task.words.counted,
      done=epochs_before,
    )
    with bar as advance:
      meter = profiling.Meter(setup.devices)
      following = observed_epochs(
        setup, train_spec, log, meter, teachers, epoch
      )
      for epoch in following:
        if epoch.ended:
          networks = _networks(train_spec, epoch)
          if watch is not None:
            watch(epoch.number, networks)
          rows = _log_epoch(
            setup, train_spec, log, epoch, networks, meter.lap()
          )
          if best is not None and not log.quiet:
            best_of.keep(
              best, epoch.number, networks["student"], rows["student"]
            )
          _advance(advance, epoch, train_spec.task, rows)
        else:
          _advance(advance, epoch, train_spec.task)
        keep(epoch, last=epoch.ended and epoch.number == train_spec.epochs)
      log.performance[title] = meter.summary() | {
        "members": train_spec.members,
        "members_at_once": train_spec.most,
      }
  together = {
    name: jax.vmap(arm.scheme.all_networks)(epoch.states[name])
    for name, arm in train_spec.arms.items()
    if arm.scheme.all_networks is not None
  }
  return FitResult(networks, together, train_spec)


def _kept(setup, train_spec, log, initial, watch):
  """Where the training goes on, and how it is kept; see `recoverable`.

  Who watches wants to see every epoch: such a training begins anew.
  """
  if not log.recoverable or watch is not None:
    return resume.forgetful()
  return resume.recoverable(
    log.workdir / resume.FOLDER / "-".join(train_spec.arms),
    initial,
    minutes=setup.experiment.run.checkpoint_minutes,
  )


def _advance(
  advance: Advance, epoch: Epoch, task: Task, rows: Mapping | None = None
):
  """Shows an epoch, or the part of one, by the rows that were logged of it."""
  loss = float(np.mean([np.mean(_loss(epoch, arm)) for arm in epoch.sums]))
  if rows is None:
    return advance(loss, epochs=0)
  row = rows.get("student") or next(iter(rows.values()))
  scores = row.get(f"test_{task.score}")
  text = None if scores is None else task.words.told(float(np.mean(scores)))
  return advance(loss, score=text)


def _loss(epoch: Epoch, arm: str) -> np.ndarray:
  # An epoch without a single good step has no loss.
  some_steps = epoch.sums[arm]["loss"][1] > 0
  return np.where(some_steps, epoch.metrics[arm]["loss"], np.nan)


def _networks(train_spec: TrainSpec, epoch: Epoch) -> dict[str, Any]:
  return {
    name: jax.vmap(arm.scheme.network)(epoch.states[name])
    for name, arm in train_spec.arms.items()
  }


def _log_epoch(
  setup, train_spec, log, epoch, networks, speed
) -> dict[str, dict]:
  """Writes one row an arm, and returns them."""
  every = setup.experiment.run.evaluate_every
  task, rows = train_spec.task, {}
  score = task.score
  for arm in train_spec.arms:
    metrics = epoch.metrics[arm]
    entry = {}
    if setup.experiment.run.nan != "stop":
      entry["lost_steps"] = nan_guard.lost_steps(epoch)[arm]
    due = epoch.number % every == 0 or epoch.number == train_spec.epochs
    if due and not log.quiet:
      measure = train_spec.measure or partial(_score, setup, train_spec)
      with timing.part("evaluation"):
        entry |= measure(networks[arm])
    train_metrics = {
      name: values.tolist()
      for name, values in metrics.items()
      if name not in ("loss", score)
    }
    rows[arm] = {
      "network": arm,
      "epoch": epoch.number,
      "step": epoch.step,
      "loss": _loss(epoch, arm).tolist(),
      f"train_{score}": final_score(task, score, metrics[score]).tolist(),
      **entry,
      **train_metrics,
      **speed,
    }
    log.write(rows[arm])
  return rows


def _score(setup, train_spec, networks) -> dict[str, list[float]]:
  """An arm's score on the images that count."""
  task, split = train_spec.task, setup.score_split
  logits = predict.predict(train_spec, networks, split.images)
  return {f"test_{task.score}": evaluate.score(task, logits, split.labels)}
