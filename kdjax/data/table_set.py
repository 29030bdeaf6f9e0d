"""Data sets out of single tables: of numbers, texts, or images' paths, and labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data import several_labels, targets
from kdjax.data.dataset import Dataset
from kdjax.data.images import pixels
from kdjax.data.images.image_folder import open_files
from kdjax.data.labelled import (
  Classes,
  check_split,
  hold_out,
  make_dataset,
)
from kdjax.data.listing import ImageFiles, Listing
from kdjax.data.naming import printable
from kdjax.data.npz_set import open_npz
from kdjax.data.tables import SUFFIXES, Table, numbers, read_table, texts
from kdjax.data.text_set import LINES, make_text_set, read_lines, text_columns
from kdjax.data.weights_and_groups import (
  Names,
  attach,
  check_names,
  of_table,
)

SPLIT = "split"
# The column of a list of images that says where each one is.
_FILES = ("image", "path")


def is_table(path: Path) -> bool:
  """Says whether a file's name is that of a table or of arrays.

  Example:
    >>> is_table(Path("iris.csv")), is_table(Path("iris.json"))
    (True, False)
  """
  return path.suffix.lower() in (*SUFFIXES, LINES, ".npz")


def open_table(
  path: Path,
  name: str,
  *,
  label: str | Sequence[str] = "label",
  leave_out: Sequence[str] = (),
  standardise: bool = True,
  positive_weight: str | float | Sequence[float] | None = None,
  kind: str | None = None,
  weight: str | None = None,
  group: str | None = None,
  image_size: int | None = None,
  resident_bytes: int = 2 << 30,
  background: tuple[int, int, int] = pixels.WHITE,
) -> Dataset:
  """Opens a table of numbers, texts or images, or arrays.

  A table's other columns are numbers, D of them each row's input, an image of
  (1, D, 1). Texts are a column `text`, and `text_2` where they are pairs. A list
  of images has a column `image` or `path`, relative to the file. Each may have a column `split` of train and test; without, a fifth of
  each class is test, by a hash of the row's numbers, text, or image's name.

  Args:
    path: a .csv, .tsv, .jsonl, .parquet or .npz file.
    name: as the user wrote it.
    label: the column of the classes; or several that say yes or no, as do those
      that begin with `label_` where none is called `label`.
    leave_out: columns that are not looked at, such as an id.
    standardise: bring the columns to mean 0 and deviation 1, over the training
      rows.
    positive_weight: of labels of yes and no, see `several_labels.checked`.
    kind: of the answers that the labels are for, see `targets`.
    weight: the column that says how much each example counts, >= 0; None where all
      count alike.
    group: the column of the examples' groups, of which scores are told apart; None
      for none.
    image_size: of a list of images, as `load` takes it; so are the others.

  Raises:
    UserError: for whatever makes no data set of it; names column and line.
  """
  if not path.is_file():
    raise UserError(f"data set {name!r}: there is no such file")
  dataset = _open(
    path,
    name,
    label,
    leave_out,
    standardise,
    kind,
    Names(weight, group),
    image_size=image_size,
    resident_bytes=resident_bytes,
    background=background,
  )
  return targets.checked(dataset, name, positive_weight, kind)


def _open(
  path,
  name,
  label,
  leave_out,
  standardise,
  kind,
  beside: Names,
  **of_images,
) -> Dataset:
  arrays = path.suffix.lower() == ".npz"
  if arrays and leave_out:
    raise UserError(f"{name}: leave_out is for tables")
  if arrays and not isinstance(label, str):
    raise UserError(
      f"{name}: several names of labels are for tables; arrays have one of (N, L)"
    )
  lines = path.suffix.lower() == LINES
  table = None if arrays else (read_lines if lines else read_table)(path)
  if table is not None:
    label = targets.label_columns(table.columns, label, kind, table.where)
    table = _columns_of(table, label, leave_out)
    check_names(beside, table.columns, table.where)
  inputs = [] if arrays else _inputs(table, label, beside)
  if len(inputs) == 1 and inputs[0] in _FILES:
    classes = targets.of_table(table, label, kind)
    files, is_test = _list_images(path.parent, table, inputs[0], classes)
    dataset = open_files(files, name, **of_images)
    return attach(dataset, of_table(table, beside), is_test)
  if of_images["image_size"] is not None:
    raise UserError(
      f"--image_size: the inputs of {name} have the size that they have"
    )
  if arrays:
    return open_npz(
      path,
      name,
      label=label,
      standardise=standardise,
      kind=kind,
      beside=beside,
    )
  if columns := text_columns(table, inputs):
    rows = {column: texts(table, column) for column in columns}
    classes = targets.of_table(table, label, kind)
    names = ["\0".join(x) for x in zip(*rows.values(), strict=True)]
    is_test = _held(table, classes, names)
    dataset = make_text_set(name, classes, rows, is_test)
    return attach(dataset, of_table(table, beside), is_test)
  values = numbers(table, inputs)
  classes = targets.of_table(table, label, kind)
  is_test = _held(table, classes, [row.tobytes().hex() for row in values])
  dataset = make_dataset(
    name, classes, values, is_test, standardise=standardise
  )
  return attach(dataset, of_table(table, beside), is_test)


def _columns_of(table: Table, label, leave_out: Sequence[str]) -> Table:
  """The table without the columns that are left out."""
  labels = (label,) if isinstance(label, str) else tuple(label)
  if labels:
    several_labels.check_columns(labels, table.where)
  leave_out = (leave_out,) if isinstance(leave_out, str) else tuple(leave_out)
  for column, argument in (
    *((one, "label='NAME'") for one in labels),
    *((one, "leave_out=('NAME',)") for one in leave_out),
  ):
    if column not in table.columns:
      raise UserError(
        f"{table.where} has no column {printable(column)!r}, but"
        f" {_listed(table.columns)}: table(path='FILE', {argument}) names another"
      )
  if both := [one for one in labels if one in leave_out]:
    raise UserError(
      f"{table.where}: column {printable(both[0])!r} has the classes, and"
      " leave_out=... leaves it out; label='NAME' names the one of the classes"
    )
  return table._replace(
    columns={
      name: column
      for name, column in table.columns.items()
      if name not in leave_out
    }
  )


def _inputs(table: Table, label, beside: Names) -> list[str]:
  """The columns that a network sees."""
  labels = (label,) if isinstance(label, str) else tuple(label)
  others = {*labels, SPLIT}
  for what, column in beside.among(table.columns).items():
    if column in others:
      raise UserError(
        f"{table.where}: {what}={printable(column)!r} names the column of"
        f" {'splits' if column == SPLIT else 'labels'}"
      )
  others |= {*beside.among(table.columns).values()}
  inputs = [column for column in table.columns if column not in others]
  if not inputs:
    raise UserError(f"{table.where} has no column besides {_listed(others)}")
  files = [column for column in inputs if column in _FILES]
  if files and len(inputs) > 1:
    raise UserError(
      f"{table.where}: a list of images has the columns"
      f" {', '.join((files[0], *labels))} and"
      f" perhaps {SPLIT}, this one also"
      f" {_listed(column for column in inputs if column != files[0])}"
    )
  return inputs


def _list_images(
  folder: Path, table: Table, column: str, classes: Classes
) -> tuple[ImageFiles, np.ndarray]:
  """Tells the images of a list apart as those of a folder."""
  files = [str(folder / file) for file in texts(table, column)]
  for file, place in zip(files, table.places, strict=True):
    if not Path(file).is_file():
      raise UserError(
        f"{table.where}: column {column!r}, {place}: there is no file"
        f" {printable(file)}"
      )
  is_test = _held(table, classes, [Path(file).stem for file in files])
  parts = [
    Listing(tuple(files[i] for i in np.flatnonzero(mask)), classes.labels[mask])
    for mask in (~is_test, is_test)
  ]
  return ImageFiles(classes.names, *parts, ()), is_test


def _held(table: Table, classes: Classes, names: list[str]) -> np.ndarray:
  """Marks what is test: as the table says, or a fifth of each class."""
  classes = several_labels.strata(classes)
  if SPLIT not in table.columns:
    instead = f"give a column {SPLIT} of train and test"
    return hold_out(names, classes, table.where, instead)
  splits = texts(table, SPLIT)
  for split, place in zip(splits, table.places, strict=True):
    if split not in ("train", "test"):
      raise UserError(
        f"{table.where}: column {SPLIT!r}, {place}, has {printable(split)!r}; it"
        " must be train or test"
      )
  is_test = splits == "test"
  check_split(classes, is_test, table.where)
  return is_test


def _listed(names: Iterable[str]) -> str:
  return ", ".join(sorted(map(printable, names)))
