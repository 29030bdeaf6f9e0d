"""The student and its baseline as they are trained."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from kdjax import data, methods
from kdjax.core.task import Task, as_batch
from kdjax.data import Split
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.lm import across, measure, networks, policies
from kdjax.runner.pipeline.arms import settings_of
from kdjax.runner.pipeline.setup import TrainSpec
from kdjax.runner.pipeline.validate import check_pieces, check_schedules
from kdjax.train.arm import Arm
from kdjax.train.dry_run import check_step
from kdjax.train.loader import Loader
from kdjax.train.optimizer import read_optimizer
from kdjax.train.schemes.scheme import OFFLINE, in_pieces


def split_of(task: Task, sequences: Mapping[str, np.ndarray]) -> Split:
  """What networks see of sequences, and what is to be learned of each."""
  targets = np.asarray(as_batch(task, sequences).targets)
  shown = {name: x for name, x in sequences.items() if name != "counts"}
  return Split(shown, targets)


def rates(experiment: Experiment) -> tuple[float, ...]:
  """The rates that every arm tries."""
  return experiment.search.rates or (experiment.student.learning_rate,)


def make(setup: Any, task: Task) -> TrainSpec:
  """The student and its twin, which learns from the files' next tokens alone."""
  experiment = setup.experiment
  settings, computing = experiment.student, experiment.computing
  # The last loader is the student's, the first one the baseline's.
  *_, student_loader = setup.examples
  student_examples = setup.examples[student_loader]
  steps, rounds = _steps(experiment, len(student_examples))
  loaders = {
    # What is called an epoch is the way from one point of the curve to the next.
    name: _loader(
      setup.train_split, examples, settings.batch_size, setup.across is not None
    )._replace(steps=steps // rounds)
    for name, examples in setup.examples.items()
  }
  facts = {
    "steps": steps,
    "examples": len(setup.train_split.labels),
    "classes": task.width,
    "task": task,
  }
  if setup.across is not None:
    facts["adapt"] = partial(
      across.adapt, setup.across, experiment.language.across
    )
  check_schedules(experiment, steps)
  members = settings_of(setup.grid, np.arange(settings.seeds))
  alone = in_pieces(OFFLINE, computing.accumulate_steps)
  scheme = policies.scheme_of(setup, task, steps, steps // rounds)
  if scheme.adapt_loader:
    loaders["adapted"] = scheme.adapt_loader(loaders[student_loader])
    student_loader = "adapted"
  arms = {
    name: Arm(
      loader,
      lambda _, text=text: methods.make_objective(text, **facts),
      members,
      "teacher" if methods.asks_a_teacher(text) else None,
      own_scheme,
    )
    for name, loader, text, own_scheme in (
      ("student", student_loader, setup.values.objective, scheme),
      ("baseline", "train", "hard", alone),
      *(
        (name, student_loader, text, scheme)
        for name, text in setup.values.alternatives.items()
      ),
    )
  }
  check_pieces(experiment, arms)
  network = networks.as_computed(
    setup.learner.pretrained.network,
    dtype=computing.compute_dtype,
    remat=computing.remat,
  )
  for name, arm in arms.items():
    if name != "baseline":
      check_step(
        network,
        setup.shown,
        arm.method({}),
        setup.sample,
        task,
        scheme,
        settings.batch_size,
      )
  start = setup.learner.pretrained.variables
  learned = setup.train_split.labels[student_examples] >= 0
  tokens = settings.batch_size * learned.sum(axis=1).mean()
  return TrainSpec(
    network=network,
    model=setup.values.student,
    optimizer=read_optimizer(settings.optimizer, settings.schedule)(steps),
    arms=arms,
    loaders=loaders,
    epochs=rounds,
    images=round(
      tokens * loaders[student_loader].steps * len(arms) * len(members["seed"])
    ),
    show=lambda x: x,
    together=True,
    task=task,
    most=computing.members_at_once,
    variables={} if start is None else dict.fromkeys(arms, start),
    measure=partial(measure.on_validation, setup, network, task),
  )


def _loader(
  split: Split, examples: np.ndarray, size: int, has_beside: bool
) -> Loader:
  def batches(seed, start, stop):
    return data.batches(examples, size, seed=seed, start=start, stop=stop)

  steps = data.steps_per_pass(len(examples), size)
  loader = Loader(batches, steps, split.labels, lambda key, stored, _: stored)
  if not has_beside:
    return loader
  return loader._replace(
    view=across.student_view, teacher_view=across.teacher_view
  )


def _steps(experiment: Experiment, examples: int) -> tuple[int, int]:
  """How many steps there are, and after how many equal parts of them is looked."""
  settings, student = experiment.language, experiment.student
  passes = data.steps_per_pass(examples, student.batch_size)
  steps = settings.steps or student.epochs * passes
  return steps, max(
    count for count in range(1, settings.evaluations + 1) if steps % count == 0
  )
