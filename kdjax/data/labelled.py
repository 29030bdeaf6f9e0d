"""Labels as they are written, the share that is test, and the data set of both."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.dataset import Dataset, Split
from kdjax.data.naming import distinct
from kdjax.data.subsets import by_name
from kdjax.data.tables import read_number


class Classes(NamedTuple):
  """Which class each example is of, or its several labels.

  Attributes:
    names: C texts, in the order of the labels.
    labels: (N,) int32, classes; or (N, C), int32 of yes and no, float32 numbers.
  """

  names: tuple[str, ...]
  labels: np.ndarray


def number_classes(
  values: np.ndarray, where: str, *, noun: str = "label"
) -> Classes:
  """Numbers classes that are named by texts or by whole numbers.

  Args:
    values: (N,) str; all whole numbers, or names.
    where: how messages begin.
    noun: what a value is.

  Returns:
    The classes: numbers in their order, names in that of the alphabet.

  Raises:
    UserError: for numbers that are not whole.

  Example:
    >>> number_classes(np.array(["10", "9", "10"]), "mine").names
    ('9', '10')
  """
  numbers = [read_number(value) for value in np.unique(values)]
  if None not in numbers:
    if not np.equal(np.mod(numbers, 1), 0).all():
      kinds = "classes" if noun == "label" else f"{noun}s"
      text = next(x for x in np.unique(values) if read_number(x) % 1 != 0)
      raise UserError(
        f"{where}: a {noun} is {text}; {kinds} are whole numbers or names"
        + (
          ", and --task=regression predicts numbers" if noun == "label" else ""
        )
      )
    values = values.astype(np.float64).astype(np.int64)
  names, labels = np.unique(values, return_inverse=True)
  return Classes(distinct(map(str, names)), labels.astype(np.int32))


def hold_out(
  names: Sequence[str],
  classes: Classes,
  where: str,
  instead: str,
  *,
  noun: str = "example",
) -> np.ndarray:
  """Marks about a fifth of each class, by a hash of the examples' names.

  Args:
    names: N texts; equal ones stay on one side.
    instead: what else would divide the examples, for the message.
    noun: what an example is.

  Returns:
    (N,) bool.

  Raises:
    UserError: if a class has too few examples; names it.
  """
  is_test = by_name(names, classes.labels)
  counts = np.bincount(classes.labels)
  test_counts = np.bincount(classes.labels[is_test], minlength=len(counts))
  for name, count, test in zip(classes.names, counts, test_counts, strict=True):
    if not test:
      raise UserError(
        f"{where}: there is no test {noun} of class {name!r}, which has"
        f" {quantity(count, noun)}; a fifth of each class is test: give it"
        f" at least 5 that differ, or {instead}"
      )
  return is_test


def check_split(classes: Classes, is_test: np.ndarray, where: str) -> None:
  """Refuses splits that are empty, or test what nobody learns."""
  for split, mask in (("train", ~is_test), ("test", is_test)):
    if not mask.any():
      raise UserError(f"{where}: no example is {split}")
  train_labels, test_labels = (
    set(classes.labels[mask]) for mask in (~is_test, is_test)
  )
  if extra := sorted(test_labels - train_labels):
    raise UserError(
      f"{where}: class {classes.names[extra[0]]!r} is in test but not in train"
    )


def make_dataset(
  name: str,
  classes: Classes,
  values: np.ndarray,
  is_test: np.ndarray,
  *,
  standardise: bool,
) -> Dataset:
  """Makes a data set of arrays in memory.

  Args:
    values: (N, D) float32, D columns that become images of (1, D, 1); or
      (N, H, W, C).
    is_test: (N,) bool, what is test.
    standardise: divide each column's distance from its mean by its deviation,
      both over what is not held.
  """
  notes = ()
  if values.ndim == 2:
    if standardise:
      values = _standardised(values, values[~is_test])
      notes = ("columns standardised by the training rows",)
    values = values[:, None, :, None]
  splits = [
    Split(np.ascontiguousarray(values[mask]), classes.labels[mask])
    for mask in (~is_test, is_test)
  ]
  shape, count = values.shape[1:], len(classes.names)
  return Dataset(name, count, classes.names, shape, *splits, notes)


def _standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
  mean = train.mean(0, dtype=np.float64)
  deviation = train.std(0, dtype=np.float64)
  # Of a constant column rounding would make noise.
  deviation[train.min(0) == train.max(0)] = 1
  return ((values - mean) / deviation).astype(np.float32)
