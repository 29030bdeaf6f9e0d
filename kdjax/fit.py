"""Training as a run does it: the log, the progress bar, the saved teacher."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import best as best_of
from kdjax import data, evaluate, preflight, profiling, recovery, results
from kdjax.cached_teacher import answers_of
from kdjax.config import Experiment
from kdjax.prepare import Prepared, Trainee
from kdjax.report.logs import RunLog
from kdjax.report.progress import progress
from kdjax.train import checkpoint, finite, loop
from kdjax.train.epoch import Epoch, portions
from kdjax.train.feed import Arm
from kdjax.train.observer import Observer
from kdjax.train.teacher import Teacher


class Fitted(NamedTuple):
  """What training arms gives.

  Attributes:
    networks: variables by arm, with a leading axis of members.
    together: by arm of networks that learn together, the variables of all of
      them, with leading axes (members, roles).
  """

  networks: dict[str, Any]
  together: dict[str, Any]


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
    checkpoint.save_network(workdir / folder, one, taught)
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
  """
  title = " + ".join(trainee.arms)
  students = trainee is parts.student
  trainee = _guarded(parts, trainee)
  initial = partial(_initial, parts, trainee, teachers)
  with _kept(parts, trainee, log, initial, watch) as (epoch, keep):
    networks, done = None, 0
    if epoch is not None:
      log.rewind(trainee.arms, epoch.step)
      networks = _networks(trainee, epoch)
      done = epoch.number - (not epoch.ended)
    with progress(trainee.epochs, title, trainee.images) as advance:
      if done:
        advance(epochs=done)
      meter = profiling.Meter(parts.devices)
      follow = partial(_logged, parts, trainee, teachers, students, log, meter)
      following = _watched(parts, log, follow, epoch, initial)
      first = epoch.step if epoch else 0
      for epoch in meter.watch(following, first=first):
        if epoch.ended:
          networks = _networks(trainee, epoch)
          if watch is not None:
            watch(epoch.number, networks)
          rows = _log_epoch(parts, trainee, log, epoch, networks, meter.lap())
          if best is not None:
            best_of.keep(
              best, epoch.number, networks["student"], rows["student"]
            )
          losses = [row["loss"] for row in rows.values()]
          advance(loss=float(np.mean(losses)))
        keep(epoch, last=epoch.ended and epoch.number == trainee.epochs)
      log.performance[title] = meter.figures()
  together = {
    name: jax.vmap(arm.learner.everyone)(epoch.states[name])
    for name, arm in trainee.arms.items()
    if arm.learner.everyone is not None
  }
  return Fitted(networks, together)


def _guarded(parts: Prepared, trainee: Trainee) -> Trainee:
  """The same with learners that a bad step does not take by surprise."""
  chosen = parts.experiment.run
  arms = {
    name: arm._replace(
      learner=finite.guard(arm.learner, chosen.nan, chosen.nan_patience)
    )
    for name, arm in trainee.arms.items()
  }
  return trainee._replace(arms=arms)


def _initial(parts, trainee, teachers):
  return loop.initial_states(
    trainee.network,
    trainee.optimizer,
    trainee.arms,
    sample=parts.sample,
    teachers=teachers,
  )


def _watched(parts, log, follow, start, initial) -> Iterator[Epoch]:
  """The epochs, all of them finite, with a line for each bad portion."""
  chosen = parts.experiment.run
  advice = "lower the learning rate, or the method's weight"
  if log.recoverable and chosen.nan == "stop":
    advice += (
      "; or pass over such steps: the same command with --nan=skip"
      f" --workdir={log.workdir} goes on from the last good state kept"
    )
  following = finite.watched(
    follow,
    start,
    policy=chosen.nan,
    patience=chosen.nan_patience,
    initial=initial,
    advice=advice,
  )
  lost = None if start is None else finite.lost_steps(start)
  for epoch in following:
    before, lost = lost, finite.lost_steps(epoch)
    for name, steps in lost.items():
      new = sum(steps) - sum(before[name] if before else ())
      if new:
        recovery.warn(
          f"epoch {epoch.number}: {new} steps of the {name}, over all its"
          f" members, were not finite and do not count (--nan={chosen.nan})"
        )
    yield epoch


def _kept(parts, trainee, log, initial, watch):
  """Where the training goes on, and how it is kept; see `recoverable`.

  Who watches wants to see every epoch: such a training begins anew.
  """
  if not log.recoverable or watch is not None:
    return recovery.forgetful()
  return recovery.recoverable(
    log.workdir / recovery.FOLDER / "-".join(trainee.arms),
    initial,
    minutes=parts.experiment.run.checkpoint_minutes,
  )


