"""Distillation of one's own network on one's own data, as one call."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from kdjax import data
from kdjax.core.arguments import check_key, check_kind, check_whole, misfit
from kdjax.core.entries import check_nan
from kdjax.core.errors import DivergedError, UserError
from kdjax.core.method import Method
from kdjax.core.task import Task, as_batch
from kdjax.core.teacher import Teacher, check_answered, check_examples
from kdjax.evaluate.over_batches import evaluate
from kdjax.methods._make_method import make_method
from kdjax.taps.network import Network
from kdjax.train import step_loop
from kdjax.train.callbacks import Callback, progress_line
from kdjax.train.check import check_shapes
from kdjax.train.devices.mapped import Placement, jit
from kdjax.train.fault_tolerance.user_checkpoints import Checkpoints
from kdjax.train.identity import identity_of, key_numbers
from kdjax.train.make_step import make_step
from kdjax.train.misfits import check_teacher, check_values
from kdjax.train.objective import objective


class Distilled(NamedTuple):
  """A trained student.

  Attributes:
    variables: the student's alone; regressors and memories of the method are
      dropped. With `patience` they are those of the best score.
    metrics: the task's, of these variables, on what is scored on; {} without.
    history: the rows of metrics, one an epoch.
  """

  variables: Any
  metrics: dict[str, float]
  history: list[dict[str, Any]]


def distill(
  student: Network,
  teacher: Teacher | None,
  batches: Any,
  *,
  method: str | Method = "kd",
  task: Task,
  optimizer: Any,
  epochs: int | None = None,
  steps: int | None = None,
  key: jax.Array,
  variables: Any = None,
  placement: Placement | None = None,
  score_on: Any = None,
  checkpoints: Checkpoints | None = None,
  callbacks: Sequence[Callback] = (),
  progress: bool | str = True,
  batch_size: int | None = None,
  patience: int | None = None,
  log_every: int | None = None,
) -> Distilled:
  """Trains a student on what its teacher makes of batches.

  With `checkpoints` a training that was killed at any step, or stopped by Ctrl-C
  or SIGTERM, goes on when the same call is made again; the parameters are the
  same, bit for bit, as if it had never stopped. That needs batches that are the
  same again: arrays, functions of the epoch, lists, grain.

  Args:
    student: from `from_linen`, `from_nnx` or `from_apply`.
    teacher: from `live_teacher`, `stored_teacher` or `ensemble`; None for a
      method that needs none, such as "hard".
    batches: an iterable of mappings, read once a pass; a function that returns
      one, called once an epoch; a data set of grain, torch, tf.data or Hugging
      Face; or a mapping of whole arrays, which `key` shuffles (`batch_size=`).
    method: what is matched, "kd(temperature=2):0.9 + ce:0.1", or a Method.
    task: what the batches hold and what the answers mean.
    optimizer: any of optax.
    epochs: passes over the batches; or
    steps: so many steps, over as many passes as they take.
    key: of the student's initialisation, dropout, and the order of arrays.
    variables: the student's, to start from; None to initialise it. Layers that they
      lack, such as a new classifier behind a pretrained body, are initialised.
    placement: `jit()` by default; `pmap()` or `sharded(mesh, rules)`.
    score_on: examples, in any form of `batches`, on which the student is measured
      after each epoch by all metrics of its task.
    checkpoints: where the training is kept: as often as they say, or after each
      epoch; at its end, and when it is stopped. A folder of a training with
      another key, method, optimiser, or data in a mapping, is refused.
    callbacks: functions of an `Event`: `jsonl(path)`, `tensorboard(folder)`, or
      one's own. They are called with each row.
    progress: True shows a line on a terminal, "lines" prints a line for each row
      anywhere, False shows nothing.
    batch_size: examples a batch, of a mapping of whole arrays or a data set of
      single examples.
    patience: ends the training after so many epochs without a better score on
      `score_on`, and returns the best student.
    log_every: steps from one row to the next within an epoch; None for one row
      an epoch.

  Returns:
    The student's variables, their metrics on `score_on`, and the history.

  Raises:
    UserError: for what does not fit together, before anything is compiled, and
      for checkpoints of another training.
    DivergedError: once the loss or the parameters are not finite; the last
      checkpoint is from before that. Where it is the teacher's answers to the
      first batch that are nan, a UserError says so.
    TeacherError: for a served teacher that answers wrongly, or no more.
    PreemptedError: after Ctrl-C or SIGTERM, the training saved; without
      checkpoints they do what they always do.
    StorageError: if no checkpoint can be read.

  Example:
    >>> import flax.linen as nn, optax
    >>> from kdjax.tasks import classification
    >>> from kdjax.taps.network import from_linen
    >>> from kdjax.train.teacher import live_teacher
    >>> small, big = (from_linen(nn.Dense(2, name=n)) for n in ("a", "b"))
    >>> arrays = {"image": np.eye(4), "label": np.array([0, 1, 0, 1])}
    >>> known = big.init(jax.random.key(1), arrays["image"])
    >>> done = distill(
    ...   small, live_teacher(big, known), arrays, batch_size=2, epochs=2,
    ...   task=classification(2), optimizer=optax.sgd(0.1), key=jax.random.key(0),
    ...   score_on=arrays, progress=False,
    ... )
    >>> sorted(done.metrics), [row["step"] for row in done.history]
    (['accuracy', 'negative_log_likelihood'], [2, 4])
  """
  _check(epochs, steps, patience, log_every, score_on)
  check_kind("student", student, "network")
  check_kind("task", task, "task")
  check_kind("placement", placement, "placement", optional=True)
  check_kind("checkpoints", checkpoints, "checkpoints", optional=True)
  check_key("key", key)
  _check_told(callbacks, progress)
  check_values(optimizer, teacher)
  iterator = data.open_batches(batches, batch_size=batch_size, key=key)
  text = isinstance(method, str)
  settings = {
    "method": method if text else None,
    "task": task.name,
    "key": key_numbers(key),
    "batch_size": batch_size,
    "data": iterator.fingerprint() if checkpoints is not None else None,
  }
  if text:
    total = steps or (epochs * iterator.steps if iterator.steps else None)
    method = make_method(method, task, total, iterator.examples)
  placement = jit() if placement is None else placement
  check_examples(teacher, iterator.examples)
  goal = objective(method, student, task)
  step = make_step(goal, optimizer, placement)
  placed_teacher = teacher if _is_spread(teacher) else placement.put(teacher)

  first_batches = []

  def begin(batch):
    first_batches.append(batch)
    check_shapes(goal, optimizer, batch, teacher, variables=variables)
    return step.init(key, variables, placed_teacher, batch)

  def advance(state, batch):
    check_nan(as_batch(task, batch), batch)
    return step.step(state, placed_teacher, batch)

  identity = identity_of(goal, optimizer, text=text)
  loop = step_loop.Loop(
    step=advance,
    begin=begin,
    variables=step.variables,
    batches=iterator,
    task=task,
    score=_scorer(student, score_on, task, batch_size),
    epochs=epochs,
    steps=steps,
    patience=patience,
    log_every=log_every,
    checkpoints=checkpoints,
    callbacks=callbacks,
    progress=progress_line(task, anywhere=progress == "lines")
    if progress
    else None,
    settings=settings,
    identity=lambda state, batch: identity(state, teacher, batch),
  )
  try:
    place = step_loop.run(loop)
  except DivergedError:
    check_answered(teacher)
    check_teacher(task, placed_teacher, first_batches[0])
    raise
  metrics = _metrics(place, task, best=patience is not None)
  return Distilled(place.best, metrics, place.history)


def _check(epochs, steps, patience, log_every, score_on) -> None:
  settings = {
    "epochs": epochs,
    "steps": steps,
    "patience": patience,
    "log_every": log_every,
  }
  for name, value in settings.items():
    if value is not None:
      check_whole(name, value)
  if (epochs is None) == (steps is None):
    text = "neither" if epochs is None else f"epochs={epochs}, steps={steps}"
    raise UserError(f"distill takes either epochs= or steps=, got {text}")
  if patience is not None and score_on is None:
    raise UserError(
      f"distill(patience={patience}) watches the score on held-out examples:"
      " give them, score_on="
    )
  if score_on is not None and _is_iterator(score_on):
    raise UserError(
      "score_on is read after every epoch, and an iterator only once: give"
      " arrays, a list, or a function that returns an iterator"
    )


def _check_told(callbacks: Any, progress: Any) -> None:
  """Refuses what nothing can be told to."""
  several = isinstance(callbacks, list | tuple)
  if not several or not all(map(callable, callbacks)):
    expected = "a list of functions of an Event, such as [kdjax.jsonl(path)]"
    wrong = [one for one in callbacks if not callable(one)] if several else []
    raise misfit("callbacks", expected, wrong[0] if wrong else callbacks)
  if not isinstance(progress, bool) and progress != "lines":
    raise misfit("progress", "True, False or 'lines'", progress)


def _is_iterator(batches: Any) -> bool:
  """Says whether something is an iterator, which has one pass."""
  return hasattr(batches, "__next__")


def _is_spread(teacher: Teacher | None) -> bool:
  """Says whether somebody has laid a teacher over several devices."""
  return any(
    isinstance(x, jax.Array) and len(x.sharding.device_set) > 1
    for x in jax.tree.leaves(teacher)
  )


def _scorer(student, score_on, task, batch_size):
  if score_on is None:
    return None
  is_sized = isinstance(score_on, Mapping) or hasattr(score_on, "with_format")

  def score(variables):
    return evaluate(
      student,
      variables,
      score_on,
      task=task,
      batch_size=batch_size if is_sized else None,
    )

  return score


def _metrics(
  place: step_loop.Place, task: Task, *, best: bool
) -> dict[str, float]:
  """What the history says of the variables that are returned."""
  name = f"test_{task.score}"
  rows = [row for row in place.history if name in row]
  if not rows:
    return {}
  row = max(rows, key=lambda x: task.better * x[name]) if best else rows[-1]
  return {name[5:]: row[name] for name in row if name.startswith("test_")}
