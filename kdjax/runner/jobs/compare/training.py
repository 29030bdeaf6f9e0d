"""The teacher, and every candidate at the best of its settings."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kdjax import evaluate
from kdjax.core.errors import quantity
from kdjax.core.teacher import Teacher
from kdjax.data import Split
from kdjax.runner.config import Experiment
from kdjax.runner.job import Context
from kdjax.runner.jobs.compare.build import Comparison
from kdjax.runner.jobs.compare.candidates import Candidates
from kdjax.runner.pipeline import fit, starts
from kdjax.runner.pipeline.arms import looks_inside, settings_of
from kdjax.runner.pipeline.epochs import epochs
from kdjax.runner.pipeline.predict import predict
from kdjax.runner.pipeline.setup import Setup
from kdjax.runner.pipeline.stand_ins import make_teachers
from kdjax.runner.pipeline.sweep import ranking
from kdjax.runner.pipeline.teacher_targets import filled, with_targets
from kdjax.runner.pipeline.teachers import TeacherPool, TrainedNetworks
from kdjax.runner.report import estimates
from kdjax.runner.report.progress import compiling, progress, say
from kdjax.train.state import variables

# Seeds of the search: none of them is measured.
SEARCH_SEED = 10_000


class Outcome(NamedTuple):
  """What became of one arm.

  Attributes:
    cells: each tried setting with its scores on the held-out images.
    best: the place of the best one.
    networks: variables at the best setting, with a leading axis (seeds,).
    logits: (seeds, N, C) on the test images.
    seconds: that the arm took, compilation included.
  """

  cells: list[dict[str, Any]]
  best: int
  networks: Any
  logits: np.ndarray
  seconds: float


def train_teacher(setup: Comparison, context: Context) -> Any:
  """Trains the one teacher of all arms, or loads it."""
  base, candidates = setup
  for name, reason in candidates.left_out.items():
    say(f"compare: {name} is left out: {reason}")
  say(_ahead(base.experiment, candidates))
  arms = candidates.arms.values()
  return fit.obtain_teacher(
    base.experiment, base, context.workdir, context.log, arms
  )


def _ahead(experiment: Experiment, candidates: Candidates) -> str:
  searches = sum(map(len, candidates.grids.values())) * experiment.search.seeds
  members = len(candidates.arms) * experiment.student.seeds
  return estimates.beforehand(
    "compare",
    trainings=2 * len(candidates.arms),
    networks=searches + members,
    epochs=experiment.student.epochs,
  )


def train_students(setup: Comparison, context: Context) -> dict[str, Outcome]:
  """Searches and trains arm after arm; one whose loss is nowhere finite leaves."""
  base, candidates = setup
  first = TrainedNetworks(base.teacher, context.values["teacher"])
  base = with_targets(base, TeacherPool((first,)))
  if base is not setup.base:
    loaders = filled(candidates.loaders, base.train_split.labels)
    candidates = candidates._replace(loaders=loaders)
    setup = Comparison(base, candidates)
  ready = partial(make_teachers, base.experiment, base, TeacherPool((first,)))
  students = [arm for arm in candidates.arms.values() if arm.teacher]
  # Answers that never change are computed once, for those that need no more.
  inside, outside = (
    [arm for arm in students if looks_inside(arm) == looks]
    for looks in (True, False)
  )
  teachers = {True: ready(inside), False: ready(outside)}
  outcomes = {}
  for number, (name, arm) in enumerate(candidates.arms.items()):
    # The first needs no teacher; behind the controls a method is done.
    if number in (1, len(candidates.arms) - len(candidates.texts) + 1):
      seconds = sum(one.seconds for one in outcomes.values())
      say(estimates.underway("arm", number, len(candidates.arms), seconds))
    arm_teachers = teachers[looks_inside(arm)]
    try_arm = partial(
      _try_arm, setup, name, arm_teachers, context.log, first.networks
    )
    outcome = context.stored(f"arm_{number}", try_arm)
    if "networks" in outcome:
      outcomes[name] = Outcome(**outcome)
    else:
      candidates.left_out[name] = "its loss did not stay finite at any setting"
  return outcomes


def _try_arm(
  setup: Comparison,
  name: str,
  teachers: Mapping[str, Teacher],
  log,
  teacher: Any,
) -> dict[str, Any]:
  """Searches one arm's grid, then trains it at its best cell: an Outcome."""
  start = time.perf_counter()
  base, candidates = setup
  task = base.student.task
  experiment, grid = base.experiment, candidates.grids[name]
  train = partial(
    _train, setup, name, teachers=teachers, programs={}, teacher=teacher
  )
  seeds = SEARCH_SEED + np.arange(experiment.search.seeds)
  networks, losses = train(settings_of(grid, seeds))
  best, cells = _choose(base, grid, networks, losses)
  if not np.isfinite(losses[best * len(seeds) : (best + 1) * len(seeds)]).all():
    return {"losses": losses}
  seeds = np.arange(experiment.student.seeds)
  networks, losses = train(settings_of([grid[best]], seeds))
  test = base.dataset.test
  logits = _predict(base, networks, test)
  seconds = time.perf_counter() - start
  log.write(
    {
      "network": name,
      "epoch": experiment.student.epochs,
      "step": _steps(setup),
      "loss": [x if np.isfinite(x) else None for x in losses.tolist()],
      f"test_{task.score}": evaluate.score(task, logits, test.labels),
      "seconds": seconds,
    }
    | grid[best]
  )
  return Outcome(cells, best, networks, logits, seconds)._asdict()


