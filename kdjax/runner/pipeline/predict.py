"""Answers of trained networks, of all members at once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from kdjax import data, evaluate
from kdjax.core.task import Task
from kdjax.data.text_set import by_length
from kdjax.runner.pipeline.partition import placed
from kdjax.runner.pipeline.setup import TrainSpec

# Of classes that differ by less in size, adjusting logits says little.
UNLIKE = 2
# Texts of about one length that are worth a program of their own.
LIKE_LENGTHS = 1000
# Pixels of which networks answer something at once.
_NUMBERS = 1 << 18
# Scores of hidden tokens, likewise.
_LOGITS = 1 << 24


def first(networks: Any) -> Any:
  """Returns the variables of the first of several networks.

  Args:
    networks: variables with a leading axis (M,).
  """
  return jax.tree.map(lambda x: x[0], networks)


def measured(
  setup: Any, task: Task, outputs: np.ndarray, teacher_outputs: Any = None
) -> dict[str, Any]:
  """Scores (M, N, ...) outputs on a setup's scored examples, and on their groups."""
  split, names = setup.score_split, setup.dataset.group_names
  scores = evaluate.measure_task(task, outputs, split.labels, teacher_outputs)
  scores |= _adjusted(setup, task, outputs)
  if split.group is None:
    return scores
  return scores | evaluate.measure_groups(
    task, outputs, split.labels, split.group, names
  )


def _adjusted(setup: Any, task: Task, outputs: np.ndarray) -> dict[str, Any]:
  """The same with the classes' frequencies taken off, where they are unlike."""
  labels = setup.dataset.train.labels
  if task.kind != "categories" or labels.ndim > 1:
    return {}
  classes = outputs.shape[-1]
  counts = data.count_classes(labels[setup.examples], classes)
  if counts.min() == 0 or counts.max() < UNLIKE * counts.min():
    return {}
  adjusted = evaluate.subtract_log_prior(outputs, counts)
  scores = evaluate.measure_classes(adjusted, setup.score_split.labels)
  del scores["per_class"]
  accuracy = evaluate.accuracy(adjusted, setup.score_split.labels)
  scores["accuracy"] = [float(x) for x in accuracy]
  return {"logit_adjusted": scores}


def predict(
  train_spec: TrainSpec, networks: Any, images, *, whole: bool = False
) -> np.ndarray:
  """Computes what (M, ...) networks answer to stored images.

  Args:
    whole: all of it, also where the task keeps a part for measuring.

  Returns:
    (M, N, C) float32 logits; or what the task keeps of outputs, (M, N, ...).
  """
  groups = by_length(images, least=LIKE_LENGTHS)
  if len(groups) > 1:
    parts = [
      predict(train_spec, networks, some, whole=whole) for _, some in groups
    ]
    order = np.argsort(np.concatenate([places for places, _ in groups]))
    return np.concatenate(parts, axis=1)[:, order]
  kept = train_spec.task.kept
  networks = placed(networks, train_spec.partition)
  unread = data.Split(images, np.zeros(len(images), np.int32))
  with data.open_reader(unread, buffer=1) as read:
    return evaluate.predict(
      train_spec.network.apply,
      networks,
      images,
      train_spec.show,
      chunk=at_once(train_spec.task, images),
      together=train_spec.together,
      most=train_spec.most,
      read=read,
      keep=None if whole or kept is None else kept.of,
    )


def predict_pooled(train_spec: TrainSpec, networks: Any, images) -> np.ndarray:
  """What the task keeps of the pooled answers of (T, ...) networks, (N, ...)."""

  def pool(some):
    return train_spec.task.pool(predict(train_spec, networks, some, whole=True))

  return kept_in_parts(train_spec, pool, images)


def kept_in_parts(
  train_spec: TrainSpec, answers: Callable[[Any], Any], images
) -> np.ndarray:
  """Asks about some images after the other, and keeps what the task keeps.

  Args:
    answers: images -> their answers (n, ...).
  """
  split, parts = data.Split(images, np.zeros(len(images), np.int32)), []
  step = at_once(train_spec.task, images)
  for start in range(0, len(images), step):
    places = np.arange(start, min(start + step, len(images)))
    some = data.select(split, places).images
    inputs = train_spec.show(np.stack([some[i] for i in range(len(places))]))
    parts.append(np.asarray(train_spec.task.kept.of(answers(some), inputs)))
  return np.concatenate(parts)


def at_once(task: Task, images) -> int:
  """Says how many images are asked about at once; of large answers fewer."""
  if task.kept is None:
    return 1000
  if isinstance(images, Mapping):
    return max(1, _LOGITS // (images["places"].shape[1] * task.width))
  return max(1, _NUMBERS // int(np.prod(np.shape(images[0])[:2])))


def outside(
  answer: Callable,
  task: Task,
  images,
  crop_size: int | None,
  *,
  chunk: int = 250,
) -> np.ndarray:
  """Asks a network that no run trains, (N, C), or what the task keeps.

  Args:
    answer: stored images -> outputs.
    crop_size: side of what it sees of them; None for all.
    chunk: images at once, where their answers are small.
  """
  show = data.plain_view(crop_size)

  def forward(_, block):
    outputs = answer(block)
    return outputs if task.kept is None else task.kept.of(outputs, show(block))

  chunk = min(chunk, at_once(task, images))
  return evaluate.in_chunks(forward, None, images, chunk=chunk)
