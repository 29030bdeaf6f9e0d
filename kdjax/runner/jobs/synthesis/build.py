"""From settings to a checked setup: whatever the user got wrong ends here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax import data
from kdjax.core.errors import UserError, quantity
from kdjax.data import Dataset, Split
from kdjax.models import read_model
from kdjax.runner.config import AUTO, Experiment
from kdjax.runner.job import Plan
from kdjax.runner.pipeline import capacity, kinds
from kdjax.runner.pipeline import dataset as sources
from kdjax.runner.pipeline.plan import plan_of
from kdjax.train.devices import placement as devices
from kdjax.train.loop import side_by_side
from kdjax.train.optimizer import read_optimizer

MODEL = "mlp(64)"
# The share of the real images on which rates for real images are searched.
HELD_OUT = 0.2


class SynthesisSetup(NamedTuple):
  """All that a run is made of.

  Attributes:
    dataset: the data set as stored.
    images: (N, H, W, C) float32, the real images that may be learned from.
    labels: (N,) int32, their classes.
    search_train: int64 positions of those that learn in the search for rates.
    search_test: int64 positions of those that score it.
    scored: the images that count: the test set, or held-out training images.
    apply: (params, images) -> logits.
    init: key -> params.
    devices: the one of this process that it computes on.
    together: whether networks train side by side.
  """

  experiment: Experiment
  dataset: Dataset
  images: np.ndarray
  labels: np.ndarray
  search_train: np.ndarray
  search_test: np.ndarray
  scored: Split
  network: nn.Module
  model: str
  apply: Callable[[Any, jax.Array], jax.Array]
  init: Callable[[jax.Array], Any]
  devices: list[jax.Device]
  together: bool


def build(experiment: Experiment) -> Plan:
  """Opens the data and builds every part."""
  setup = prepare(experiment)
  return plan_of(setup, setup.dataset.train, setup.scored)


def prepare(experiment: Experiment) -> SynthesisSetup:
  """Opens the data and builds every part."""
  # Of several processes each does the same on a device of its own.
  local = devices.local(devices.choose(experiment.run.accelerator))[:1]
  model = experiment.student.model
  model = read_model(MODEL if model == AUTO else model)
  model.make(classes=2)
  dataset = _load(experiment)
  train, score_split = _hold_out(dataset, experiment.data.validation)
  search_train, search_test = data.split_validation(
    train.labels, HELD_OUT, seed=1
  )
  _check_images(experiment, train.labels[search_train], dataset.classes)
  network = model.make(classes=dataset.classes)
  sample = jnp.zeros((1, *dataset.image_shape), jnp.float32)
  _check_network(network, sample, model.text)
  _check_room(experiment, network, model.text, sample, local)

  def apply(params, images):
    return network.apply({"params": params}, images, train=False)

  def init(key):
    return network.init(key, sample, train=False)["params"]

  return SynthesisSetup(
    experiment=experiment,
    dataset=dataset,
    images=np.asarray(data.to_float(jnp.asarray(train.images))),
    labels=train.labels,
    search_train=search_train,
    search_test=search_test,
    scored=score_split,
    network=network,
    model=model.text,
    apply=apply,
    init=init,
    devices=local,
    together=side_by_side(network, sample, local[0].platform),
  )


def _load(experiment: Experiment) -> Dataset:
  settings = experiment.data
  dataset = sources.open_stored(settings)
  kinds.check_command("synthesise", sources.task_of(dataset))
  if not data.resident(dataset.train):
    raise UserError(
      f"synthesise keeps the training images of {dataset.name} in memory: raise"
      f" --resident_megabytes={settings.resident_megabytes}, or lower --image_size"
    )
  return dataset


def _hold_out(dataset: Dataset, validation: float) -> tuple[Split, Split]:
  if not validation:
    return dataset.train, dataset.test
  rest, validation_places = data.split_validation(
    dataset.train.labels, validation, seed=0
  )
  return data.select(dataset.train, rest), data.select(
    dataset.train, validation_places
  )


def _check_images(experiment: Experiment, labels, classes: int) -> None:
  count = experiment.synthesis.images_per_class
  fewest = int(np.bincount(labels, minlength=classes).min())
  if count > fewest:
    raise UserError(
      f"--images_per_class={count}: a class has only {quantity(fewest, 'image')}, besides"
      f" those held out for the search of rates"
    )
  for flag, size in (
    ("outer_batch_size", experiment.synthesis.outer_batch_size),
    ("batch_size", experiment.student.batch_size),
  ):
    if size > len(labels):
      raise UserError(
        f"--{flag}={size}: there are {quantity(len(labels), 'image')}"
      )


def _check_room(experiment: Experiment, network, model, sample, local) -> None:
  """Refuses networks that do not fit, before one is made."""
  if experiment.computing.preflight:
    # The gradient goes back through every step that one of them takes.
    settings = experiment.synthesis
    capacity.check_plain(
      "student",
      network,
      model,
      read_optimizer("sgd", "constant")(1),
      sample,
      local,
      members=max(settings.network_inits, settings.fresh_networks),
    )


def _check_network(network: nn.Module, sample: jax.Array, model: str) -> None:
  """Finds out by shapes alone whether a network can be differentiated through."""
  try:
    shapes = jax.eval_shape(
      lambda key: network.init(key, sample, train=False), jax.random.key(0)
    )
  except (TypeError, ValueError) as error:
    raise UserError(f"--student={model} cannot be used: {error}") from error
  if set(shapes) != {"params"}:
    others = ", ".join(sorted(set(shapes) - {"params"}))
    raise UserError(
      f"--student={model}: synthesise needs a network with nothing but"
      f" parameters; this one also keeps {others}. mlp and lenet will do"
    )
