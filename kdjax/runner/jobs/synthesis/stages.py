"""Images are learned, then fresh networks trained on them and on real ones."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.errors import StorageError
from kdjax.runner.job import Context
from kdjax.runner.jobs.synthesis import networks, training
from kdjax.runner.jobs.synthesis.build import SynthesisSetup
from kdjax.runner.jobs.synthesis.evaluate import Choice
from kdjax.runner.jobs.synthesis.networks import TrainedStudents
from kdjax.runner.jobs.synthesis.unroll import Synthetic
from kdjax.runner.report.progress import compiling, progress, say
from kdjax.train.devices import processes

IMAGES = "images.npz"


class Learned(NamedTuple):
  """What was learned.

  Attributes:
    images: a set a seed, with its rates and labels.
    losses: the last outer loss of each, nats.
  """

  images: list[Synthetic]
  losses: list[float]


def learn_images(setup: SynthesisSetup, context: Context) -> Learned:
  """Learns a set of images a seed, each by itself."""
  seeds = setup.experiment.student.seeds
  step = training.make_outer_step(setup)

  def learn(seed):
    if seed == 0:
      compiling("learned images")
    for now in training.learn_images(setup, seed, step):
      loss = float(now.loss)
      row = {"network": f"images_{seed}", "epoch": now.step, "step": now.step}
      context.log.write(row | {"loss": loss})
    return jax.device_get(now.synthetic)._asdict() | {"loss": loss}

  result = Learned([], [])
  with progress(seeds, "learned images", unit="set") as advance:
    for seed in range(seeds):
      image_set = context.stored(
        f"images_{seed}", lambda seed=seed: learn(seed)
      )
      result.losses.append(image_set.pop("loss"))
      result.images.append(Synthetic(**image_set))
      advance(result.losses[-1])
  if processes.is_first():
    _save_images(context.workdir / IMAGES, result.images)
  return result


def train_networks(
  setup: SynthesisSetup, context: Context
) -> dict[str, TrainedStudents]:
  """Trains fresh networks on each kind of images."""
  say("measuring what fresh networks learn from each kind of images")
  image_sets = context.values["synthesis"].images
  makers = {
    "teacher": lambda: networks.from_all(setup),
    "student": lambda: networks.from_learned(setup, image_sets),
    "baseline": lambda: networks.from_few(setup, "random"),
    "centroids": lambda: networks.from_few(setup, "centroids"),
  }

  def train(make) -> dict[str, Any]:
    students = make()
    choice = students.choice and students.choice._asdict()
    return students._replace(choice=choice)._asdict()

  by_kind = {}
  for name, make in makers.items():
    one = TrainedStudents(**context.stored(name, lambda make=make: train(make)))
    by_kind[name] = one._replace(choice=one.choice and Choice(**one.choice))
  return by_kind


def _save_images(path: Path, image_sets: list[Synthetic]) -> None:
  arrays = {
    "images": np.stack([one.images for one in image_sets]),
    "labels": np.stack([one.labels for one in image_sets]),
    "rates": np.stack([np.exp(one.log_rates) for one in image_sets]),
  }
  try:
    np.savez(path, **arrays)
  except OSError as error:
    raise StorageError(f"cannot write {path}: {error}") from error
