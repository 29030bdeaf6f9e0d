"""Several yes/no labels an example, out of tables and arrays."""

from collections.abc import Iterable, Sequence

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data.dataset import Dataset
from kdjax.data.labelled import Classes
from kdjax.data.naming import distinct, printable
from kdjax.data.tables import Table, cell, read_number

# Columns that are labels where none is called `label`.
PREFIX = "label_"
_WORDS = {"yes": 1, "true": 1, "no": 0, "false": 0, "": -1, "nan": -1}
_READ = "1 for yes, 0 for no, and -1 or nothing for what is not known"


def label_columns(
  columns: Iterable[str], label: str | Sequence[str]
) -> tuple[str, ...] | None:
  """Says which columns are labels; None where one column names the class.

  Args:
    columns: of the table.
    label: the column of the classes, or several that say yes or no.

  Example:
    >>> label_columns(["width", "label_red", "label_round"], "label")
    ('label_red', 'label_round')
    >>> label_columns(["width", "label"], "label")
  """
  if not isinstance(label, str):
    return tuple(label)
  if label != "label" or "label" in columns:
    return None
  return tuple(x for x in columns if x.startswith(PREFIX)) or None


def check_columns(names: Sequence[str], where: str) -> None:
  """Refuses what names no columns, or one of them twice."""
  if not names or not all(isinstance(name, str) for name in names):
    raise UserError(
      f"{where}: label={names!r} names no columns; write one name, or several"
      " of yes and no, label=('NAME', 'NAME')"
    )
  if twice := [name for name in names if names.count(name) > 1]:
    raise UserError(f"{where}: label=... names {printable(twice[0])!r} twice")


def of_table(table: Table, names: Sequence[str]) -> Classes:
  """Reads columns of yes and no.

  Returns:
    The labels' names, and (N, L) int32 of 1, 0, and -1 for what is not known.

  Raises:
    UserError: for a cell that says something else; names column and line.
  """
  columns = [_answers(table, name) for name in names]
  shown = [name.removeprefix(PREFIX) or name for name in names]
  return Classes(distinct(shown), np.stack(columns, axis=1))


def _answers(table: Table, name: str) -> np.ndarray:
  texts, places = np.unique(
    table.columns[name].astype(str), return_inverse=True
  )
  answers = [_answer(text) for text in texts]
  if None in answers:
    wrong = [i for i, answer in enumerate(answers) if answer is None]
    row = int(np.isin(places, wrong).argmax())
    text = printable(str(table.columns[name][row])[:40])
    raise UserError(cell(table, name, row, f"has {text!r}; a label is {_READ}"))
  return np.array(answers, np.int32)[places]


def _answer(text: str) -> int | None:
  number = read_number(text)
  if number is None or np.isnan(number):
    return _WORDS.get(text.lower())
  return int(number) if number in (1, 0, -1) else None


def of_array(
  array: np.ndarray, names: Sequence[str] | None, where: str
) -> Classes:
  """Reads an array of yes and no, (N, L); likewise."""
  count = array.shape[1]
  values = np.where(np.isnan(array.astype(float)), -1, array.astype(float))
  wrong = ~np.isin(values, (1, 0, -1))
  if wrong.any():
    example, label = np.argwhere(wrong)[0]
    raise UserError(
      f"{where}: example {example} has {array[example, label]} for label {label};"
      f" several labels, (N, {count}), are {_READ}"
    )
  names = (
    [str(i) for i in range(count)] if names is None else [*map(str, names)]
  )
  if len(names) != count:
    raise UserError(f"{where}: {len(names)} label_names for {count} labels")
  return Classes(distinct(names), values.astype(np.int32))


def strata(classes: Classes) -> Classes:
  """What a fifth of each is test of: the classes, or all rows alike."""
  if classes.labels.ndim == 1:
    return classes
  return Classes(("all examples",), np.zeros(len(classes.labels), np.int32))


def checked(
  dataset: Dataset, where: str, positive_weight: str | float | Sequence | None
) -> Dataset:
  """Refuses labels of which nothing can be learned, and notes the weights of yes.

  Args:
    positive_weight: a number, one a label, or "balanced": for each label how many
      training examples say no, over how many say yes.
  """
  labels = dataset.train.labels
  if labels.ndim == 1:
    if positive_weight is not None:
      raise UserError(
        f"{where}: positive_weight={positive_weight!r} is for labels of yes and no,"
        " several columns, and there is one of classes"
      )
    return dataset
  for name, column in zip(dataset.class_names, labels.T, strict=True):
    there = set(column.tolist()) - {-1}
    if len(there) < 2:
      says = {1: "yes", 0: "no"}.get(*there) if there else "not known"
      raise UserError(
        f"{where}: label {printable(name)!r} is {says} of every training example:"
        " there is nothing to tell apart; leave it out"
      )
  if positive_weight == "balanced":
    no, yes = (np.sum(labels == answer, axis=0) for answer in (0, 1))
    positive_weight = tuple((no / yes).tolist())
  return dataset._replace(positive_weight=positive_weight)
