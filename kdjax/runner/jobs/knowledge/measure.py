"""The scores of results.json, and what the pictures show."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from kdjax.core import storage
from kdjax.evaluate import knowledge as quantify
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.knowledge import metrics, stages
from kdjax.runner.jobs.knowledge.build import KnowledgeSetup
from kdjax.runner.jobs.knowledge.entropies import Meter
from kdjax.runner.pipeline.predict import first
from kdjax.runner.pipeline.setup import network_note
from kdjax.runner.report.progress import say
from kdjax.tasks.classification import classification

EXAMPLES = 5
MOMENTS = 5


def measure(setup: KnowledgeSetup, context: Context) -> Measured:
  """Scores and saves the three networks."""
  say("measuring concepts")
  teacher, students = context.values["teacher"], context.values["students"]
  networks = stages.trained_networks(context)
  histories = teacher.histories | students.histories
  results = _measure(setup, teacher.bench.meter, networks, histories)
  results["quantify"]["estimators"] = context.values["estimators"]
  _save(setup, context.workdir, networks)
  results["task"] = classification(setup.dataset.classes).name
  return Measured(results, {"samples": _samples(setup, histories)})


def _measure(
  setup: KnowledgeSetup, meter: Meter, networks, histories
) -> dict[str, Any]:
  results = {
    arm: metrics.network_scores(setup, networks[arm], histories[arm])
    for arm in ("teacher", "student", "baseline")
  }
  settings = setup.experiment.quantify
  pair = results["student"], results["baseline"]
  results["quantify"] = {
    "tap": settings.tap,
    "estimator": settings.estimator,
    "grid": settings.grid,
    "threshold": setup.threshold,
    "images": len(setup.images),
    "foreground_cells": float(setup.on_object.sum((1, 2)).mean()),
    "comparisons": metrics.comparisons(*(one["metrics"] for one in pair)),
    "thresholds": metrics.over_thresholds(*(one["curves"] for one in pair)),
    "checkpoints": {"computed": meter.computed, "reused": meter.reused},
  }
  return results


def _samples(setup: KnowledgeSetup, histories) -> dict[str, Any]:
  """What the pictures show: a few images, all networks, a few moments."""
  count = min(EXAMPLES, len(setup.images))
  # One of a class: the images are sorted by nothing, the labels differ.
  places = np.unique(setup.labels, return_index=True)[1][:count]
  firsts = {
    arm: metrics.concepts_of(setup, members[0])
    for arm, members in histories.items()
  }
  moments = np.unique(
    np.linspace(0, len(firsts["student"].entropy) - 1, MOMENTS).astype(int)
  )
  return {
    "images": setup.images[places],
    "masks": setup.masks[places],
    "entropy": {arm: one.entropy[-1][places] for arm, one in firsts.items()},
    "concepts": {
      arm: _marked(one, setup.threshold)[places] for arm, one in firsts.items()
    },
    "moments": moments,
    "over_time": {
      arm: firsts[arm].entropy[moments, places[0]]
      for arm in ("student", "baseline")
    },
  }


def _marked(concepts, threshold) -> np.ndarray:
  setup = (concepts.entropy[-1], concepts.on_object, concepts.valid[-1])
  return np.asarray(quantify.concepts(*map(jnp.asarray, setup), threshold))


def _save(setup: KnowledgeSetup, workdir: Path, networks) -> None:
  note = network_note(setup, setup.model)
  storage.save_network(workdir / "teacher", first(networks["teacher"]), note)
  for arm in ("student", "baseline"):
    storage.save_network(workdir / arm, networks[arm], note)
