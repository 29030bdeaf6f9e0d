"""From settings to a checked setup: whatever the user got wrong ends here."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax import data
from kdjax.core.errors import UserError, quantity
from kdjax.data import Dataset, Split
from kdjax.evaluate import knowledge
from kdjax.runner.config import Experiment
from kdjax.runner.config.commands import QuantifyConfig
from kdjax.runner.job import Plan
from kdjax.runner.pipeline import capacity, kinds, rules
from kdjax.runner.pipeline import dataset as sources
from kdjax.runner.pipeline.loaders import make_loader
from kdjax.runner.pipeline.plan import plan_of
from kdjax.taps import Tap, parse_tap, tapped
from kdjax.train.devices import placement as devices
from kdjax.train.loader import Loader
from kdjax.train.loop import side_by_side
from kdjax.train.optimizer import read_optimizer


class KnowledgeSetup(NamedTuple):
  """All that a run is made of.

  Attributes:
    dataset: what student and baseline learn from and all are scored on.
    teacher_split: what the teacher learns from.
    images: (N, H, W, C) float32, the images that are examined.
    labels: (N,) their classes.
    masks: (N, H, W) bool, where their objects are.
    on_object: (N, GH, GW) bool, the grid's foreground.
    feature: (variables, images) -> features at the tap.
    problem: what is asked of every image.
    together: whether members train side by side.
    weights: the layer whose weights' way is followed.
    loaders: of teacher and student.
    optimizers: likewise, steps -> optimiser.
  """

  experiment: Experiment
  dataset: Dataset
  teacher_split: Split
  images: np.ndarray
  labels: np.ndarray
  masks: np.ndarray
  on_object: np.ndarray
  network: nn.Module
  model: str
  feature: Callable[[Any, jax.Array], jax.Array]
  problem: knowledge.Problem
  devices: list[jax.Device]
  together: bool
  weights: Tap
  loaders: dict[str, Loader]
  optimizers: dict[str, Callable[..., optax.GradientTransformation]]

  @property
  def sample(self) -> jax.Array:
    """One empty image, (1, H, W, C) float32, for shapes."""
    return jnp.zeros((1, *self.dataset.image_shape), jnp.float32)

  @property
  def threshold(self) -> float:
    """b, nats."""
    settings = self.experiment.quantify
    if settings.threshold is not None:
      return settings.threshold
    return 0.2 if settings.estimator == "published" else 0.75


def build(experiment: Experiment) -> Plan:
  """Opens the data and builds every part."""
  setup = prepare(experiment)
  return plan_of(setup, setup.dataset.train, setup.dataset.test)


def prepare(experiment: Experiment) -> KnowledgeSetup:
  """Opens the data and builds every part."""
  settings = experiment.quantify
  local = devices.choose(experiment.run.accelerator)
  groups = {"teacher": experiment.teacher, "student": experiment.student}
  for group in groups.values():
    devices.check_batch_size(group.batch_size, len(local))
  values = rules.check(QuantifyConfig, experiment)
  parse_tap(settings.tap)
  weights = parse_tap(settings.weights or settings.tap)
  # One architecture of the three networks; only one of both names it.
  model = values.student or values.teacher
  model.make(classes=2)
  dataset, teacher_split = _data(experiment)
  network = model.make(classes=dataset.classes)
  feature = make_feature(network, settings.tap)
  sample = jnp.zeros((1, *dataset.image_shape), jnp.float32)
  _try(network, feature, sample)
  if settings.weights is not None:
    _try(network, make_feature(network, settings.weights), sample)
  optimizers = {
    name: read_optimizer(one.optimizer, one.schedule)
    for name, one in groups.items()
  }
  _check_room(experiment, network, model.text, optimizers, sample, local)
  test_split = data.select(
    dataset.test, _chosen(dataset, settings.explained_images)
  )
  images, masks = (
    np.stack([part[i] for i in range(len(test_split.labels))])
    for part in (test_split.images, test_split.masks)
  )
  grid = (settings.grid, settings.grid)
  if settings.grid > min(dataset.image_shape[:2]):
    raise UserError(
      f"--grid={settings.grid}: images are only {dataset.image_shape[:2]} pixels"
    )
  on_object = knowledge.foreground(
    jnp.asarray(masks), grid, share=settings.foreground_share
  )
  return KnowledgeSetup(
    experiment=experiment,
    dataset=dataset,
    teacher_split=teacher_split,
    images=np.asarray(data.to_float(jnp.asarray(images))),
    labels=test_split.labels,
    masks=masks,
    on_object=np.asarray(on_object),
    network=network,
    model=model.text,
    feature=feature,
    problem=knowledge.Problem(grid, settings.entropy_weight),
    devices=local,
    together=side_by_side(network, sample, local[0].platform),
    weights=weights,
    loaders={
      name: make_loader(
        np.arange(len(split.labels)),
        split.labels,
        groups[name].augment,
        groups[name].batch_size,
        weights=split.weight,
      )
      for name, split in (
        ("teacher", teacher_split),
        ("student", dataset.train),
      )
    },
    optimizers=optimizers,
  )


def make_feature(
  network: nn.Module, tap: str
) -> Callable[[Any, jax.Array], jax.Array]:
  """Makes (variables, images) -> a layer's feature, (B, ...), of a tap of one array."""
  parse_tap(tap)
  show = tapped(network.apply, [tap])

  def feature(variables, images):
    _, feats = show(variables, images, train=False)
    if len(feats) > 1:
      raise UserError(f"--tap={tap}: one layer at a time; it is {list(feats)}")
    (value,) = feats.values()
    return value

  return feature


def _data(experiment: Experiment) -> tuple[Dataset, Split]:
  settings = experiment.data
  dataset = sources.open_stored(settings, masks=True)
  kinds.check_command("quantify", sources.task_of(dataset))
  teacher_split = experiment.quantify.teacher_split
  if teacher_split is None or teacher_split == settings.train_split:
    return dataset, dataset.train
  other = sources.open_stored(
    dataclasses.replace(settings, train_split=teacher_split)
  )
  return dataset, other.train


def _check_room(
  experiment: Experiment, network, model, optimizers, sample, local
) -> None:
  """Refuses networks and batches that do not fit, before one is made."""
  if not experiment.computing.preflight:
    return
  capacity.check_batch(experiment, sample)
  # The student and its baseline train side by side, with the teacher beside them.
  for title, members, teacher in (
    ("teacher", 1, None),
    ("student", 2 * experiment.student.seeds, network),
  ):
    capacity.check_plain(
      title,
      network,
      model,
      optimizers[title](1),
      sample,
      local,
      members=members,
      teacher=teacher,
    )


def _chosen(dataset: Dataset, count: int) -> np.ndarray:
  there = len(dataset.test.labels)
  if count > there:
    raise UserError(
      f"--explained_images={count}: there {'is' if there == 1 else 'are'}"
      f" {quantity(there, 'image')}"
    )
  return data.stratified(dataset.test.labels, count, seed=0)


def _try(network, feature, sample) -> None:
  """Finds out by shapes alone whether the tap is there."""

  def show(key):
    return feature(network.init(key, sample, train=False), sample)

  try:
    jax.eval_shape(show, jax.random.key(0))
  except (TypeError, ValueError) as error:
    raise UserError(f"the network cannot be used: {error}") from error
