"""The hallway of `launch.py quantify`: read `run` from top to bottom."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import environment, quantify, results
from kdjax.config import Experiment
from kdjax.explain import figures, training
from kdjax.explain.entropies import Meter
from kdjax.explain.figures import History
from kdjax.explain.parts import Parts, prepare
from kdjax.fit import timed
from kdjax.options import as_dict
from kdjax.report import logs
from kdjax.report.progress import progress
from kdjax.train import checkpoint
from kdjax.workdir import claim

EXAMPLES = 5
MOMENTS = 5


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
      parts = prepare(experiment)
    workdir = claim(experiment.run.workdir, name)
    mask = training.depends(parts, _any_network(parts))
    meter = Meter(parts, mask, workdir)
    networks, histories = {}, {}
    with logs.RunLog(workdir) as log:
      with timed(seconds, "teacher"):
        epochs = training.teacher_epochs(parts)
        total = experiment.teacher.epochs
        found = _follow(parts, meter, mask, log, epochs, total, seconds)
        networks["teacher"], histories["teacher"] = _only(found)
      teacher = results.first(networks["teacher"])
      with timed(seconds, "students"):
        epochs = training.student_epochs(parts, teacher)
        total = experiment.student.epochs
        grown, followed = _follow(
          parts, meter, mask, log, epochs, total, seconds
        )
        networks |= grown
        histories |= followed
        networks["student"] = training.finish_student(
          parts, networks["student"], mask
        )
    with timed(seconds, "evaluation"):
      found = _measure(parts, meter, networks, histories)
    _save(parts, workdir, networks)
  found |= {
    "name": name,
    "command": command,
    "experiment": as_dict(experiment),
    "environment": environment.describe(parts.devices),
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.report import knowledge

  samples = _samples(parts, histories)
  page = knowledge.write(workdir, found, samples)
  print(f"\n{knowledge.summary(found)}\n\n{page}")
  return workdir


def _follow(parts, meter, mask, log, epochs, total, seconds):
  """Examines every checkpoint as it comes; returns the last, and histories."""
  histories: dict[str, list[History]] = {}
  chosen = parts.experiment.quantify
  place = chosen.weights or chosen.tap
  spent = 0.0
  with progress(total, "epochs and their entropies", 0) as advance:
    for found in epochs:
      for arm, members in found.networks.items():
        count = len(jax.tree.leaves(members)[0])
        kept = histories.setdefault(arm, [History()] * count)
        for m in range(count):
          one = jax.tree.map(lambda x, m=m: x[m], members)
          start = time.perf_counter()
          estimate = meter.entropies(one)
          spent += time.perf_counter() - start
          kept[m] = figures.extended(kept[m], estimate, one, place, mask)
        if found.epoch:
          log.write(_row(arm, found, kept))
      # The next epoch reuses the memory of this one's states.
      last = jax.device_get(found.networks)
      if found.epoch:
        advance(float(np.mean([x.mean() for x in found.losses.values()])))
  seconds["entropies"] = seconds.get("entropies", 0.0) + spent
  return last, histories


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


def _measure(parts: Parts, meter: Meter, networks, histories) -> dict[str, Any]:
  found = {
    arm: figures.network_figures(parts, networks[arm], histories[arm])
    for arm in ("teacher", "student", "baseline")
  }
  chosen = parts.experiment.quantify
  pair = found["student"], found["baseline"]
  found["quantify"] = {
    "tap": chosen.tap,
    "estimator": chosen.estimator,
    "grid": chosen.grid,
    "threshold": parts.threshold,
    "images": len(parts.images),
    "foreground_cells": float(parts.on_object.sum((1, 2)).mean()),
    "comparisons": figures.comparisons(*(one["metrics"] for one in pair)),
    "thresholds": figures.over_thresholds(*(one["curves"] for one in pair)),
    "estimators": _estimators(parts, meter, networks),
    "checkpoints": {"computed": meter.computed, "reused": meter.reused},
  }
  return found


def _estimators(parts: Parts, meter: Meter, networks) -> dict[str, Any]:
  """Compares the closed form with the optimiser, on some images of each net."""
  count = min(parts.experiment.quantify.compared_images, len(parts.images))
  if not count:
    return {}
  return {
    arm: figures.agreement(
      meter.compute(results.first(members), "jacobian", count),
      meter.compute(results.first(members), "optimise", count),
    )
    for arm, members in networks.items()
  }


def _samples(parts: Parts, histories) -> dict[str, Any]:
  """What the pictures show: a few images, all networks, a few moments."""
  count = min(EXAMPLES, len(parts.images))
  # One of a class: the images are sorted by nothing, the labels differ.
  picked = np.unique(parts.labels, return_index=True)[1][:count]
  firsts = {
    arm: figures.concepts_of(parts, members[0])
    for arm, members in histories.items()
  }
  moments = np.unique(
    np.linspace(0, len(firsts["student"].entropy) - 1, MOMENTS).astype(int)
  )
  return {
    "images": parts.images[picked],
    "masks": parts.masks[picked],
    "entropy": {arm: one.entropy[-1][picked] for arm, one in firsts.items()},
    "concepts": {
      arm: _marked(one, parts.threshold)[picked] for arm, one in firsts.items()
    },
    "moments": moments,
    "over_time": {
      arm: firsts[arm].entropy[moments, picked[0]]
      for arm in ("student", "baseline")
    },
  }


def _marked(found, threshold) -> np.ndarray:
  parts = (found.entropy[-1], found.on_object, found.valid[-1])
  return np.asarray(quantify.concepts(*map(jnp.asarray, parts), threshold))


def _any_network(parts: Parts):
  shapes = jax.eval_shape(
    lambda key: parts.network.init(key, parts.sample, train=False),
    jax.random.key(0),
  )
  return jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)


def _only(found):
  (networks, histories) = found
  return networks["teacher"], histories["teacher"]


def _save(parts: Parts, workdir: Path, networks) -> None:
  note = {
    "model": parts.model,
    "classes": parts.dataset.classes,
    "class_names": list(parts.dataset.class_names),
    "image_shape": list(parts.dataset.image_shape),
    "dataset": parts.dataset.name,
  }
  checkpoint.save_network(
    workdir / "teacher", results.first(networks["teacher"]), note
  )
  for arm in ("student", "baseline"):
    checkpoint.save_network(workdir / arm, networks[arm], note)
