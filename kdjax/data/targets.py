"""How labels are read: as a class, several times yes or no, or as numbers.

What a task's answers are says how, one of `kdjax.core.task.KINDS`; without, the
labels themselves do.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data import number_labels, several_labels
from kdjax.data.dataset import Dataset
from kdjax.data.labelled import Classes, number_classes
from kdjax.data.tables import Table, texts

# Kinds of answers whose labels are numbers.
NUMBERS = ("values", "embedding", "gaussians")


def kind_of(dataset: Dataset) -> str:
  """Says what the answers to a data set's labels are.

  Returns:
    One of `kdjax.core.task.KINDS`, "values" for numbers of which no task says more.
  """
  if dataset.task is not None:
    return dataset.task.kind
  if dataset.train.labels.dtype == np.float32:
    return "values"
  if dataset.train.labels.ndim == 3:
    return "categories"
  return "binary" if dataset.train.labels.ndim > 1 else "categories"


def without_labels(count: int) -> Classes:
  """Says that nothing is known of so many examples; numbers of none."""
  return Classes((), np.zeros((count, 0), np.float32))


def as_vectors(dataset: Dataset, kind: str | None) -> Dataset:
  """Leaves labels of classes out where vectors are wanted: there are none."""
  if (
    kind != "embedding"
    or dataset.task is not None
    or kind_of(dataset) in NUMBERS
  ):
    return dataset
  train, test = (
    split._replace(labels=without_labels(len(split.labels)).labels)
    for split in (dataset.train, dataset.test)
  )
  return dataset._replace(
    classes=0,
    class_names=(),
    train=train,
    test=test,
    notes=(*dataset.notes, "its classes are not used"),
  )


def check_kind(dataset: Dataset, kind: str | None) -> None:
  """Refuses labels that are not for the answers that are wanted."""
  there = kind_of(dataset)
  if kind not in (None, there) and not {kind, there} <= {*NUMBERS}:
    raise UserError(
      f"data set {dataset.name!r}: its labels are for answers that are {there},"
      f" and the task's are {kind}; tables and arrays can be read in several ways,"
      " labels of classes and of folders cannot"
    )


def target_statistics(dataset: Dataset) -> dict[str, tuple[float, ...]]:
  """The mean and the standard deviation of labels that are numbers.

  Returns:
    "target_mean" and "target_scale", C numbers each, over the training labels that
    are known; 0 and 1 where there are none, and a scale of 1 where all are alike.
    Nothing of other labels.

  Example:
    >>> from kdjax.data.dataset import Split
    >>> split = Split(np.zeros((2, 1, 1, 1)), np.array([[1.0], [3.0]], np.float32))
    >>> toy = Dataset("toy", 1, ("a",), (1, 1, 1), split, split)
    >>> target_statistics(toy)
    {'target_mean': (2.0,), 'target_scale': (1.0,)}
  """
  labels = dataset.train.labels
  if labels.dtype != np.float32 or labels.ndim > 2:
    return {}
  mean, scale = [], []
  for column in labels.reshape(len(labels), -1).T.astype(np.float64):
    known = column[np.isfinite(column)]
    mean.append(float(known.mean()) if len(known) else 0.0)
    scale.append(float(known.std()) if len(np.unique(known)) > 1 else 1.0)
  return {"target_mean": tuple(mean), "target_scale": tuple(scale)}


def label_columns(
  columns: Iterable[str],
  label: str | Sequence[str],
  kind: str | None,
  where: str,
) -> str | tuple[str, ...]:
  """Says which columns are labels.

  Returns:
    One name where it is that of the classes, else several.
  """
  names = several_labels.label_columns(columns, label)
  if not isinstance(label, str):
    several_labels.check_columns(names, where)
  if kind == "categories":
    if names and not isinstance(label, str):
      if len(names) > 1:
        raise UserError(
          f"{where}: label={names!r} names {len(names)} columns, and the classes"
          " of a classification stand in one"
        )
      return names[0]
    return label
  if names is None and kind == "embedding" and label not in columns:
    # Examples without vectors: those of a teacher are learned.
    return (label,) if label != "label" else ()
  if names is None:
    return label if kind is None else (label,)
  return names


def of_table(
  table: Table, label: str | Sequence[str], kind: str | None
) -> Classes:
  """Reads a table's labels: one name is that of the classes' column."""
  if isinstance(label, str):
    return number_classes(texts(table, label), table.where)
  if not label:
    return without_labels(len(table.places))
  if kind in NUMBERS:
    return number_labels.of_table(table, label)
  return several_labels.of_table(table, label)


def checked(
  dataset: Dataset,
  where: str,
  positive_weight: str | float | Sequence | None,
  kind: str | None,
) -> Dataset:
  """Refuses labels of which nothing can be learned; see `several_labels.checked`."""
  if dataset.train.labels.dtype != np.float32:
    return several_labels.checked(dataset, where, positive_weight)
  if positive_weight is not None:
    raise UserError(
      f"{where}: positive_weight={positive_weight!r} is for labels of yes and no,"
      " and these are numbers"
    )
  if kind in ("values", "gaussians"):
    number_labels.check_learnable(dataset, where)
  if kind == "embedding":
    _check_vectors(dataset, where)
  return dataset


def _check_vectors(dataset: Dataset, where: str) -> None:
  """Refuses vectors of which nothing can be learned, or measured."""
  if dataset.classes == 1:
    raise UserError(
      f"{where}: its labels are one number, which has no direction; a vector is"
      " several, (N, D) or columns label_0, label_1, ..., and examples without"
      " vectors have no label at all"
    )
  for split, labels in (("training", dataset.train), ("test", dataset.test)):
    is_vector = np.isfinite(labels.labels).all(1) & labels.labels.any(1)
    if dataset.classes and not is_vector.any():
      raise UserError(
        f"{where}: no {split} example has a vector that is known and not zero"
      )
