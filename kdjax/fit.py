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

from kdjax import data, evaluate, recovery, results
from kdjax.cached_teacher import answers_of
from kdjax.config import Experiment
from kdjax.errors import DivergedError
from kdjax.prepare import Prepared, Trainee
from kdjax.report.logs import RunLog
from kdjax.report.progress import progress
from kdjax.train import checkpoint, loop
from kdjax.train.epoch import Epoch
from kdjax.train.feed import Arm
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
) -> Fitted:
  """Trains every arm, logging each epoch, from where a killed run has come to.

  Args:
    parts: of the run.
    trainee: what is trained.
    log: of the run.
    teachers: who teaches, by the names that the arms give them.
    watch: is shown every epoch's number and variables by arm. The next epoch
      reuses their memory: it must copy what it keeps.

  Returns:
    The networks, with those that learnt together with them.

  Raises:
    DivergedError: if a loss leaves the finite numbers.
    PreemptedError: if the run was asked to stop; all is saved.
    StorageError: if what a killed run has kept cannot be used.
  """
  title = " + ".join(trainee.arms)
  with _kept(parts, trainee, log, teachers, watch) as (epoch, keep):
    networks, done = None, 0
    if epoch is not None:
      log.rewind(trainee.arms, epoch.step)
      networks = _networks(trainee, epoch)
      done = epoch.number - (not epoch.ended)
    unseen = io.StringIO() if log.quiet else None
    shown = progress(trainee.epochs, title, trainee.images, stream=unseen)
    with shown as advance:
      if done:
        advance(epochs=done)
      following = _logged(parts, trainee, teachers, epoch)
      for epoch, rate in _with_rate(following):
        if epoch.ended:
          networks = _networks(trainee, epoch)
          if watch is not None:
            watch(epoch.number, networks)
          _log_epoch(parts, trainee, log, epoch, networks, rate)
          losses = [x["loss"].mean() for x in epoch.metrics.values()]
          advance(loss=float(np.mean(losses)))
        keep(epoch, last=epoch.ended and epoch.number == trainee.epochs)
  together = {
    name: jax.vmap(arm.learner.everyone)(epoch.states[name])
    for name, arm in trainee.arms.items()
    if arm.learner.everyone is not None
  }
  return Fitted(networks, together)


def _kept(parts, trainee, log, teachers, watch):
  """Where the training goes on, and how it is kept; see `recoverable`.

  Who watches wants to see every epoch: such a training begins anew.
  """
  if not log.recoverable or watch is not None:
    return recovery.forgetful()
  return recovery.recoverable(
    log.workdir / recovery.FOLDER / "-".join(trainee.arms),
    lambda: loop.initial_states(
      trainee.network,
      trainee.optimizer,
      trainee.arms,
      sample=parts.sample,
      teachers=teachers,
    ),
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
  resident = data.resident(parts.shown)
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


def _logged(parts, trainee, teachers, start) -> Iterator[Epoch]:
  """The epochs of a training that a log follows."""
  streamed = trainee is parts.student and parts.streams_answers
  answers = {"teacher": partial(answers_of, parts.cached)}
  return epochs(
    parts,
    trainee,
    teachers,
    answers=answers if streamed else None,
    gradient_metrics=parts.experiment.distillation.gradient_metrics,
    portion=parts.experiment.run.checkpoint_steps,
    start=start,
  )


def _with_rate(following: Iterator[Epoch]) -> Iterator[tuple[Epoch, float]]:
  """Adds the examples a second since the last one was yielded."""
  start = time.perf_counter()
  for epoch in following:
    yield epoch, epoch.examples / (time.perf_counter() - start)
    start = time.perf_counter()


def _log_epoch(parts, trainee, log, epoch, networks, rate) -> None:
  """Writes one row an arm; a loss that is not finite ends the run."""
  every = parts.experiment.run.evaluate_every
  for arm in trainee.arms:
    metrics = epoch.metrics[arm]
    if not np.isfinite(metrics["loss"]).all():
      raise DivergedError(
        f"the loss of the {arm} is not finite in epoch {epoch.number}; lower the"
        " learning rate, or the method's weight"
      )
    if log.quiet:
      continue
    measured = {}
    if epoch.number % every == 0 or epoch.number == trainee.epochs:
      logits = results.predict(trainee, networks[arm], parts.scored.images)
      accuracy = evaluate.accuracy(logits, parts.scored.labels)
      measured["test_accuracy"] = accuracy.tolist()
    own = {
      name: values.tolist()
      for name, values in metrics.items()
      if name not in ("loss", "accuracy")
    }
    log.write(
      {
        "network": arm,
        "epoch": epoch.number,
        "step": epoch.step,
        "loss": metrics["loss"].tolist(),
        "train_accuracy": metrics["accuracy"].tolist(),
        **measured,
        **own,
        "images_per_second": rate,
      }
    )


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
