"""The parts of a tiny synthesis on `digits`."""

import dataclasses

import pytest

from kdjax.runner.config import Data, Experiment, Student, Synthesis


@pytest.fixture(scope="session")
def experiment():
  return Experiment(
    data=Data(dataset="digits"),
    student=Student(model="mlp(8)", epochs=2, batch_size=64, seeds=2),
    synthesis=Synthesis(
      images_per_class=2, inner_epochs=3, outer_steps=20, outer_batch_size=64,
      network_inits=2, fresh_networks=2, real_rates=(0.1, 0.3),
    ),
  )  # fmt: skip


@pytest.fixture(scope="session")
def make_setup(experiment):
  """make_parts(seeds=3, model=..., learn_labels=True) -> the parts."""
  from kdjax.runner.jobs.synthesis.build import prepare

  def make(model="mlp(8)", **settings):
    synthesis = dataclasses.replace(experiment.synthesis, **settings)
    student = dataclasses.replace(experiment.student, model=model)
    return prepare(
      dataclasses.replace(experiment, synthesis=synthesis, student=student)
    )

  return make
