"""What a data set is: labelled examples in two splits, in memory or on disk."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from kdjax.core.errors import StorageError, UserError, quantity
from kdjax.core.task import Task
from kdjax.data.naming import printable


class Images(Protocol):
  """Images that are read one by one, when asked for; picklable."""

  def __len__(self) -> int:
    """Returns the number of images."""

  def __getitem__(self, index: int) -> np.ndarray:
    """Returns image `index`, (H, W, C), uint8 0..255 or float32."""


class Split(NamedTuple):
  """Examples with their labels.

  Attributes:
    images: (N, H, W, C) uint8 or float32 if resident, else Images of length N; of
      inputs that are no images, arrays (N, ...) by name, such as tokens.
    labels: (N,) int32, each in [0, classes); or whatever the data set's task has
      for targets, (N, ...) float32.
    masks: (N, H, W) bool, or read one by one, where the object is; None where
      nobody asked for them.
    weight: (N,) float32 > 0, how much each counts in a loss; None where all count
      alike.
    group: (N,) int32, which group each is of; None where there are none.
    texts: (N,) str, what people are shown of each example where its inputs are no
      picture; None where they are one.
  """

  images: np.ndarray | Images | Mapping[str, np.ndarray]
  labels: np.ndarray
  masks: np.ndarray | Images | None = None
  weight: np.ndarray | None = None
  group: np.ndarray | None = None
  texts: np.ndarray | None = None


class Dataset(NamedTuple):
  """A data set, one for classification where it names no other task.

  Attributes:
    name: as the user wrote it.
    classes: number of classes C; of another task, of the numbers that a network
      answers with.
    class_names: C names, in the order of the labels, or of those numbers.
    image_shape: (height, width, channels); of arrays by name, the shape of one
      example of each, by name.
    train: what students and teachers may learn from.
    test: what they are measured on, and nothing else.
    notes: what of the stored data is not used, for people.
    task: what its networks are for; None for classification, or for `multilabel`
      where labels are (N, C) int32: 1 for yes, 0 for no, -1 for what is not known;
      and for `regression` where they are (N, C) float32, nan for what is not known.
      and for `segmentation` where they are (N, H, W): 255 for what does not count.
    positive_weight: what a yes weighs in the loss against such labels, a number or
      one a label; None for 1.
    group_names: in the order of the splits' groups.
    facts: what results.json says of how the data were read, JSON values.
    tokenizer: what made tokens of its texts; None where there are none.
  """

  name: str
  classes: int
  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int] | Mapping[str, tuple[int, ...]]
  train: Split
  test: Split
  notes: tuple[str, ...] = ()
  task: Task | None = None
  positive_weight: float | tuple[float, ...] | None = None
  group_names: tuple[str, ...] = ()
  facts: Mapping[str, Any] = MappingProxyType({})
  tokenizer: Any = None

  @property
  def noun(self) -> str:
    """What an example is called."""
    if self.train.texts is not None:
      return "text"
    return "example" if isinstance(self.image_shape, Mapping) else "image"


def summary(dataset: Dataset) -> str:
  """Says in one line what was opened.

  Returns:
    Its name, how many images and classes there are, and what is not used.
  """
  task, answers = dataset.task, quantity(dataset.classes, "class", "classes")
  if is_of_maps(dataset):
    task, answers = None, f"{answers} of pixels"
  elif dataset.train.labels.ndim > 1:
    numbers = dataset.train.labels.dtype == np.float32
    kind = "number" if numbers else "yes/no label"
    answers = quantity(dataset.classes, kind)
  counts = (
    f"{printable(dataset.name)}: {len(dataset.train.labels)} train,"
    f" {quantity(len(dataset.test.labels), f'test {dataset.noun}')},"
    f" {f'task {task.name}' if task else answers}"
  )
  return "; ".join((counts, *dataset.notes))


def is_of_maps(dataset: Dataset) -> bool:
  """Says whether a data set's labels are maps of its images' pixels."""
  if dataset.task is None:
    return dataset.train.labels.ndim == 3
  return dataset.task.border_target is not None


def resident(split: Split) -> bool:
  """Says whether a split's images are one array in memory.

  Returns:
    True for an array, or arrays by name; False for images that are read when
    asked for.
  """
  return isinstance(split.images, np.ndarray | Mapping)


def materialise(images: Images) -> np.ndarray:
  """Reads all images into memory.

  Args:
    images: N >= 1 images of one shape and dtype.

  Returns:
    (N, H, W, C) array of the images' dtype.
  """
  with opening():
    first = images[0]
    result = np.empty((len(images), *first.shape), first.dtype)
    result[0] = first
    for index in range(1, len(images)):
      result[index] = images[index]
  return result


@contextlib.contextmanager
def opening() -> Iterator[None]:
  """Makes storage that fails the user's mistake: nothing was begun yet.

  Example:
    >>> with opening():
    ...   raise StorageError("a.png is cut short")
    Traceback (most recent call last):
    kdjax.core.errors.UserError: a.png is cut short
  """
  try:
    yield
  except StorageError as error:
    raise UserError(str(error)) from error


class _Selected:
  """Some of the images of a lazy split."""

  def __init__(self, images: Images, indices: np.ndarray):
    self._images, self._indices = images, indices

  def __len__(self) -> int:
    return len(self._indices)

  def __getitem__(self, index: int) -> np.ndarray:
    return self._images[int(self._indices[index])]


def select(split: Split, indices: np.ndarray) -> Split:
  """Takes some examples of a split.

  Args:
    indices: (M,) integers, which examples, in the order wanted.

  Returns:
    A split of M examples, resident if the given one is.
  """
  return Split(*(examples_at(part, indices) for part in split))


def examples_at(part: Any, indices: np.ndarray) -> Any:
  """Takes some examples of a part of a split; of None there is nothing to take."""
  if part is None:
    return None
  if isinstance(part, np.ndarray):
    return part[indices]
  if isinstance(part, Mapping):
    return {name: x[indices] for name, x in part.items()}
  return _Selected(part, indices)


def example(images: Any, place: int) -> Any:
  """Reads one stored example: an image, or arrays by name.

  Example:
    >>> example({"tokens": np.arange(6).reshape(2, 3)}, 1)
    {'tokens': array([3, 4, 5])}
  """
  if isinstance(images, Mapping):
    return {name: x[place] for name, x in images.items()}
  return np.asarray(images[place])


def stacked(split: Split, places: np.ndarray) -> Any:
  """Reads some examples' inputs, as arrays in memory."""
  if resident(split):
    return examples_at(split.images, places)
  return np.stack([split.images[int(place)] for place in places])


def shown(split: Split, places: Sequence[int]) -> np.ndarray:
  """Returns what people are shown of some examples: pictures, or texts.

  Returns:
    (K, H, W, C) images as stored, or (K,) str.
  """
  if split.texts is not None:
    return split.texts[np.asarray(places, int)]
  return np.stack([split.images[int(place)] for place in places])


def empty_examples(dataset: Dataset, count: int) -> Any:
  """Makes empty inputs of a data set as networks see them, for shapes.

  Args:
    count: B, how many.

  Returns:
    (B, H, W, C) float32 zeros; or zeros by name, of the types that are stored, where
    whatever is true or false, such as a mask, is true.
  """
  if not isinstance(dataset.image_shape, Mapping):
    return np.zeros((count, *dataset.image_shape), np.float32)
  types = {name: x.dtype for name, x in dataset.train.images.items()}
  return {
    name: np.full((count, *shape), types[name].kind == "b", types[name])
    for name, shape in dataset.image_shape.items()
  }