def _networks(trainee: Trainee, epoch: Epoch) -> dict[str, Any]:
  return {
    name: jax.vmap(arm.learner.network)(epoch.states[name])
    for name, arm in trainee.arms.items()
  }


def epochs(
  parts: Prepared,
  trainee: Trainee,
  teachers: Mapping[str, Teacher] | None = None,
  **options: Any,
) -> Iterator[Epoch]:
  """Trains every arm on the training images, epoch by epoch.

  Args:
    parts: of the run.
    trainee: what is trained.
    teachers: who teaches, by the names that the arms give them.
    **options: of `loop.train`, further ones.

  Yields:
    The epochs, as they come.
  """
  chosen, resident = parts.experiment.computing, data.resident(parts.shown)
  if resident and chosen.preflight:
    size = parts.shown.images.nbytes
    preflight.check_data(size, preflight.free_memory(parts.devices))
  workers = parts.experiment.data.data_workers
  with data.open_reader(parts.shown, workers=workers) as read:
    yield from loop.train(
      trainee.network,
      trainee.optimizer,
      trainee.arms,
      trainee.feeds,
      parts.shown.images if resident else None,
      epochs=trainee.epochs,
      sample=parts.sample,
      read=None if resident else read,
      teachers=teachers,
      devices=parts.devices,
      together=trainee.together,
      **options,
    )


def _logged(
  parts, trainee, teachers, students, log, meter, start
) -> Iterator[Epoch]:
  """The epochs of a training that a log follows."""
  chosen = parts.experiment.computing
  most = parts.experiment.run.checkpoint_steps
  answers = {"teacher": partial(answers_of, parts.cached)}
  following = epochs(
    parts,
    trainee,
    teachers,
    answers=answers if students and parts.streams_answers else None,
    gradient_metrics=parts.experiment.distillation.gradient_metrics,
    portion=most,
    start=start,
    observer=_observer(parts, meter),
  )
  if chosen.profile_steps is None or not students:
    return following
  length = max(feed.steps for feed in trainee.feeds.values())
  first = start.step if start else 0
  return profiling.traced(
    following,
    portions(first, trainee.epochs * length, length, most),
    profiling.read_window(chosen.profile_steps),
    log.workdir / "profile",
  )


def _observer(parts: Prepared, meter: profiling.Meter) -> Observer:
  """Says what every program takes before its first step, and counts its work."""
  seen = {}

  def step(run, arguments):
    if run not in seen:
      seen[run] = found = preflight.needs(run, arguments)
      meter.needs.append(found)
      if parts.experiment.computing.preflight:
        free = preflight.free_memory(parts.devices)
        title = " + ".join(arguments[0])
        print(preflight.check(found, title, parts.devices, free), flush=True)
    taken = len(arguments[2]) * len(parts.devices)
    meter.count(seen[run].operations * taken)

  return Observer(step, meter.input)


def _log_epoch(parts, trainee, log, epoch, networks, speed) -> dict[str, dict]:
  """Writes one row an arm, and returns them."""
  every = parts.experiment.run.evaluate_every
  rows = {}
  for arm in trainee.arms:
    metrics = epoch.metrics[arm]
    # An epoch without a single good step has no loss.
    counted = epoch.sums[arm]["loss"][1] > 0
    metrics["loss"] = np.where(counted, metrics["loss"], np.nan)
    measured = {}
    if parts.experiment.run.nan != "stop":
      measured["lost_steps"] = finite.lost_steps(epoch)[arm]
    if epoch.number % every == 0 or epoch.number == trainee.epochs:
      logits = results.predict(trainee, networks[arm], parts.scored.images)
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
      "loss": metrics["loss"].tolist(),
      "train_accuracy": metrics["accuracy"].tolist(),
      **measured,
      **own,
      **speed,
    }
    log.write(rows[arm])
  return rows


def note(parts: Prepared, trainee: Trainee) -> dict[str, Any]:
  """Says what a saved network needs to be used again.

  Args:
    parts: of the run.
    trainee: what the network is.

  Returns:
    JSON values.
  """
  return {
    "model": trainee.model,
    "classes": parts.dataset.classes,
    "class_names": list(parts.dataset.class_names),
    "image_shape": list(parts.dataset.image_shape),
    "dataset": parts.dataset.name,
  }


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
