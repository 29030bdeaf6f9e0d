"""Labels that are numbers, one or several an example, out of tables and arrays."""

from collections.abc import Sequence

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset
from kdjax.data.labelled import Classes
from kdjax.data.naming import distinct, printable
from kdjax.data.several_labels import PREFIX
from kdjax.data.tables import Table, cell, read_number

_READ = "a decimal number, and nan or nothing for what is not known"


def of_table(table: Table, names: Sequence[str]) -> Classes:
  """Reads columns of numbers.

  Returns:
    The columns' names, and (N, C) float32, nan for what is not known.

  Raises:
    UserError: for a cell that says something else; names column and line.
  """
  columns = [_numbers(table, name) for name in names]
  shown = [name.removeprefix(PREFIX) or name for name in names]
  return Classes(distinct(shown), np.stack(columns, axis=1))


def _numbers(table: Table, name: str) -> np.ndarray:
  texts, places = np.unique(
    table.columns[name].astype(str), return_inverse=True
  )
  values = [np.nan if text == "" else read_number(text) for text in texts]
  no_number = np.array([value is None for value in values])
  with np.errstate(over="ignore"):
    numbers = np.array(values, np.float32)
  wrong = (no_number | np.isinf(numbers))[places]
  if wrong.any():
    row = int(wrong.argmax())
    text = printable(str(table.columns[name][row])[:40])
    raise UserError(
      cell(table, name, row, f"has {text!r}; a label of numbers is {_READ}")
    )
  return numbers[places]


def of_array(
  array: np.ndarray, names: Sequence[str] | None, where: str
) -> Classes:
  """Reads an array of numbers, (N,) or (N, C); likewise."""
  if array.ndim not in (1, 2) or array.dtype.kind not in "iufb":
    raise UserError(
      f"{where} has the type {array.dtype} and the shape {array.shape}; labels of"
      " numbers are (N,) or (N, C)"
    )
  with np.errstate(over="ignore"):
    numbers = array.reshape(len(array), -1).astype(np.float32)
  if np.isinf(numbers).any():
    example, column = np.argwhere(np.isinf(numbers))[0]
    raise UserError(
      f"{where}: example {example} has {array.reshape(numbers.shape)[example, column]}"
      f" for label {column}; a label of numbers is {_READ}"
    )
  count = numbers.shape[1]
  names = (
    [str(i) for i in range(count)] if names is None else [*map(str, names)]
  )
  if len(names) != count:
    raise UserError(f"{where}: {len(names)} label_names for {count} labels")
  return Classes(distinct(names), numbers)


def check_learnable(dataset: Dataset, where: str) -> None:
  """Refuses numbers of which nothing can be learned, or measured."""
  for name, column, test in zip(
    dataset.class_names,
    dataset.train.labels.T,
    dataset.test.labels.T,
    strict=True,
  ):
    label = f"{where}: label {printable(name)!r} is"
    values = np.unique(column[~np.isnan(column)])
    if len(values) < 2:
      says = f"{values[0]:g}" if len(values) else "not known"
      raise UserError(
        f"{label} {says} of every training example: there is nothing to predict;"
        " leave it out"
      )
    if np.isnan(test).all():
      raise UserError(f"{label} not known of any test example")