def _choose(base, grid, networks, losses) -> tuple[int, list[dict[str, Any]]]:
  """Scores the cells on the held-out images; one whose loss is lost is the last."""
  task, shape = base.student.task, (len(grid), -1)
  logits = _predict(base, networks, base.score_split)
  entry = evaluate.measure_task(task, logits, base.score_split.labels)
  scores = np.array(entry[f"test_{task.score}"])
  # Cosines may be negative.
  worst = min(0.0, *scores) if task.better > 0 else np.nan
  scores = np.where(np.isfinite(losses), scores, worst).reshape(shape)
  nll = entry.get("negative_log_likelihood", np.zeros(len(losses)))
  # Accuracies are coarse: the likelihood decides where they are the same.
  order = ranking(scores, task.better, ties=np.reshape(nll, shape).mean(1))
  cells = [
    cell | {task.score: [x if np.isfinite(x) else None for x in values]}
    for cell, values in zip(grid, scores.tolist(), strict=True)
  ]
  return int(order[0]), cells


def _train(
  setup: Comparison, name, settings, *, teachers, programs, teacher
) -> tuple[Any, np.ndarray]:
  """Trains one arm's members; returns their variables and last losses."""
  base, candidates = setup
  student = base.experiment.student
  train_spec = base.student._replace(
    optimizer=base.student.optimizer_for(_steps(setup)),
    arms={name: candidates.arms[name]._replace(settings=settings)},
    loaders=candidates.loaders,
    apart=False,
  )
  train_spec = starts.begun(train_spec, base.start, teacher)
  title = f"{name}, {quantity(len(settings['seed']), 'student')}"
  if not programs:
    compiling(title)
  with progress(student.epochs, title) as advance:
    for epoch in epochs(base, train_spec, teachers, programs=programs):
      advance(loss=float(epoch.metrics[name]["loss"].mean()))
  return variables(epoch.states[name]), epoch.metrics[name]["loss"]


def _steps(setup: Comparison) -> int:
  length = max(loader.steps for loader in setup.candidates.loaders.values())
  return setup.base.experiment.student.epochs * length


def _predict(base: Setup, networks: Any, images: Split) -> np.ndarray:
  return predict(base.student, networks, images.images)
