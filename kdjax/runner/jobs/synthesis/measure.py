"""The scores of results.json, and what the page shows."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core import storage
from kdjax.runner.job import Context, Measured
from kdjax.runner.jobs.synthesis import networks, training
from kdjax.runner.jobs.synthesis.build import SynthesisSetup
from kdjax.runner.jobs.synthesis.networks import TrainedStudents
from kdjax.runner.jobs.synthesis.unroll import Synthetic
from kdjax.runner.pipeline import measure as results
from kdjax.runner.pipeline.predict import first
from kdjax.runner.pipeline.setup import network_note
from kdjax.tasks.classification import classification


def measure(setup: SynthesisSetup, context: Context) -> Measured:
  """Scores the networks of every kind of images, and saves two kinds."""
  (image_sets, losses), students = (
    context.values["synthesis"],
    context.values["networks"],
  )
  results = _scores(setup, students)
  _save_networks(setup, context.workdir, students)
  results["synthesis"] = _synthesis(setup, image_sets, losses) | {
    "networks": len(results["student"]["each"][0])
  }
  results["task"] = classification(setup.dataset.classes).name
  return Measured(results, {"samples": _samples(setup, image_sets)})


def _scores(
  setup: SynthesisSetup, students: dict[str, TrainedStudents]
) -> dict[str, Any]:
  scores = {arm: networks.entry(setup, one) for arm, one in students.items()}
  scores["controls"] = {"centroids": scores.pop("centroids")}
  scores["comparisons"] = results.comparisons(
    scores, classification(setup.dataset.classes)
  )
  return scores


def _synthesis(setup: SynthesisSetup, image_sets, losses) -> dict[str, Any]:
  settings = setup.experiment.synthesis
  return {
    "images_per_class": settings.images_per_class,
    "classes": setup.dataset.classes,
    "real_images": len(setup.labels),
    "loss": losses,
    "rates": [np.exp(one.log_rates).ravel().tolist() for one in image_sets],
    "digest": [storage.digest(one._asdict()) for one in image_sets],
  }


def _samples(
  setup: SynthesisSetup, image_sets: list[Synthetic]
) -> dict[str, Any]:
  """What the picture shows: the first set before and after, a row a class."""
  first = jax.device_get(training.first_images(setup, 0))
  return {
    "before": _by_class(first),
    "after": _by_class(image_sets[0]),
    "class_names": list(setup.dataset.class_names),
  }


def _by_class(synthetic: Synthetic) -> np.ndarray:
  """(S, B, H, W, C) -> (K, images of the class, H, W, C), as they were dealt."""
  steps, _, *shape = synthetic.images.shape
  classes = synthetic.labels.shape[-1]
  images = np.asarray(synthetic.images).reshape(steps, classes, -1, *shape)
  return images.swapaxes(0, 1).reshape(classes, -1, *shape)


def _save_networks(setup: SynthesisSetup, workdir: Path, students) -> None:
  note = network_note(setup, setup.model)

  def firsts(arm):
    first_members = [
      jax.tree.map(lambda x: x[0], one) for one in students[arm].networks
    ]
    return {"params": jax.tree.map(lambda *x: np.stack(x), *first_members)}

  storage.save_network(workdir / "teacher", first(firsts("teacher")), note)
  storage.save_network(workdir / "student", firsts("student"), note)
