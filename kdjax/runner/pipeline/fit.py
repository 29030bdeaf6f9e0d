"""Training as a run does it: the log, the progress bar, the saved teacher."""

import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import evaluate
from kdjax.core import storage
from kdjax.core.errors import counted
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import best_epochs as best_of
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.epochs import (
  guarded,
  initial_states,
  observed_epochs,
)
from kdjax.runner.pipeline.setup import Prepared, Trainee, note
from kdjax.runner.report.logs import RunLog
from kdjax.runner.report.progress import Advance, progress
from kdjax.train import profiling
from kdjax.train.arm import Arm
from kdjax.train.devices import memory
from kdjax.train.devices.placement import local
from kdjax.train.epoch import Epoch
from kdjax.train.fault_tolerance import nan_guard, resume
from kdjax.train.teacher import Teacher


class Fitted(NamedTuple):
  """What training arms gives.

  Attributes:
    networks: variables by arm, with a leading axis of members.
    together: by arm of networks that learn together, the variables of all of
      them, with leading axes (members, roles).
    trainee: what was trained, with as many members side by side as fit.
  """

  networks: dict[str, Any]
  together: dict[str, Any]
  trainee: Trainee


def obtain_teacher(
  experiment: Experiment,
  parts: Prepared,
  workdir: Path,
  log: RunLog,
  arms: Iterable[Arm],
  watch: Callable[[int, dict[str, Any]], None] | None = None,
) -> Any:
  """Loads the teacher, or trains and saves it, and those trained beside it.

  Args:
    experiment: the settings.
    parts: of the run.
    workdir: its folder.
    log: its log.
    arms: who is to learn.
    watch: see `fit`.

  Returns:
    The teacher's variables, with a leading axis (1,), or of all teachers that
    are trained side by side; None where it is cached, or nobody learns from one
    and none was given.

  Raises:
    DivergedError: if its loss leaves the finite numbers.
    StorageError: if it cannot be saved.
  """
  if parts.cached is not None:
    return None
  if parts.found is not None:
    return jax.tree.map(lambda x: jnp.asarray(x)[None], parts.found.load())
  if not any(arm.teacher for arm in arms):
    return None
  fitted = fit(parts, parts.teacher, log, watch=watch)
  networks = fitted.networks["teacher"]
  taught = note(parts, parts.teacher)
  taught["validation"] = experiment.data.validation
  for number in range(len(jax.tree.leaves(networks)[0])):
    one = jax.tree.map(lambda x, i=number: x[i], networks)
    folder = f"teacher_{number}" if number else "teacher"
    storage.save_network(workdir / folder, one, taught)
  return networks


def fit(
  parts: Prepared,
  trainee: Trainee,
  log: RunLog,
  teachers: Mapping[str, Teacher] | None = None,
  watch: Callable[[int, dict[str, Any]], None] | None = None,
  best: best_of.Best | None = None,
) -> Fitted:
  """Trains every arm, logging each epoch, from where a killed run has come to.

  Args:
    parts: of the run.
    trainee: what is trained.
    log: of the run.
    teachers: who teaches, by the names that the arms give them.
    watch: is shown every epoch's number and variables by arm. The next epoch
      reuses their memory: it must copy what it keeps.
    best: which epochs of the student to keep.

  Returns:
    The networks, with those that learnt together with them.

  Raises:
    DivergedError: if a loss leaves the finite numbers, and --nan=stop or its
      patience is used up.
    PreemptedError: if the run was asked to stop; all is saved.
    StorageError: if what a killed run has kept cannot be used.
    UserError: if it does not fit into memory, one member after the other.
  """
  while True:
    try:
      fitted = _fit(parts, trainee, log, teachers, watch, best)
      return fitted._replace(trainee=trainee)
    except memory.DoesNotFit as error:
      trainee = trainee._replace(most=fewer(parts, trainee, error))
    if not log.quiet:
      print(
        f"memory is short: {counted(trainee.most, 'network')} at a time, the"
        " others wait their turn (--members_at_once)",
        flush=True,
      )


