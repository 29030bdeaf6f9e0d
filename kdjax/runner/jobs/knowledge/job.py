"""The hallway of `launch.py quantify`: read `run` from top to bottom."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.core import storage
from kdjax.evaluate import knowledge as quantify
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict
from kdjax.runner.jobs.knowledge import measure as scores
from kdjax.runner.jobs.knowledge import training
from kdjax.runner.jobs.knowledge.build import KnowledgeSetup, prepare
from kdjax.runner.jobs.knowledge.entropies import Meter
from kdjax.runner.jobs.knowledge.measure import History
from kdjax.runner.jobs.knowledge.resume import Keeper, histories_of
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.fit import timed
from kdjax.runner.report import logs
from kdjax.runner.report.progress import compiling, progress, say
from kdjax.runner.system import environment
from kdjax.runner.system.workdir import claim

EXAMPLES = 5
MOMENTS = 5


class Bench(NamedTuple):
  """What every checkpoint is examined with.

  Attributes:
    setup: of the run.
    meter: measures entropies.
    mask: by variable, whether the feature depends on it.
    keeper: writes trainings.
    log: writes a line an epoch.
  """

  setup: KnowledgeSetup
  meter: Meter
  mask: Any
  keeper: Keeper
  log: logs.RunLog

  @property
  def place(self) -> str:
    """Whose weights' way is followed."""
    chosen = self.setup.experiment.quantify
    return chosen.weights or chosen.tap


