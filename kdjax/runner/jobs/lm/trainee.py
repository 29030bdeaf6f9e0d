"""The student and its baseline as they are trained."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from kdjax import data, methods
from kdjax.core.task import Task, as_batch
from kdjax.data import Split
from kdjax.runner.config import Experiment
from kdjax.runner.jobs.lm import measure, networks, policies
from kdjax.runner.jobs.lm.rollout_cache import rollout_cache
from kdjax.runner.pipeline.arms import settings_of
from kdjax.runner.pipeline.pruning_settings import pruning_of
from kdjax.runner.pipeline.setup import TrainSpec
from kdjax.runner.pipeline.validate import check_pieces, check_schedules
from kdjax.taps.network import Network
from kdjax.train.arm import Arm
from kdjax.train.dry_run import check_step
from kdjax.train.loader import Loader
from kdjax.train.optimizer import read_optimizer
from kdjax.train.precision import in_precision
from kdjax.train.schemes.scheme import OFFLINE, Scheme, in_pieces


def split_of(task: Task, sequences: Mapping[str, np.ndarray]) -> Split:
  """What networks see of sequences, and what is to be learned of each."""
  targets = np.asarray(as_batch(task, sequences).targets)
  inputs = {name: x for name, x in sequences.items() if name != "counts"}
  return Split(inputs, targets)


def rates(experiment: Experiment) -> tuple[float, ...]:
  """The rates that every arm tries."""
  return experiment.search.rates or (experiment.student.learning_rate,)


def make(setup: Any) -> TrainSpec:
  """The student and its twin, which learns from the files' next tokens alone."""
  experiment, task = setup.experiment, setup.tokenization.task
  settings = experiment.student
  # The last loader is the student's, the first one the baseline's.
  *_, student_loader = setup.examples
  examples = setup.examples[student_loader]
  steps, rounds = _steps(experiment, len(examples))
  check_schedules(experiment, steps)
  # What is called an epoch is the way from one point of the curve to the next.
  loaders = {
    name: _loader(setup, places)._replace(steps=steps // rounds)
    for name, places in setup.examples.items()
  }
  scheme = policies.scheme_of(setup, steps, steps // rounds)
  if scheme.adapt_loader:
    loaders["adapted"] = scheme.adapt_loader(loaders[student_loader])
    student_loader = "adapted"
  arms = _arms(setup, scheme, student_loader, steps)
  check_pieces(experiment, arms)
  network, start = networks.as_trained(
    setup.student_model,
    setup.sample,
    dtype=experiment.computing.compute_dtype,
    remat=experiment.computing.remat,
  )
  _check_steps(setup, network, arms)
  learned = setup.train_split.labels[examples] >= 0
  tokens = settings.batch_size * learned.sum(axis=1).mean()
  members = sum(len(arm.settings["seed"]) for arm in arms.values())
  return TrainSpec(
    network=network,
    model=setup.values.student,
    optimizer=read_optimizer(settings.optimizer, settings.schedule)(
      steps, pruning_of(experiment.compression, steps)
    ),
    arms=arms,
    loaders=loaders,
    epochs=rounds,
    images=round(tokens * loaders[student_loader].steps * members),
    show=lambda x: x,
    together=True,
    task=task,
    most=experiment.computing.members_at_once,
    partition=setup.partition,
    variables={} if start is None else dict.fromkeys(arms, start),
    measure=partial(measure.on_validation, setup, network, task),
    kv_cache=_kv_cache(setup, network, start) if setup.policy.writes else None,
  )


def _kv_cache(setup: Any, network: Network, start: Any):
  """Makes the function that counts what a member's own texts take on a device."""
  experiment, teachers = setup.experiment, setup.teachers
  if start is None:
    start = jax.eval_shape(network.init, jax.random.key(0), setup.sample)
  writers = [(network, start)]
  if setup.policy.combine is not None:
    dtype = experiment.computing.teacher_dtype
    both = in_precision(teachers.together.network, dtype)
    writers.append((both, teachers.together.variables))
  new_tokens = experiment.continuation.max_new_tokens
  return partial(
    rollout_cache,
    writers,
    batch_size=experiment.student.batch_size,
    prompt=setup.train_split.labels.shape[1] + 1 - new_tokens,
    new_tokens=new_tokens,
    devices=setup.devices,
  )


def _arms(
  setup: Any, scheme: Scheme, student_loader: str, steps: int
) -> dict[str, Arm]:
  """Who is trained: student and alternatives by a scheme, and the baseline."""
  experiment, tokenization = setup.experiment, setup.tokenization
  members = settings_of(setup.grid, np.arange(experiment.student.seeds))

  def arm(objective, loader=student_loader, scheme=scheme):
    return Arm(
      loader,
      lambda _: methods.make_objective(
        objective,
        steps=steps,
        examples=len(setup.train_split.labels),
        classes=tokenization.task.width,
        task=tokenization.task,
        adapt=tokenization.adapt,
      ),
      members,
      "teacher" if methods.asks_a_teacher(objective) else None,
      scheme,
    )

  alone = in_pieces(OFFLINE, experiment.computing.accumulate_steps)
  return {
    "student": arm(setup.values.objective),
    "baseline": arm("hard", "train", alone),
    **{name: arm(x) for name, x in setup.values.alternatives.items()},
  }


def _check_steps(setup: Any, network: Network, arms: Mapping[str, Arm]) -> None:
  """Traces a step of every arm but the baseline's, which is no one's choice."""
  for name, arm in arms.items():
    if name != "baseline":
      check_step(
        network,
        setup.training_teacher,
        arm.method({}),
        setup.sample,
        setup.tokenization.task,
        arm.scheme,
        setup.experiment.student.batch_size,
      )


def _loader(setup: Any, examples: np.ndarray) -> Loader:
  """Shows some of the training sequences."""
  size = setup.experiment.student.batch_size

  def batches(seed, start, stop):
    return data.batches(examples, size, seed=seed, start=start, stop=stop)

  return Loader(
    batches,
    data.steps_per_pass(len(examples), size),
    setup.train_split.labels,
    **setup.tokenization.views,
  )


def _steps(experiment: Experiment, examples: int) -> tuple[int, int]:
  """How many steps there are, and into how many equal rounds they are divided."""
  settings, student = experiment.language, experiment.student
  passes = data.steps_per_pass(examples, student.batch_size)
  steps = settings.steps or student.epochs * passes
  return steps, max(
    count for count in range(1, settings.evaluations + 1) if steps % count == 0
  )
