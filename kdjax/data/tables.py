"""Reading tables: columns by name, out of CSV, TSV and parquet files."""

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.naming import printable
from kdjax.data.whole import first_line

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*_SEPARATORS, ".parquet")
# Python reads more as a number: 1_000, and the digits of other scripts.
_NUMBER = re.compile(
  r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf(inity)?)",
  re.ASCII | re.IGNORECASE,
)
_MORE_THAN_DIGITS = re.compile(r"[^0-9.eE+-]")


class Table(NamedTuple):
  """Columns of one length.

  Attributes:
    columns: (N,) by name, numbers where the file says so, else texts; an empty
      cell is "" among texts and nan among numbers.
    places: where each row stands in the file, for people: "line 2".
    where: how messages begin.
  """

  columns: dict[str, np.ndarray]
  places: tuple[str, ...]
  where: str


def read_table(path: Path) -> Table:
  """Reads a table with a line of names.

  Args:
    path: a file that ends in .csv, .tsv or .parquet.

  Returns:
    Its columns, N >= 1 rows.

  Raises:
    UserError: if it cannot be read, two columns have one name, one has none, or
      a row has another number of cells; in one line.
  """
  where = f"table {path}"
  read = _parquet if path.suffix.lower() == ".parquet" else _text
  with _refusing(where):
    names, columns, places = read(path, where)
  _check_names(names, where)
  if not places:
    raise UserError(f"{where} has no row below its line of names")
  return Table(dict(zip(names, columns, strict=True)), places, where)


def read_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
  """Reads a table's rows as they are, spaces around texts included.

  Args:
    path: as `read_table` takes it.

  Returns:
    (place, cells by name) of each row; of a CSV or TSV file the cells are texts,
    of a parquet file whatever it holds, lists and objects too.

  Raises:
    UserError: as `read_table`; a file may have no row.
  """
  where = f"table {path}"
  with _refusing(where):
    if path.suffix.lower() == ".parquet":
      rows = _open_parquet(path).to_pylist()
      return [(f"row {number + 1}", row) for number, row in enumerate(rows)]
    (_, names), *rows = _lines(path, where)
  _check_names(names, where)
  return [(place, dict(zip(names, row, strict=True))) for place, row in rows]


@contextlib.contextmanager
def _refusing(where: str) -> Iterator[None]:
  try:
    yield
  except (OSError, ValueError, csv.Error) as error:
    raise UserError(f"{where} cannot be read: {first_line(error)}") from error


def _check_names(names: list[str], where: str) -> None:
  for number, name in enumerate(names):
    if not name:
      raise UserError(f"{where}: column {number + 1} has no name")
  twice = [name for name, count in Counter(names).items() if count > 1]
  if twice:
    raise UserError(f"{where}: two columns are called {printable(twice[0])!r}")


def numbers(table: Table, names: Iterable[str]) -> np.ndarray:
  """Reads columns of numbers.

  Args:
    names: D columns.

  Returns:
    (N, D) float32, finite.

  Raises:
    UserError: for a cell that is empty, nan, infinite or no number; names the
      column and where it stands.
  """
  columns = [_numbers(table, name) for name in names]
  return np.stack(columns, axis=1)


def texts(table: Table, name: str) -> np.ndarray:
  """Reads a column of texts.

  Returns:
    (N,) str, none of them empty.

  Raises:
    UserError: for an empty cell; says where it stands.
  """
  column = table.columns[name]
  if column.dtype.kind == "f" and np.isnan(column).any():
    row = int(np.isnan(column).argmax())
    raise UserError(cell(table, name, row, "is empty"))
  if column.dtype.kind == "f" and (column % 1 == 0).all():
    column = column.astype(np.int64)
  column = column.astype(str)
  if (column == "").any():
    raise UserError(cell(table, name, int((column == "").argmax()), "is empty"))
  return column


def read_number(text: str) -> float | None:
  """Reads a decimal number as tables have it; None for any other text.

  Example:
    >>> read_number("-1.5e3"), read_number("1_000"), read_number("0x10")
    (-1500.0, None, None)
  """
  return float(text) if _NUMBER.fullmatch(text) else None


def _numbers(table: Table, name: str) -> np.ndarray:
  column = table.columns[name]
  # What float32 cannot hold becomes infinite, and is refused as such.
  with np.errstate(over="ignore"):
    try:
      if column.dtype.kind == "U" and _MORE_THAN_DIGITS.search("".join(column)):
        raise ValueError
      values = column.astype(np.float64).astype(np.float32)
    except ValueError:
      values = np.array([*map(read_number, column)], np.float32)
  if np.isfinite(values).all():
    return values
  row = int((~np.isfinite(values)).argmax())
  text = str(column[row])
  if not text or column.dtype.kind in "fO" and text == "nan":
    problem = "is empty"
  elif read_number(text) is None:
    problem = f"has {printable(text[:40])!r}, which is no number"
  else:
    problem = f"has {text}, which is no finite number of float32"
  raise UserError(
    cell(table, name, row, f"{problem}; leave the row or the column out")
  )


def cell(table: Table, name: str, row: int, problem: str) -> str:
  """Says where a problem stands."""
  return (
    f"{table.where}: column {printable(name)!r}, {table.places[row]}, {problem}"
  )


def _lines(path: Path, where: str) -> Iterator[tuple[str, list[str]]]:
  """The line of names, then every row, each with its place."""
  with open(path, newline="", encoding="utf-8-sig") as file:
    separator = _SEPARATORS[path.suffix.lower()]
    lines = csv.reader(file, delimiter=separator, strict=True)
    names = [name.strip() for name in next(lines, [])]
    yield "line 1", names
    for row in lines:
      if not row:
        continue
      if len(row) != len(names):
        raise UserError(
          f"{where}: line {lines.line_num} has {quantity(len(row), 'cell')}, the"
          f" line of names {len(names)}"
        )
      yield f"line {lines.line_num}", row


def _text(path: Path, where: str):
  (_, names), *rows = _lines(path, where)
  cells = [[cell.strip() for cell in row] for _, row in rows]
  columns = [np.array(column, str) for column in zip(*cells, strict=True)]
  return names, columns, tuple(place for place, _ in rows)


def _parquet(path: Path, where: str):
  table = _open_parquet(path)
  columns = [_of_arrow(table.column(i)) for i in range(table.num_columns)]
  places = tuple(f"row {number + 1}" for number in range(table.num_rows))
  return table.column_names, columns, places


def _open_parquet(path: Path):
  try:
    import pyarrow.parquet as parquet
  except ImportError as error:
    raise UserError(
      f"table {path}: reading parquet needs pyarrow: pip install pyarrow"
    ) from error
  return parquet.read_table(path)


def _of_arrow(column) -> np.ndarray:
  values = column.to_numpy()
  if values.dtype.kind in "iufb":
    return values
  # Texts, and whatever else is refused as no number later.
  return np.array(["" if x is None else str(x) for x in values], str)
