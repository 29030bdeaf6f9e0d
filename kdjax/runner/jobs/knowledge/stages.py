"""The trainings, with every checkpoint examined as it comes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core import timing
from kdjax.runner.job import Context, timed
from kdjax.runner.jobs.knowledge import metrics, training
from kdjax.runner.jobs.knowledge.build import KnowledgeSetup
from kdjax.runner.jobs.knowledge.entropies import Meter
from kdjax.runner.jobs.knowledge.metrics import History
from kdjax.runner.jobs.knowledge.resume import Keeper, histories_of
from kdjax.runner.pipeline.predict import first
from kdjax.runner.report.progress import compiling, progress, say


class Bench(NamedTuple):
  """What every checkpoint is examined with.

  Attributes:
    mask: by variable, whether the feature depends on it.
    context: its log gets a line an epoch, its seconds those of the entropies.
  """

  setup: KnowledgeSetup
  meter: Meter
  mask: Any
  keeper: Keeper
  context: Context


class Followed(NamedTuple):
  """Trained networks, and how they came to be.

  Attributes:
    networks: the last variables by arm, with a leading axis of seeds.
    histories: by arm, one a seed.
    bench: what they were examined with.
  """

  networks: dict[str, Any]
  histories: dict[str, list[History]]
  bench: Bench


def train_teacher(setup: KnowledgeSetup, context: Context) -> Followed:
  """Trains the teacher, and examines its checkpoints."""
  mask = training.depends(setup, _any_network(setup))
  meter = Meter(setup, mask, context.workdir)
  bench = Bench(setup, meter, mask, Keeper(setup, context.workdir), context)
  saved = bench.keeper.load("teacher")
  epochs = training.teacher_epochs(setup, saved)
  return _follow(bench, "teacher", epochs, saved)


def train_students(setup: KnowledgeSetup, context: Context) -> Followed:
  """Trains students and baselines, and examines their checkpoints."""
  networks, _, bench = context.values["teacher"]
  saved = bench.keeper.load("students")
  teacher = first(networks["teacher"])
  epochs = training.student_epochs(setup, teacher, saved)
  return _follow(bench, "students", epochs, saved)


def train_on_labels(setup: KnowledgeSetup, context: Context) -> Any:
  """Returns the students, their layers above the tap trained on labels."""
  networks, _, bench = context.values["students"]
  student, mask = networks["student"], bench.mask
  saved = bench.keeper.load("labels")
  for checkpoint in training.label_epochs(setup, student, mask, saved):
    if checkpoint.epoch:
      bench.keeper.save("labels", checkpoint.epoch, checkpoint.states)
    last = jax.device_get(checkpoint.networks["student"])
  return training.unchanged(mask, student, last)


def trained_networks(context: Context) -> dict[str, Any]:
  """Returns by arm the variables at the end, with a leading axis of seeds."""
  teacher, students = context.values["teacher"], context.values["students"]
  labels = {"student": context.values["labels"]}
  return teacher.networks | students.networks | labels


def compare_estimators(
  setup: KnowledgeSetup, context: Context
) -> dict[str, Any]:
  """Compares the closed form with the optimiser, on some images of each net."""
  count = min(setup.experiment.quantify.compared_images, len(setup.images))
  if not count:
    return {}
  say("comparing the closed form with the optimiser on a few images")
  meter = context.values["teacher"].bench.meter
  return {
    arm: metrics.agreement(
      meter.compute(first(members), "jacobian", count),
      meter.compute(first(members), "optimise", count),
    )
    for arm, members in trained_networks(context).items()
  }


def _follow(bench: Bench, name, epochs, saved) -> Followed:
  """Examines every checkpoint as it comes."""
  experiment = bench.setup.experiment
  total = (
    experiment.teacher if name == "teacher" else experiment.student
  ).epochs
  timer, histories, seconds = {}, {}, bench.context.seconds
  first = saved.epoch if saved else 0
  if first < total:
    compiling(name)
  with progress(total - first, "epochs and their entropies") as advance:
    for checkpoint in epochs:
      if saved and checkpoint.epoch == first:
        histories = histories_of(
          saved, checkpoint.states, bench.meter, bench.setup.weights, bench.mask
        )
      else:
        with timed(timer, "now"), timing.part("evaluation"):
          histories = _examined(bench, checkpoint, histories)
        seconds["entropies"] = seconds.get("entropies", 0.0) + timer["now"]
      if checkpoint.epoch:
        bench.keeper.save(name, checkpoint.epoch, checkpoint.states, histories)
      # The next epoch reuses the memory of this one's states.
      last = jax.device_get(checkpoint.networks)
      if checkpoint.losses:
        for arm in checkpoint.losses:
          bench.context.log.write(_row(arm, checkpoint, histories[arm]))
        advance(float(np.mean([x.mean() for x in checkpoint.losses.values()])))
  return Followed(last, histories, bench)


def _examined(bench: Bench, checkpoint, histories) -> dict[str, list[History]]:
  """Adds a checkpoint to the histories."""
  longer = {}
  for arm, members in checkpoint.networks.items():
    count = len(jax.tree.leaves(members)[0])
    longer[arm] = []
    for m in range(count):
      one = jax.tree.map(lambda x, m=m: np.asarray(x[m]), members)
      before = histories[arm][m] if histories else History()
      longer[arm].append(
        metrics.extended(
          before,
          bench.meter.entry(one),
          bench.meter.entropies(one),
          one,
          bench.setup.weights,
          bench.mask,
        )
      )
  return longer


def _row(arm, checkpoint, histories) -> dict[str, Any]:
  return {
    "network": arm,
    "epoch": checkpoint.epoch,
    "step": checkpoint.epoch,
    "loss": checkpoint.losses[arm].tolist(),
    "mean_entropy": [
      float(one.estimates[-1].entropy.mean()) for one in histories
    ],
    "distance": [one.trail.lengths[-1] for one in histories],
  }


def _any_network(setup: KnowledgeSetup):
  shapes = jax.eval_shape(
    lambda key: setup.network.init(key, setup.sample, train=False),
    jax.random.key(0),
  )
  return jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)