def run(experiment: Experiment, *, name: str, command: str) -> Path:
  """Trains the three networks, examines every checkpoint, writes the report.

  Args:
    experiment: all settings.
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
  with timed(seconds, "total"):
    with timed(seconds, "data"):
      setup = prepare(experiment)
    workdir = claim(experiment.run.workdir, name)
    mask = training.depends(setup, _any_network(setup))
    meter = Meter(setup, mask, workdir)
    with logs.RunLog(workdir) as log:
      bench = Bench(setup, meter, mask, Keeper(setup, workdir), log)
      networks, histories = _train(bench, seconds)
    say("measuring concepts, and the estimator on a few images")
    with timed(seconds, "evaluation"):
      found = _measure(setup, meter, networks, histories)
    _save(setup, workdir, networks)
  found |= {
    "name": name,
    "command": command,
    "experiment": as_dict(experiment),
    "environment": environment.describe(setup.devices),
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.runner.report import knowledge_page

  samples = _samples(setup, histories)
  page = knowledge_page.write(workdir, found, samples)
  print(f"\n{knowledge_page.summary(found)}\n\n{page}")
  return workdir


def _train(bench: Bench, seconds) -> tuple[dict[str, Any], dict[str, Any]]:
  """Trains all; returns the last networks and the histories, by arm."""
  setup, mask = bench.setup, bench.mask
  with timed(seconds, "teacher"):
    saved = bench.keeper.load("teacher")
    epochs = training.teacher_epochs(setup, saved)
    networks, histories = _follow(bench, "teacher", epochs, saved, seconds)
  teacher = predict.first(networks["teacher"])
  with timed(seconds, "students"):
    saved = bench.keeper.load("students")
    epochs = training.student_epochs(setup, teacher, saved)
    grown, followed = _follow(bench, "students", epochs, saved, seconds)
  with timed(seconds, "labels"):
    student = grown["student"]
    saved = bench.keeper.load("labels")
    for found in training.label_epochs(setup, student, mask, saved):
      if found.epoch:
        bench.keeper.save("labels", found.epoch, found.states)
      last = jax.device_get(found.networks["student"])
    grown["student"] = training.unchanged(mask, student, last)
  return networks | grown, histories | followed


def _follow(bench: Bench, name, epochs, saved, seconds):
  """Examines every checkpoint as it comes; returns the last, and histories."""
  chosen = bench.setup.experiment
  total = (chosen.teacher if name == "teacher" else chosen.student).epochs
  spent, histories = {}, {}
  first = saved.epoch if saved else 0
  compiling(name)
  with progress(total - first, "epochs and their entropies") as advance:
    for found in epochs:
      if saved and found.epoch == first:
        histories = histories_of(
          saved, found.states, bench.meter, bench.place, bench.mask
        )
      else:
        with timed(spent, "now"):
          histories = _examined(bench, found, histories)
        seconds["entropies"] = seconds.get("entropies", 0.0) + spent["now"]
      if found.epoch:
        bench.keeper.save(name, found.epoch, found.states, histories)
      # The next epoch reuses the memory of this one's states.
      last = jax.device_get(found.networks)
      if found.losses:
        for arm in found.losses:
          bench.log.write(_row(arm, found, histories[arm]))
        advance(float(np.mean([x.mean() for x in found.losses.values()])))
  return last, histories


def _examined(bench: Bench, found, histories) -> dict[str, list[History]]:
  """Adds a checkpoint to the histories."""
  longer = {}
  for arm, members in found.networks.items():
    count = len(jax.tree.leaves(members)[0])
    longer[arm] = []
    for m in range(count):
      one = jax.tree.map(lambda x, m=m: np.asarray(x[m]), members)
      before = histories[arm][m] if histories else History()
      longer[arm].append(
        scores.extended(
          before,
          bench.meter.entry(one),
          bench.meter.entropies(one),
          one,
          bench.place,
          bench.mask,
        )
      )
  return longer


def _row(arm, found, histories) -> dict[str, Any]:
  return {
    "network": arm,
    "epoch": found.epoch,
    "step": found.epoch,
    "loss": found.losses[arm].tolist(),
    "mean_entropy": [
      float(one.estimates[-1].entropy.mean()) for one in histories
    ],
    "distance": [one.trail.lengths[-1] for one in histories],
  }


def _measure(
  setup: KnowledgeSetup, meter: Meter, networks, histories
) -> dict[str, Any]:
  found = {
    arm: scores.network_scores(setup, networks[arm], histories[arm])
    for arm in ("teacher", "student", "baseline")
  }
  chosen = setup.experiment.quantify
  pair = found["student"], found["baseline"]
  found["quantify"] = {
    "tap": chosen.tap,
    "estimator": chosen.estimator,
    "grid": chosen.grid,
    "threshold": setup.threshold,
    "images": len(setup.images),
    "foreground_cells": float(setup.on_object.sum((1, 2)).mean()),
    "comparisons": scores.comparisons(*(one["metrics"] for one in pair)),
    "thresholds": scores.over_thresholds(*(one["curves"] for one in pair)),
    "estimators": _estimators(setup, meter, networks),
    "checkpoints": {"computed": meter.computed, "reused": meter.reused},
  }
  return found


def _estimators(
  setup: KnowledgeSetup, meter: Meter, networks
) -> dict[str, Any]:
  """Compares the closed form with the optimiser, on some images of each net."""
  count = min(setup.experiment.quantify.compared_images, len(setup.images))
  if not count:
    return {}
  return {
    arm: scores.agreement(
      meter.compute(predict.first(members), "jacobian", count),
      meter.compute(predict.first(members), "optimise", count),
    )
    for arm, members in networks.items()
  }


def _samples(setup: KnowledgeSetup, histories) -> dict[str, Any]:
  """What the pictures show: a few images, all networks, a few moments."""
  count = min(EXAMPLES, len(setup.images))
  # One of a class: the images are sorted by nothing, the labels differ.
  picked = np.unique(setup.labels, return_index=True)[1][:count]
  firsts = {
    arm: scores.concepts_of(setup, members[0])
    for arm, members in histories.items()
  }
  moments = np.unique(
    np.linspace(0, len(firsts["student"].entropy) - 1, MOMENTS).astype(int)
  )
  return {
    "images": setup.images[picked],
    "masks": setup.masks[picked],
    "entropy": {arm: one.entropy[-1][picked] for arm, one in firsts.items()},
    "concepts": {
      arm: _marked(one, setup.threshold)[picked] for arm, one in firsts.items()
    },
    "moments": moments,
    "over_time": {
      arm: firsts[arm].entropy[moments, picked[0]]
      for arm in ("student", "baseline")
    },
  }


def _marked(found, threshold) -> np.ndarray:
  arrays = (found.entropy[-1], found.on_object, found.valid[-1])
  return np.asarray(quantify.concepts(*map(jnp.asarray, arrays), threshold))


def _any_network(setup: KnowledgeSetup):
  shapes = jax.eval_shape(
    lambda key: setup.network.init(key, setup.sample, train=False),
    jax.random.key(0),
  )
  return jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)


def _save(setup: KnowledgeSetup, workdir: Path, networks) -> None:
  note = {
    "model": setup.model,
    "classes": setup.dataset.classes,
    "class_names": list(setup.dataset.class_names),
    "image_shape": list(setup.dataset.image_shape),
    "dataset": setup.dataset.name,
  }
  storage.save_network(
    workdir / "teacher", predict.first(networks["teacher"]), note
  )
  for arm in ("student", "baseline"):
    storage.save_network(workdir / arm, networks[arm], note)
