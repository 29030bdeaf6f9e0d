"""What a run has once its settings are values: data, networks, teachers, students."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from kdjax.core.signature import Signature
from kdjax.core.task import Task
from kdjax.data import Dataset, Split
from kdjax.data.dataset import empty_examples, example
from kdjax.data.teacher_cache.store import TeacherCache
from kdjax.models import ModelSpec, quantized
from kdjax.models.export.signature import About
from kdjax.runner.config import Experiment
from kdjax.runner.pipeline import (
  pretrained,
)
from kdjax.runner.pipeline.dataset import signature, task_of
from kdjax.runner.pipeline.starts import Start
from kdjax.runner.pipeline.values import Values
from kdjax.train.arm import Arm
from kdjax.train.devices.rules import Partition
from kdjax.train.loader import Loader


class TrainSpec(NamedTuple):
  """A network to be trained, and how.

  Attributes:
    network: what computes, in the precision and bits of the run.
    model: what it was made of.
    optimizer: made for the whole length of the training.
    optimizer_for: steps -> the same for a training of another length; without
      pruning, so that networks which teach keep their weights.
    epochs: passes over the largest loader.
    images: how many an epoch shows to all members together, padding included; of
      texts, how many tokens are learned.
    show: stored images -> what the network sees of them when it is measured.
    together: whether members train side by side or one after the other.
    task: what the network's answers mean.
    most: members that a device trains, or asks, side by side; None for all.
    apart: whether each device has members of its own.
    variables: by arm, what its networks begin with; others are drawn.
    measure: (an arm's networks) -> what the log says of them after an epoch;
      None for the task's score on the scored images.
    partition: how the networks' arrays are cut over a mesh; None where every
      device has all of them.
    kv_cache: (a partition, or None) -> bytes on a device of the keys and values of
      a member that writes texts; None where none does.
  """

  network: nn.Module
  model: ModelSpec
  optimizer: optax.GradientTransformation
  arms: dict[str, Arm]
  loaders: dict[str, Loader]
  epochs: int
  images: int
  show: Callable[[jax.Array], jax.Array]
  together: bool
  task: Task
  most: int | None = None
  apart: bool = False
  partition: Partition | None = None
  optimizer_for: Callable[[int], optax.GradientTransformation] | None = None
  variables: Mapping[str, Any] = {}
  measure: Callable[[Any], dict[str, Any]] | None = None
  kv_cache: Callable[[Partition | None], int] | None = None

  @property
  def members(self) -> int:
    """Networks to be trained, those of all arms."""
    return sum(len(arm.settings["seed"]) for arm in self.arms.values())


class IntermediateTeacher(NamedTuple):
  """A network that learns from the one before, and teaches the next."""

  name: str
  model: ModelSpec
  network: nn.Module


class Setup(NamedTuple):
  """All that a run is made of.

  Attributes:
    experiment: the settings, with the networks that were left open.
    values: what the texts among them mean.
    dataset: the data set as stored; its image shape is what networks see.
    examples: which examples of its training set the run may train on.
    train_split: all that networks may be trained on: the training set, and
      behind it the transfer set.
    transfer: which of these are the transfer set; None where there is none.
    score_split: the images that count: the test set, or held-out training
      images.
    teacher: the teacher, to be trained or already; None where it is cached.
    saved_teacher: the teacher that was trained before; None if it is to be trained.
    cached: what a teacher made of the training images, in its place; or None.
    other_teachers: other teachers that were trained before.
    student: the student with its baseline and controls.
    grids: by arm, the cells of its grid.
    stages: who stands between the teacher and the students, in their order.
    start: what the students begin with; None where all of it is drawn.
  """

  experiment: Experiment
  values: Values
  dataset: Dataset
  examples: np.ndarray
  train_split: Split
  transfer: np.ndarray | None
  score_split: Split
  teacher: TrainSpec | None
  saved_teacher: pretrained.SavedTeacher | None
  cached: TeacherCache | None
  other_teachers: tuple[tuple[TrainSpec, pretrained.SavedTeacher], ...]
  student: TrainSpec
  grids: dict[str, list[dict[str, float]]]
  devices: list[jax.Device]
  stages: tuple[IntermediateTeacher, ...] = ()
  start: Start | None = None

  @property
  def streams_answers(self) -> bool:
    """Whether a cached teacher is read batch by batch, not kept on devices."""
    resident_bytes = self.experiment.data.resident_megabytes << 20
    return self.cached is not None and self.cached.nbytes > resident_bytes

  @property
  def signature(self) -> Signature:
    """What a network of the student's task takes and gives."""
    return signature(self.dataset)

  @property
  def answer_bytes(self) -> int:
    """What a network's answers to all training images take in memory."""
    (output,) = self.signature.outputs
    numbers = int(np.prod(output.shape, dtype=object))
    return 4 * len(self.train_split.labels) * numbers

  @property
  def sample(self) -> Any:
    """One empty example, (1, ...), for shapes."""
    return empty_inputs(self.dataset)

  @property
  def data_facts(self) -> dict[str, Any]:
    """What results.json says of how the data were read, as a part of it."""
    facts = self.dataset.facts
    return {"data": {"noun": self.dataset.noun, **facts}} if facts else {}

  @property
  def trains_teacher(self) -> bool:
    """Whether the teacher is trained here, from a start or from nothing."""
    return self.saved_teacher is None or self.saved_teacher.fine_tuned


def empty_inputs(dataset: Dataset) -> Any:
  """One empty example as networks see it, (1, ...), for shapes."""
  return jax.tree.map(jnp.asarray, empty_examples(dataset, 1))


def written_shape(dataset: Dataset) -> list | dict:
  """The shape of an example's inputs as JSON has it."""
  shape = dataset.image_shape
  if isinstance(shape, Mapping):
    return {name: list(one) for name, one in shape.items()}
  return list(shape)


def about_network(
  dataset: Dataset,
  images: Any,
  model: str,
  *,
  crop_size: int | None,
  quantization: str = quantized.NONE,
) -> About:
  """All that is needed to use a network of a data set, besides its variables.

  Args:
    images: stored ones, of which it will be shown others.
  """
  (output,) = signature(dataset).outputs
  first = example(images, 0)
  if isinstance(first, Mapping):
    # Of texts there may be any number of tokens: the mask says which are some.
    of_texts = dataset.tokenizer is not None
    shapes = {
      name: ("length",) if of_texts else x.shape for name, x in first.items()
    }
    dtypes = {name: x.dtype.name for name, x in first.items()}
  else:
    shapes, dtypes = first.shape, first.dtype.name
  return About(
    model,
    dataset.classes,
    tuple(dataset.class_names),
    shapes,
    dtypes,
    crop_size,
    quantization,
    output.name,
    output.what,
    task_of(dataset).units,
  )


def network_note(setup: Setup, model: str) -> dict[str, Any]:
  """Says what a saved network needs to be used again."""
  return {
    "model": model,
    "classes": setup.dataset.classes,
    "class_names": list(setup.dataset.class_names),
    "image_shape": written_shape(setup.dataset),
    "dataset": setup.dataset.name,
  }
