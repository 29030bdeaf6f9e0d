"""The hallway: data -> teacher -> students -> figures -> report.

Read `run` from top to bottom; every line is a room.
"""

import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import data, evaluate, results
from kdjax.arms import looks_inside, objective_text
from kdjax.config import Experiment
from kdjax.errors import DivergedError
from kdjax.options import as_dict
from kdjax.prepare import Prepared, Trainee, prepare
from kdjax.report import logs
from kdjax.report.progress import progress
from kdjax.train import checkpoint, loop
from kdjax.train.state import frozen_state, variables
from kdjax.train.steps import Teacher
from kdjax.workdir import claim


def run(experiment: Experiment, *, name: str, command: str) -> Path:
  """Runs an experiment from data to report.

  Args:
    experiment: all settings; several values of one make it a sweep.
    name: the experiment's name, for people.
    command: the command line that repeats it.

  Returns:
    The folder that holds results.json, report.html and all else.

  Raises:
    UserError: for bad settings or data, before anything is compiled.
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if something cannot be written or read.
  """
  seconds = {}
  with _timed(seconds, "total"):
    with _timed(seconds, "data"):
      parts = prepare(experiment)
      experiment = parts.experiment
    workdir = claim(experiment.run.workdir, name)
    with logs.RunLog(workdir) as log:
      with _timed(seconds, "teacher"):
        teacher = _obtain_teacher(experiment, parts, workdir, log)
      with _timed(seconds, "students"):
        lessons = _as_teacher(experiment, parts, teacher)
        students = _fit(parts, parts.student, log, lessons)
    with _timed(seconds, "evaluation"):
      measured = results.measure(experiment, parts, teacher, students)
    found = measured.figures
    note = _note(parts, parts.student) | found["student"]["settings"]
    checkpoint.save_network(
      workdir / "student", measured.networks["student"], note
    )
  found |= {
    "name": name,
    "command": command,
    "experiment": as_dict(experiment),
    "objective": objective_text(experiment),
    "environment": results.environment(parts.devices),
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.report import record

  history = results.history_at_best(
    experiment, measured, logs.read_history(workdir)
  )
  page = record.write_run(workdir, found, history, measured.samples)
  print(f"\n{record.summary(found)}\n\n{page}")
  return workdir


def _obtain_teacher(
  experiment: Experiment, parts: Prepared, workdir, log
) -> Any:
  """Loads the teacher, or trains and saves it; returns its variables, (1, ...)."""
  if parts.found is not None:
    return jax.tree.map(lambda x: jnp.asarray(x)[None], parts.found.load())
  networks = _fit(parts, parts.teacher, log, None)["teacher"]
  one = results.first(networks)
  note = _note(parts, parts.teacher)
  note["validation"] = experiment.data.validation
  checkpoint.save_network(workdir / "teacher", one, note)
  return networks


def _fit(
  parts: Prepared, trainee: Trainee, log, teacher: Teacher | None
) -> dict:
  """Trains every arm, logging each epoch; returns their variables by arm."""
  train = parts.dataset.train
  resident = data.resident(train)
  epochs = loop.train(
    trainee.network,
    trainee.optimizer,
    trainee.arms,
    trainee.feeds,
    train.images if resident else None,
    epochs=trainee.epochs,
    sample=parts.sample,
    read=None if resident else lambda indices: data.stream(train, indices),
    teacher=teacher,
    devices=parts.devices,
    together=trainee.together,
    gradient_metrics=parts.experiment.distillation.gradient_metrics,
  )
  title = " + ".join(trainee.arms)
  with progress(trainee.epochs, title, trainee.images) as advance:
    start = time.perf_counter()
    for epoch in epochs:
      networks = {arm: variables(epoch.states[arm]) for arm in trainee.arms}
      rate = epoch.examples / (time.perf_counter() - start)
      _log_epoch(parts, trainee, log, epoch, networks, rate)
      losses = [metrics["loss"].mean() for metrics in epoch.metrics.values()]
      advance(loss=float(np.mean(losses)))
      start = time.perf_counter()
  return networks


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


def _as_teacher(
  experiment: Experiment, parts: Prepared, networks: Any
) -> Teacher:
  """Readies the teacher for the student's step.

  Where the student sees the stored images themselves and the method needs no
  more than the teacher's answers, these are always the same: they are computed
  once.
  """
  plain = experiment.student.augment == "none"
  answers_suffice = not any(map(looks_inside, parts.student.arms.values()))
  if plain and answers_suffice and data.resident(parts.dataset.train):
    images = parts.dataset.train.images
    logits = results.predict(parts.teacher, networks, images)
    return Teacher(None, logits[0])
  one = results.first(networks)
  return Teacher(frozen_state(parts.teacher.network, one))


def _note(parts: Prepared, trainee: Trainee) -> dict[str, Any]:
  """What a saved network needs to be used again."""
  return {
    "model": trainee.model,
    "classes": parts.dataset.classes,
    "class_names": list(parts.dataset.class_names),
    "image_shape": list(parts.dataset.image_shape),
    "dataset": parts.dataset.name,
  }


@contextmanager
def _timed(seconds: dict[str, float], phase: str):
  start = time.perf_counter()
  yield
  seconds[phase] = time.perf_counter() - start
