"""The hallway of `launch.py synthesise`: read `run` from top to bottom."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from kdjax.core import storage
from kdjax.core.errors import StorageError
from kdjax.runner.config import Experiment
from kdjax.runner.config.options import as_dict
from kdjax.runner.jobs.synthesis import measure as scores
from kdjax.runner.jobs.synthesis import training
from kdjax.runner.jobs.synthesis.build import SynthesisSetup, prepare
from kdjax.runner.jobs.synthesis.measure import Taught
from kdjax.runner.jobs.synthesis.unroll import Synthetic
from kdjax.runner.pipeline import measure as results
from kdjax.runner.pipeline import predict
from kdjax.runner.pipeline.fit import timed
from kdjax.runner.report import logs
from kdjax.runner.report.progress import compiling, progress, say
from kdjax.runner.system import environment
from kdjax.runner.system.workdir import claim

IMAGES = "images.npz"


def run(experiment: Experiment, *, name: str, command: str) -> Path:
  """Learns images, trains networks on them and on real ones, writes the report.

  Args:
    experiment: all settings.
    name: the experiment's name, for people.
    command: the command line that repeats it.

  Returns:
    The folder that holds results.json, report.html, images.npz and all else.

  Raises:
    UserError: for bad settings or data, before anything is compiled.
    DivergedError: if a loss leaves the finite numbers.
    StorageError: if something cannot be written.
  """
  seconds = {}
  with timed(seconds, "total"):
    with timed(seconds, "data"):
      setup = prepare(experiment)
    workdir = claim(experiment.run.workdir, name)
    with timed(seconds, "synthesis"), logs.RunLog(workdir) as log:
      learned, losses = _learn(setup, log)
    _save_images(workdir / IMAGES, learned)
    say("measuring what fresh networks learn from each kind of images")
    with timed(seconds, "evaluation"):
      taught = {
        "teacher": scores.from_all(setup),
        "student": scores.from_learned(setup, learned),
        "baseline": scores.from_few(setup, "random"),
        "centroids": scores.from_few(setup, "centroids"),
      }
      found = _scores(setup, taught)
    _save_networks(setup, workdir, taught)
  networks = len(found["student"]["each"][0])
  found["synthesis"] = _synthesis(setup, learned, losses, networks)
  found |= {
    "name": name,
    "command": command,
    "experiment": as_dict(experiment),
    "environment": environment.describe(setup.devices),
    "seconds": seconds,
  }
  # Drawing needs matplotlib, which bad input should not have to wait for.
  from kdjax.runner.report import synthesis_page

  page = synthesis_page.write(workdir, found, _samples(setup, learned))
  print(f"\n{synthesis_page.summary(found)}\n\n{page}")
  return workdir


def _learn(setup: SynthesisSetup, log) -> tuple[list[Synthetic], list[float]]:
  """Learns a set of images a seed, each by itself."""
  seeds = setup.experiment.student.seeds
  step = training.make_outer_step(setup)
  learned, losses = [], []
  compiling("learned images")
  with progress(seeds, "learned images", unit="set") as advance:
    for seed in range(seeds):
      for now in training.learn_images(setup, seed, step):
        log.write(
          {
            "network": f"images_{seed}",
            "epoch": now.step,
            "step": now.step,
            "loss": float(now.loss),
          }
        )
      learned.append(jax.device_get(now.synthetic))
      losses.append(float(now.loss))
      advance(losses[-1])
  return learned, losses


def _scores(setup: SynthesisSetup, taught: dict[str, Taught]) -> dict[str, Any]:
  found = {arm: scores.entry(setup, one) for arm, one in taught.items()}
  found["controls"] = {"centroids": found.pop("centroids")}
  found["comparisons"] = results.comparisons(found)
  return found


def _synthesis(
  setup: SynthesisSetup, learned, losses, networks
) -> dict[str, Any]:
  chosen = setup.experiment.synthesis
  return {
    "images_per_class": chosen.images_per_class,
    "classes": setup.dataset.classes,
    "real_images": len(setup.labels),
    "networks": networks,
    "loss": losses,
    "rates": [np.exp(one.log_rates).ravel().tolist() for one in learned],
    "digest": [storage.digest(one._asdict()) for one in learned],
  }


def _samples(setup: SynthesisSetup, learned: list[Synthetic]) -> dict[str, Any]:
  """What the picture shows: the first set before and after, a row a class."""
  first = jax.device_get(training.first_images(setup, 0))
  return {
    "before": _by_class(first),
    "after": _by_class(learned[0]),
    "class_names": list(setup.dataset.class_names),
  }


def _by_class(synthetic: Synthetic) -> np.ndarray:
  """(S, B, H, W, C) -> (K, images of the class, H, W, C), as they were dealt."""
  steps, _, *shape = synthetic.images.shape
  classes = synthetic.labels.shape[-1]
  images = np.asarray(synthetic.images).reshape(steps, classes, -1, *shape)
  return images.swapaxes(0, 1).reshape(classes, -1, *shape)


def _save_images(path: Path, learned: list[Synthetic]) -> None:
  arrays = {
    "images": np.stack([one.images for one in learned]),
    "labels": np.stack([one.labels for one in learned]),
    "rates": np.stack([np.exp(one.log_rates) for one in learned]),
  }
  try:
    np.savez(path, **arrays)
  except OSError as error:
    raise StorageError(f"cannot write {path}: {error}") from error


def _save_networks(setup: SynthesisSetup, workdir: Path, taught) -> None:
  note = {
    "model": setup.model,
    "classes": setup.dataset.classes,
    "class_names": list(setup.dataset.class_names),
    "image_shape": list(setup.dataset.image_shape),
    "dataset": setup.dataset.name,
  }

  def firsts(arm):
    each = [jax.tree.map(lambda x: x[0], one) for one in taught[arm].networks]
    return {"params": jax.tree.map(lambda *x: np.stack(x), *each)}

  storage.save_network(
    workdir / "teacher", predict.first(firsts("teacher")), note
  )
  storage.save_network(workdir / "student", firsts("student"), note)