def fewer(parts: Prepared, trainee: Trainee, error: memory.DoesNotFit) -> int:
  """Says how many members may fit where those that were tried do not.

  Args:
    parts: of the run.
    trainee: what was to be trained.
    error: what became of it.

  Returns:
    Members at a time on a device, fewer than before.

  Raises:
    DoesNotFit: the error, where it may not be fewer.
  """
  chosen = parts.experiment.computing.members_at_once
  owners = len(parts.devices) if trainee.apart else 1
  now = trainee.most or -(-trainee.members // owners)
  # Processes would have to agree on it.
  alone = len(parts.devices) == len(local(parts.devices))
  if chosen is not None or now == 1 or not (trainee.together and alone):
    raise error
  # Not all of it grows with the members.
  return max(1, min(now - 1, int(0.9 * error.share * now)))


def _fit(parts, trainee, log, teachers, watch, best) -> Fitted:
  """As `fit`, if it fits into memory."""
  title = " + ".join(trainee.arms)
  trainee = guarded(parts, trainee)
  initial = partial(initial_states, parts, trainee, teachers)
  with _kept(parts, trainee, log, initial, watch) as (epoch, keep):
    networks, done = None, 0
    if epoch is not None:
      log.rewind(trainee.arms, epoch.step)
      networks = _networks(trainee, epoch)
      done = epoch.number - (not epoch.ended)
    unseen = io.StringIO() if log.quiet else None
    shown = progress(
      trainee.epochs, title, trainee.images, done=done, stream=unseen
    )
    with shown as advance:
      meter = profiling.Meter(parts.devices)
      following = observed_epochs(parts, trainee, log, meter, teachers, epoch)
      for epoch in following:
        if epoch.ended:
          networks = _networks(trainee, epoch)
          if watch is not None:
            watch(epoch.number, networks)
          rows = _log_epoch(parts, trainee, log, epoch, networks, meter.lap())
          if best is not None and not log.quiet:
            best_of.keep(
              best, epoch.number, networks["student"], rows["student"]
            )
          _advance(advance, epoch, rows)
        else:
          _advance(advance, epoch)
        keep(epoch, last=epoch.ended and epoch.number == trainee.epochs)
      log.performance[title] = meter.figures() | {
        "members": trainee.members,
        "members_at_once": trainee.most,
      }
  together = {
    name: jax.vmap(arm.learner.everyone)(epoch.states[name])
    for name, arm in trainee.arms.items()
    if arm.learner.everyone is not None
  }
  return Fitted(networks, together, trainee)


def _kept(parts, trainee, log, initial, watch):
  """Where the training goes on, and how it is kept; see `recoverable`.

  Who watches wants to see every epoch: such a training begins anew.
  """
  if not log.recoverable or watch is not None:
    return resume.forgetful()
  return resume.recoverable(
    log.workdir / resume.FOLDER / "-".join(trainee.arms),
    initial,
    minutes=parts.experiment.run.checkpoint_minutes,
  )


def _advance(advance: Advance, epoch: Epoch, rows: Mapping | None = None):
  """Shows an epoch, or the part of one, by the rows that were logged of it."""
  loss = float(np.mean([np.mean(_loss(epoch, arm)) for arm in epoch.sums]))
  if rows is None:
    return advance(loss, epochs=0)
  shown = rows.get("student") or next(iter(rows.values()))
  return advance(loss, accuracy=shown.get("test_accuracy"))


def _loss(epoch: Epoch, arm: str) -> np.ndarray:
  # An epoch without a single good step has no loss.
  counted = epoch.sums[arm]["loss"][1] > 0
  return np.where(counted, epoch.metrics[arm]["loss"], np.nan)


def _networks(trainee: Trainee, epoch: Epoch) -> dict[str, Any]:
  return {
    name: jax.vmap(arm.learner.network)(epoch.states[name])
    for name, arm in trainee.arms.items()
  }


def _log_epoch(parts, trainee, log, epoch, networks, speed) -> dict[str, dict]:
  """Writes one row an arm, and returns them."""
  every = parts.experiment.run.evaluate_every
  rows = {}
  for arm in trainee.arms:
    metrics = epoch.metrics[arm]
    measured = {}
    if parts.experiment.run.nan != "stop":
      measured["lost_steps"] = nan_guard.lost_steps(epoch)[arm]
    due = epoch.number % every == 0 or epoch.number == trainee.epochs
    if due and not log.quiet:
      logits = predict.predict(trainee, networks[arm], parts.scored.images)
      accuracy = evaluate.accuracy(logits, parts.scored.labels)
      measured["test_accuracy"] = accuracy.tolist()
    own = {
      name: values.tolist()
      for name, values in metrics.items()
      if name not in ("loss", "accuracy")
    }
    rows[arm] = {
      "network": arm,
      "epoch": epoch.number,
      "step": epoch.step,
      "loss": _loss(epoch, arm).tolist(),
      "train_accuracy": metrics["accuracy"].tolist(),
      **measured,
      **own,
      **speed,
    }
    log.write(rows[arm])
  return rows


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
  """Measures how long a phase takes.

  Args:
    seconds: gets the time.
    phase: its name there.
  """
  start = time.perf_counter()
  yield
  seconds[phase] = time.perf_counter() - start
