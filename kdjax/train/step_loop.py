"""The loop over a user's batches: rows of metrics, checkpoints, signals, a score.

It takes steps that are made elsewhere, and knows nothing of what they compute.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core.errors import (
  DivergedError,
  PreemptedError,
  StorageError,
  UserError,
  warn,
)
from kdjax.core.task import Task, final_score, mean_of
from kdjax.train.fault_tolerance import preemption
from kdjax.train.fault_tolerance.user_checkpoints import Checkpoints
from kdjax.train.identity import check_same

# Steps whose metrics may be on their way: the host must not wait for each, nor
# run ahead without end.
AHEAD = 16
SHOWN_SECONDS = 1.0


class Event(NamedTuple):
  """What a callback is told: an epoch is over, or some steps of one.

  Attributes:
    epoch: from 1.
    step: steps taken so far.
    ended: whether the epoch is over.
    row: means over the epoch so far, "loss", "train_<score>" and the method's
      own metrics; and "test_<metric>" of the examples that are scored on.
    variables: () -> the student's variables; what is kept of them must be copied.
    epochs: how many there will be; None where steps were given.
    steps: likewise, steps; None where nobody can know.
  """

  epoch: int
  step: int
  ended: bool
  row: dict[str, Any]
  variables: Callable[[], Any]
  epochs: int | None
  steps: int | None


class Loop(NamedTuple):
  """What a training is made of.

  Attributes:
    step: state and batch -> (state, metrics as (sum, count)).
    begin: a batch -> the first state.
    variables: state -> the student's variables.
    batches: a `BatchIterator`.
    task: what the answers mean.
    score: variables -> metrics on what is scored on; None for nothing.
    epochs: passes over the batches; None where steps are given.
    steps: steps; None where epochs are given.
    patience: epochs without a better score after which training ends; None for
      no such end.
    log_every: steps from one row to the next within an epoch; None for a row an
      epoch.
    checkpoints: where the training is kept, or None.
    callbacks: called with each `Event`.
    progress: called likewise, and every second between two rows; or None.
    settings: JSON values by name, by which a checkpoint is known to be of this
      training. What a checkpoint does not say is not compared.
    identity: (state, batch) -> more of them, which need both; None for nothing.
      They are compared where "libraries" are the same.
  """

  step: Callable[[Any, Any], tuple[Any, dict]]
  begin: Callable[[Any], Any]
  variables: Callable[[Any], Any]
  batches: Any
  task: Task
  score: Callable[[Any], dict[str, float]] | None = None
  epochs: int | None = None
  steps: int | None = None
  patience: int | None = None
  log_every: int | None = None
  checkpoints: Checkpoints | None = None
  callbacks: Sequence[Callable[[Event], None]] = ()
  progress: Callable[[Event], None] | None = None
  settings: Mapping[str, Any] = {}
  identity: Callable[[Any, Any], dict[str, Any]] | None = None

  def is_over(self, place: "Place") -> bool:
    """Says whether there is nothing left to do."""
    if self.steps is not None and place.step >= self.steps:
      return True
    if self.epochs is not None and place.epoch >= self.epochs:
      return True
    return self.patience is not None and place.waited >= self.patience


@dataclasses.dataclass
class Place:
  """How far a training has come.

  Attributes:
    state: of the step; None before the first batch.
    best: with `patience`, the variables of the best score so far.
    step: steps taken.
    epoch: epochs that are over.
    waited: epochs since the best score.
    best_score: the best score; None before the first.
    sums: by metric, [sum, count] of the epoch so far; lists of a metric of
      several numbers.
    history: the rows so far.
    form: types and shapes of the first batch.
    identity: what `Loop.identity` says of this training; None before it is asked.
    pending: metrics of the last steps, maybe not computed yet.
    progress_time: when the progress was told, in seconds.
  """

  state: Any = None
  best: Any = None
  step: int = 0
  epoch: int = 0
  waited: int = 0
  best_score: float | None = None
  sums: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
  history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  form: Any = None
  identity: dict[str, Any] | None = None
  pending: list[tuple[int, Any]] = dataclasses.field(default_factory=list)
  progress_time: float = 0.0


# What of a place is JSON, and stands in a checkpoint's note.
_NOTED = ("step", "epoch", "waited", "best_score", "sums", "history", "form")


def run(loop: Loop) -> Place:
  """Trains until all epochs or steps are done, or the score is no longer better.

  Returns:
    Where the training ends; `best` are the variables to be used.

  Raises:
    UserError: for a checkpoint of another training.
    DivergedError: once the loss or the parameters are not finite. The last
      checkpoint is from before that.
    PreemptedError: after SIGTERM or Ctrl-C, all saved; only where there are
      checkpoints.
    StorageError: if checkpoints cannot be read, or not be written at a stop.
  """
  place = _restored(loop)
  try:
    _follow(loop, place)
  except DivergedError as error:
    advice = "lower the learning rate, or the weight of the method"
    if loop.checkpoints is not None and loop.checkpoints.latest is not None:
      advice += (
        f"; {loop.checkpoints.folder} has step {loop.checkpoints.latest}"
      )
    raise DivergedError(f"{error}; {advice}") from None
  if place.best is None:
    place.best = loop.variables(place.state)
  return place


def _follow(loop: Loop, place: Place) -> None:
  with _stop_request(loop) as request:
    while not loop.is_over(place):
      for batch in loop.batches:
        if place.state is None:
          place.state = loop.begin(batch)
          place.form = _described(batch)
        place.state, metrics = loop.step(place.state, batch)
        place.step += 1
        place.pending.append((place.step, metrics))
        if len(place.pending) > AHEAD:
          _settle(place, AHEAD // 2)
        if loop.log_every and place.step % loop.log_every == 0:
          _report(loop, place, ended=False)
        _show(loop, place)
        _keep(loop, place, stop=request())
        if place.step == loop.steps and not _is_last(loop, place):
          break
      _end_epoch(loop, place)
      _keep(loop, place, stop=request(), ended=True)


def _stop_request(loop: Loop):
  """Where nothing can be saved, signals do what they always do."""
  if loop.checkpoints is None:
    return contextlib.nullcontext(lambda: None)
  return preemption.on_request("kdjax")


def _is_last(loop: Loop, place: Place) -> bool:
  """Whether a step is known to be its epoch's last."""
  length = loop.batches.steps
  return length is not None and place.step % length == 0


