"""A toy set with masks, and the parts of a tiny run on it."""

import dataclasses

import jax
import numpy as np
import pytest

from kdjax.runner.config import Data, Experiment, Quantify, Student, Teacher


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
  """Eight devices on two cores mostly wait; two are tested where it counts."""
  from kdjax.runner.jobs.knowledge import build

  monkeypatch.setattr(
    build.devices, "choose", lambda accelerator: jax.local_devices()[:1]
  )


@pytest.fixture
def toy(prepare):
  """A TFDS directory: 8x8 squares on noise, two classes, with masks."""
  import tensorflow_datasets as tfds

  rng = np.random.default_rng(0)
  rows = []
  for number in range(32):
    image = rng.integers(0, 80, (8, 8, 1)).astype(np.uint8)
    mask = np.zeros((8, 8), np.uint8)
    row = 4 * (number % 2)
    mask[row : row + 4, 2:6] = 1
    image[mask > 0] += 150
    rows.append({"image": image, "label": number % 2, "mask": mask})
  features = {
    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
    "label": tfds.features.ClassLabel(num_classes=2),
    "mask": tfds.features.Tensor(shape=(8, 8), dtype=np.uint8),
  }
  return str(prepare(features, rows, keys=("image", "label")))


@pytest.fixture
def experiment(toy):
  return Experiment(
    data=Data(dataset=toy),
    teacher=Teacher(epochs=2, batch_size=16, augment="none"),
    student=Student(model="mlp(6, 5)", epochs=3, batch_size=16, seeds=2),
    quantify=Quantify(
      tap="stage_0", explained_images=6, grid=4, compared_images=2,
      label_epochs=1, probes=8,
    ),
  )  # fmt: skip


@pytest.fixture
def setup(experiment):
  from kdjax.runner.jobs.knowledge.build import prepare

  return prepare(experiment)


@pytest.fixture
def changed(experiment):
  """changed(tap="head:in") -> the experiment with other quantify settings."""

  def change(**settings):
    quantify = dataclasses.replace(experiment.quantify, **settings)
    return dataclasses.replace(experiment, quantify=quantify)

  return change
