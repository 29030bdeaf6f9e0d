"""The examples of a run: opened, cropped, and those of them that count."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import jax
import numpy as np

from kdjax import data
from kdjax.core import spec
from kdjax.core.answers import check_answers
from kdjax.core.class_weights import BALANCED
from kdjax.core.errors import UserError
from kdjax.core.signature import Signature
from kdjax.core.task import Task
from kdjax.data import Dataset, Split
from kdjax.data.dataset import empty_examples
from kdjax.data.targets import kind_of
from kdjax.data.text_set import of_texts
from kdjax.runner.config import Data
from kdjax.runner.pipeline import capacity, masked_texts
from kdjax.runner.pipeline.kinds import ELSEWHERE
from kdjax.tasks import (
  any_width,
  classification,
  make_task,
  text_classification,
)
from kdjax.train.devices import processes

# The task whose labels are tokens of the texts themselves.
MASKED = "masked_language_model"
# The task of labels of which there are several an example, by their kind.
_OF_SEVERAL = {"binary": "multilabel", "values": "regression"}


def no_texts(dataset: Dataset) -> Dataset:
  """Refuses texts, for commands that are about images."""
  raise UserError(
    f"--dataset={dataset.name}: it is of texts, and this command is about images"
  )


def open_stored(
  settings: Data,
  *,
  masks: bool = False,
  encode: Callable[[Dataset], Dataset] = no_texts,
) -> Dataset:
  """Opens the data set as it is stored.

  Args:
    encode: a data set of texts -> one of tokens.
  """
  capacity.check_image(settings.image_size)
  dataset = data.load(
    settings.dataset,
    data_dir=settings.data_dir,
    train_split=settings.train_split,
    test_split=settings.test_split,
    image_size=settings.image_size,
    resident_bytes=settings.resident_megabytes << 20,
    background=settings.background,
    masks=masks,
    label_kind=kind_of_text(settings.task),
  )
  if of_texts(dataset):
    dataset = encode(dataset)
  dataset = with_task(dataset, settings.task)
  _check_task(dataset)
  _check_classes(dataset)
  announce(dataset)
  return dataset


def kind_of_text(text: str | None) -> str | None:
  """Says what the answers of a task are that the user wrote; None without one."""
  if text is None:
    return None
  if spec.parse(text).name == MASKED:
    return "embedding"  # labels are not looked at: texts are their own
  return _made(text, width=any_width(text)).kind


def with_task(dataset: Dataset, text: str | None) -> Dataset:
  """Notes what the networks of a data set are for, as the user or its labels say."""
  if text is None:
    if dataset.task is not None or dataset.train.labels.ndim == 1:
      return dataset
    is_map = data.is_of_maps(dataset)
    text = "segmentation" if is_map else _OF_SEVERAL[kind_of(dataset)]
  if spec.parse(text).name == MASKED:
    return masked_texts.of_texts(dataset, partial(_made, text))
  if not dataset.classes:
    return _without_vectors(dataset, text)
  known = {"width": dataset.classes, "positive_weight": dataset.positive_weight}
  task = _made(text, **known)
  is_map = dataset.train.labels.ndim == 3
  if (task.border_target is not None) != is_map:
    there = (
      "maps of classes, for segmentation"
      if is_map
      else "one an example, and segmentation wants a mask an image"
    )
    raise UserError(f"--task={text}: the labels of {dataset.name} are {there}")
  # A task of another number of targets is refused by its shapes, later.
  if task.units is not None and len(task.units.offset) == dataset.classes:
    task = _made(text, **known, **data.target_statistics(dataset))
  if task.class_weights == BALANCED:
    task = _made(_with_weights(text, dataset), **known)
  names = dataset.class_names
  if task.units is not None and task.units.log_variances:
    names += tuple(f"standard deviation of {name}" for name in names)
  dataset = dataset._replace(
    task=task, classes=task.width or dataset.classes, class_names=names
  )
  if is_map:
    data.check(dataset)  # the user may have named fewer classes
  return dataset


def _with_weights(text: str, dataset: Dataset) -> str:
  """The task with the weights that balance the training set."""
  train, call = dataset.train, spec.parse(text)
  counts = data.count_classes(train.labels, dataset.classes, train.weight)
  weights = {"class_weights": data.balanced_class_weights(counts)}
  kwargs = tuple((dict(call.kwargs) | weights).items())
  return str(dataclasses.replace(call, kwargs=kwargs))


def _without_vectors(dataset: Dataset, text: str) -> Dataset:
  """Notes the task of examples of which no vector is known."""
  if not spec.parse(text).args and not spec.parse(text).kwargs:
    raise UserError(
      f"--task={text}: {dataset.name} has no vectors; say how many numbers an"
      f" embedding has, such as --task='{text}(64)'"
    )
  task = _made(text)
  train, test = (
    split._replace(
      labels=np.full((len(split.labels), task.width), np.nan, np.float32)
    )
    for split in (dataset.train, dataset.test)
  )
  return dataset._replace(
    task=task,
    classes=task.width,
    class_names=tuple(map(str, range(task.width))),
    train=train,
    test=test,
  )


def _made(text: str, **known) -> Task:
  name = spec.parse(text).name
  if name in ELSEWHERE:
    raise UserError(f"--task={text}: {ELSEWHERE[name]}")
  try:
    return make_task(text, **known)
  except UserError as error:
    raise UserError(f"--task={text}: {error}") from error


def task_of(dataset: Dataset) -> Task:
  """Says what the networks of a data set are for."""
  of_words = dataset.tokenizer is not None
  default = text_classification if of_words else classification
  return dataset.task or default(dataset.classes)


def signature(dataset: Dataset) -> Signature:
  """What a network of a data set takes and gives."""
  example = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype),
    empty_examples(dataset, 1),
  )
  return task_of(dataset).signature(example, dataset.classes)


def classes_of(dataset: Dataset) -> int | None:
  """Says how many classes there are; None where targets are no classes."""
  there_are = task_of(dataset).kind == "categories"
  return dataset.classes if there_are else None


def announce(dataset: Dataset) -> None:
  """Says what was opened, in the process that says things."""
  if processes.is_first():
    print(data.summary(dataset), flush=True)


def _check_task(dataset: Dataset) -> None:
  """Refuses a task that reports cannot make anew from its name, or its shapes."""
  task = dataset.task
  if task is None:
    return
  try:
    make_task(task.name, classes=2)
    (output,) = signature(dataset).outputs
    outputs = jax.ShapeDtypeStruct((1, *output.shape), np.float32)
    sample = task.sample(empty_examples(dataset, 1))
    batch = sample._replace(targets=dataset.train.labels[:1])
    rows = jax.eval_shape(lambda outputs: task.rows(outputs, batch), outputs)
    check_answers("classes", rows.answers, len(rows.weight), task)
  except (UserError, ValueError, TypeError) as error:
    raise UserError(
      f"--dataset={dataset.name}: its task {task.name!r}: {error}"
    ) from error


def _check_classes(dataset: Dataset) -> None:
  """Refuses images of one class: every network would be right about them."""
  if dataset.task is not None and dataset.task.kind != "categories":
    return
  there = np.unique(dataset.train.labels)
  there = there[(there >= 0) & (there < dataset.classes)]
  if len(there) > 1:
    return
  where = "" if dataset.classes == 1 else "the training images of "
  if not len(there):
    raise UserError(f"--dataset: {where}{dataset.name} have no class anywhere")
  raise UserError(
    f"--dataset: {where}{dataset.name} are all of one class,"
    f" {dataset.class_names[there[0]]!r}: there is nothing to tell apart. It takes"
    " two classes or more; images without classes can be --transfer_dataset"
  )


def hold_out(dataset: Dataset, validation: float) -> tuple[np.ndarray, Split]:
  """Tells the images to train on from those that count.

  Args:
    validation: share of the training images that are held out, and count in
      place of the test images; 0 for none.

  Example:
    >>> labels = np.zeros(4, np.int32)
    >>> split = Split(np.zeros((4, 2, 2, 1), np.uint8), labels)
    >>> toy = Dataset("toy", 2, ("a", "b"), (2, 2, 1), split, split)
    >>> hold_out(toy, 0.0)[0]
    array([0, 1, 2, 3])
  """
  if not validation:
    return np.arange(len(dataset.train.labels)), dataset.test
  examples, validation_places = data.split_validation(
    task_of(dataset).split(dataset.train.labels), validation, seed=0
  )
  return examples, _as_seen(
    dataset, data.select(dataset.train, validation_places)
  )


def crop_dataset(dataset: Dataset, size: int | None) -> Dataset:
  """Notes what networks see of the images.

  Args:
    size: side of the square that they see; None for all.

  Example:
    >>> toy = Dataset("toy", 2, ("a", "b"), (4, 4, 1), None, None)
    >>> crop_dataset(toy, 2).image_shape
    (2, 2, 1)
  """
  if size is None:
    return dataset
  if isinstance(dataset.image_shape, Mapping):
    raise UserError(
      f"--crop_size={size}: it is for images, and the inputs of {dataset.name} are"
      f" {', '.join(dataset.image_shape)}"
    )
  height, width, channels = dataset.image_shape
  if size > min(height, width):
    raise UserError(
      f"--crop_size={size}: the images of {dataset.name} are {height} x {width};"
      " --image_size makes them larger"
    )
  dataset = dataset._replace(image_shape=(size, size, channels))
  return dataset._replace(test=_as_seen(dataset, dataset.test))


def _as_seen(dataset: Dataset, split: Split) -> Split:
  """What is scored: targets that are maps, as large as what networks see.

  Those that are trained on are cropped behind their view.
  """
  if task_of(dataset).border_target is None:
    return split
  size = dataset.image_shape[:2]
  if split.labels.shape[1:] == size:
    return split
  labels = data.middle(split.labels[..., None], size[0])[..., 0]
  return split._replace(labels=labels)