def _restored(loop: Loop) -> Place:
  """Where an earlier training with these checkpoints has come to."""
  checkpoints = loop.checkpoints
  checkpoint = checkpoints and checkpoints.restore_by_note(partial(_form, loop))
  if checkpoint is None:
    return Place()
  _, (state, best), note = checkpoint
  loop.batches.set_state(note["batches"])
  counters = {name: note[name] for name in _NOTED}
  place = Place(state=state, best=best, **counters)
  saved, current = note.get("identity") or {}, _identity(loop, place)
  if saved.get("libraries") == current.get("libraries"):
    check_same(loop.checkpoints.folder, saved, current)
  return place


def _identity(loop: Loop, place: Place) -> dict[str, Any]:
  if place.identity is None:
    batch = _zeros(place.form)
    has_identity = loop.identity is not None
    place.identity = loop.identity(place.state, batch) if has_identity else {}
  return place.identity


def _form(loop: Loop, note: dict[str, Any]) -> Any:
  """What a checkpoint holds, in form, type and place."""
  if not isinstance(note, dict) or not isinstance(note.get("settings"), dict):
    raise UserError(
      f"checkpoints: {loop.checkpoints.folder} holds what a loop of its own has"
      " saved; give another folder"
    )
  check_same(loop.checkpoints.folder, note["settings"], loop.settings)
  state = loop.begin(_zeros(note["form"]))
  return state, loop.variables(state) if note["has_best"] else None


def _described(batch: Any) -> Any:
  """Types and shapes of a batch, as JSON."""
  return jax.tree.map(lambda x: [str(x.dtype), list(x.shape)], batch)


def _zeros(form: Any) -> Any:
  if isinstance(form, dict):
    return {name: _zeros(one) for name, one in form.items()}
  dtype, shape = form
  return np.zeros(shape, jnp.dtype(dtype))


