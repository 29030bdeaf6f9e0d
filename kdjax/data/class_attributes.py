"""Several yes/no labels an example, told by its class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset


def class_attributes(
  dataset: Dataset, attributes: Mapping[str, Sequence[int]]
) -> Dataset:
  """Asks of every example what its class is, instead of which it is.

  Args:
    dataset: of classes.
    attributes: by name, the classes that have it.

  Returns:
    The data set with (N, L) labels of 1 and 0, a label an attribute.

  Raises:
    UserError: for labels that are no classes, no attribute, and one that names no
      classes, or all of them.
  """
  labels = dataset.train.labels
  if labels.ndim > 1 or (dataset.task and dataset.task.kind != "categories"):
    raise UserError(
      f"class_attributes: {dataset.name} has no single class an example"
    )
  if not attributes:
    raise UserError(
      "class_attributes: name the classes that have each attribute, such as"
      " class_attributes('digits', even=(0, 2, 4, 6, 8))"
    )
  has = np.stack(
    [_marks(name, given, dataset) for name, given in attributes.items()], 1
  )
  splits = {
    name: split._replace(labels=has[split.labels])
    for name, split in (("train", dataset.train), ("test", dataset.test))
  }
  return dataset._replace(
    **splits, classes=len(attributes), class_names=tuple(attributes)
  )


def _marks(name: str, given: Any, dataset: Dataset) -> np.ndarray:
  """(C,) 1 for the classes that have an attribute."""
  given = (given,) if isinstance(given, int) else given
  is_class = [
    isinstance(one, int)
    and not isinstance(one, bool)
    and 0 <= one < dataset.classes
    for one in (given if isinstance(given, tuple | list) else [None])
  ]
  some = 0 < len({*given} if all(is_class) else ()) < dataset.classes
  if not all(is_class) or not some:
    raise UserError(
      f"class_attributes: {name}={given!r}; it takes some of the classes 0 to"
      f" {dataset.classes - 1}, and not all"
    )
  marks = np.zeros(dataset.classes, np.int32)
  marks[list(given)] = 1
  return marks
