"""A small training that has everything: dropout, views, ragged batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import make_model
from kdjax.runner.pipeline.loaders import make_loader
from kdjax.tasks import classification
from kdjax.train import loop
from kdjax.train.observer import UNWATCHED
from kdjax.train.optimizer import make_optimizer
from kdjax.train.precision import full_precision
from kdjax.train.schemes.scheme import OFFLINE
from kdjax.train.teacher import live_teacher

EXAMPLES, CLASSES, SHAPE = 50, 4, (6, 6, 1)
BATCH = 16  # 50 = 3 * 16 + 2: the last batch leaves most devices without work


@pytest.fixture(scope="session")
def toy():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (EXAMPLES, *SHAPE), np.uint8)
  labels = rng.integers(0, CLASSES, EXAMPLES).astype(np.int32)
  return images, labels


@pytest.fixture(scope="session")
def teacher():
  network = make_model("mlp(12, dropout=0.5)", classes=CLASSES)
  variables = jax.jit(network.init)(jax.random.key(7), jnp.zeros((1, *SHAPE)))
  return live_teacher(full_precision(network), variables)


@pytest.fixture(scope="session")
def fit(toy, teacher):
  """Returns a function: (method of settings, ...) -> the epochs, as a list."""
  images, labels = toy

  def run(
    method,
    *,
    devices=1,
    seeds=(0, 1),
    epochs=2,
    view="shift(1)",
    teacher_view="same",
    optimizer="sgd",
    learning_rate=0.1,
    drop_remainder=False,
    teacher=teacher,
    read=None,
    network=None,
    together=True,
    most=None,
    apart=False,
    partition=None,
    gradient_metrics=False,
    programs=None,
    portion=None,
    start=None,
    scheme=OFFLINE,
    views=None,
    answers=None,
    observer=UNWATCHED,
    last=None,
    variables=None,
    **settings,
  ):
    examples = np.arange(EXAMPLES)
    loader = make_loader(
      examples,
      labels,
      view,
      BATCH,
      drop_remainder,
      teacher_view=teacher_view,
      views=views,
    )
    loader = scheme.adapt_loader(loader) if scheme.adapt_loader else loader
    arm = loop.Arm(
      "all",
      method,
      {"seed": np.array(seeds)}
      | {
        name: np.broadcast_to(value, len(seeds))
        for name, value in (settings | {"learning_rate": learning_rate}).items()
      },
      teacher="teacher" if scheme is OFFLINE else None,
      scheme=scheme,
    )
    network = network or make_model("mlp(10, dropout=0.3)", classes=CLASSES)
    steps = epochs * loader.steps
    yielded = loop.train(
      network,
      make_optimizer(optimizer, "cosine", steps, last),
      {"student": arm},
      {"all": loader},
      images if read is None else None,
      epochs=epochs,
      task=classification(CLASSES),
      sample=jnp.zeros((1, *SHAPE)),
      read=read,
      teachers={"teacher": teacher},
      devices=jax.local_devices()[:devices],
      together=together,
      most=most,
      apart=apart,
      partition=partition,
      gradient_metrics=gradient_metrics,
      programs=programs,
      portion=portion,
      variables=variables,
      start=start,
      answers=answers,
      observer=observer,
    )
    # The next epoch reuses an epoch's memory.
    return [jax.device_get(epoch) for epoch in yielded]

  return run