def _end_epoch(loop: Loop, place: Place) -> None:
  """Scores the epoch, or the steps of one that are the last."""
  # An iterator is behind its pass once the loop over it has come to its end.
  epoch_ended = loop.batches.epoch > place.epoch
  _settle(place)
  _check_finite(loop, place)
  variables = loop.variables(place.state)
  scores = {} if loop.score is None else loop.score(variables)
  if loop.patience is not None:
    score = loop.task.better * scores[loop.task.score]
    if place.best_score is None or score > place.best_score:
      place.best_score, place.waited = score, 0
      place.best = jax.tree.map(jnp.copy, variables)
    else:
      place.waited += 1
  by_name = {f"test_{name}": value for name, value in scores.items()}
  _report(loop, place, ended=epoch_ended, scores=by_name)
  if epoch_ended:
    place.epoch, place.sums = loop.batches.epoch, {}


def _report(
  loop: Loop, place: Place, *, ended: bool, scores: dict | None = None
) -> None:
  """Adds a row, and tells it to the callbacks."""
  _settle(place)
  event = _event(loop, place, ended)
  event.row.update(scores or {})
  place.history.append(event.row)
  for callback in (*loop.callbacks, loop.progress):
    if callback is not None:
      callback(event)


def _event(loop: Loop, place: Place, ended: bool) -> Event:
  score = loop.task.score
  row = {"epoch": place.epoch + 1, "step": place.step}
  for name, (total, count) in place.sums.items():
    mean = mean_of(total, count)
    if name == score:
      mean = final_score(loop.task, name, mean)
    row[f"train_{name}" if name == score else name] = float(mean)
  length, steps = loop.batches.steps, loop.steps
  if steps is None and length is not None:
    steps = loop.epochs * length
  return Event(
    place.epoch + 1,
    place.step,
    ended,
    row,
    lambda: loop.variables(place.state),
    loop.epochs,
    steps,
  )


def _show(loop: Loop, place: Place) -> None:
  """Tells the progress between two rows, as far as steps are computed."""
  now = time.monotonic()
  if loop.progress is not None and now - place.progress_time > SHOWN_SECONDS:
    place.progress_time = now
    _settle(place, AHEAD // 2)
    loop.progress(_event(loop, place, ended=False))


def _settle(place: Place, leave: int = 0) -> None:
  """Adds up the metrics of steps, and checks that their losses are finite."""
  while len(place.pending) > leave:
    step, metrics = place.pending.pop(0)
    for name, (total, count) in jax.device_get(metrics).items():
      if name == "loss" and not np.isfinite(total):
        raise DivergedError(f"the loss is not finite at step {step}")
      sums = np.asarray([total, count], float) + place.sums.get(name, 0.0)
      place.sums[name] = sums.tolist()


def _check_finite(loop: Loop, place: Place) -> None:
  if not _is_finite(loop.variables(place.state)):
    raise DivergedError(
      f"the student's parameters are not finite after step {place.step}"
    )


@jax.jit
def _is_finite(variables: Any) -> jax.Array:
  floats = [
    jnp.isfinite(x).all()
    for x in jax.tree.leaves(variables)
    if jnp.issubdtype(x.dtype, jnp.inexact)
  ]
  return jnp.all(jnp.stack(floats)) if floats else jnp.array(True)


def _keep(
  loop: Loop, place: Place, *, stop: str | None, ended: bool = False
) -> None:
  """Saves what is due, and ends where a signal came."""
  checkpoints = loop.checkpoints
  if checkpoints is None:
    return
  plain = checkpoints.every_steps is None and checkpoints.every_minutes is None
  due = ended if plain else checkpoints.is_due(place.step)
  if not (due or stop or (ended and loop.is_over(place))):
    return
  try:
    _save(loop, place)
  except StorageError as error:
    if stop and not loop.is_over(place):
      raise
    warn(f"{error}; the training goes on", "kdjax")
  if stop and not loop.is_over(place):
    raise PreemptedError(
      f"{stop}: stopped after step {place.step}, and saved in"
      f" {checkpoints.folder}; the same call goes on from there"
    )


def _save(loop: Loop, place: Place) -> None:
  _settle(place)
  _check_finite(loop, place)
  note = {name: getattr(place, name) for name in _NOTED}
  note |= {
    "settings": dict(loop.settings),
    "identity": _identity(loop, place),
    "batches": loop.batches.get_state(),
    "has_best": place.best is not None,
  }
  loop.checkpoints.save(
    place.step, (place.state, place.best), note, always=True
  )
