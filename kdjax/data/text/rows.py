"""Rows of text out of files: documents, lines of JSON, tables."""

import difflib
import glob
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.core.errors import UserError
from kdjax.data.naming import printable
from kdjax.data.tables import SUFFIXES, read_records
from kdjax.data.text.packages import PREFIX, read_package, read_rdb

# A line of its own that ends a document within a file: a form feed, or what
# collections of documents put between them.
_BORDER = re.compile(r"^[ \t]*(?:\f|<\|endoftext\|>)[ \t\r]*\n?", re.MULTILINE)


# Token ids of rows that a network answers; no column of a file is called so.
QUESTION, ANSWER = "\0question", "\0answer"


class Row(NamedTuple):
  """One row of data.

  Attributes:
    values: its entries, such as `text`, or `prompt` and `completion`.
    place: where it stands, for people: "novels.jsonl, line 3".
  """

  values: Mapping[str, Any]
  place: str


def read_rows(text: str | os.PathLike | Sequence[str]) -> list[Row]:
  """Reads rows of text.

  Args:
    text: a file, a pattern such as 'novels/*.txt' (`**` reaches into folders),
      a folder, or several of them. By the end of a file's name:
      .txt, .md: one document, a row of `text`. Lines that hold a form feed or
        <|endoftext|> and nothing else divide a file into documents.
      .jsonl: an object a line.
      .csv, .tsv, .parquet: an entry a column; spaces around texts stay.
      .rdb: the data of an R package, a document each vector of texts.
      "package:NAME" is an installed one: see `read_package`.

  Returns:
    The rows, files in the order of their names, documents without a word left
    out.

  Raises:
    UserError: names the file, and the line, of what cannot be read; and patterns
      without a file.
  """
  patterns = [text] if isinstance(text, str | os.PathLike) else text
  files = [file for pattern in patterns for file in _files(os.fspath(pattern))]
  # A file that two patterns name is read once.
  rows = [row for file in dict.fromkeys(files) for row in _read(file)]
  if not rows:
    names = ", ".join(printable(file) for file in files[:3])
    raise UserError(f"text: there is no row in {names}")
  return rows


def _files(pattern: str) -> list[str]:
  path = Path(pattern)
  if pattern.startswith(PREFIX):
    return [pattern]
  if path.is_file():
    return [pattern]
  if path.is_dir():
    pattern = os.path.join(glob.escape(pattern), "*")
  matches = sorted(glob.glob(pattern, recursive=True))
  files = [file for file in matches if Path(file).is_file()]
  if path.is_dir():
    files = [file for file in files if Path(file).suffix.lower() in _READERS]
  if files:
    return files
  siblings = [file.name for file in path.parent.glob("*") if file.is_file()]
  near = difflib.get_close_matches(path.name, siblings, n=1)
  hint = f"; did you mean {str(path.with_name(near[0]))!r}?" if near else ""
  problem = "folder has no file of text" if path.is_dir() else "no such file"
  raise UserError(f"text {printable(str(path))!r}: {problem}{hint}")


def _read(file: str) -> Iterator[Row]:
  if file.startswith(PREFIX):
    for place, values in read_package(file.removeprefix(PREFIX)):
      yield Row(values, f"{file}, {place}")
    return
  path = Path(file)
  suffix = path.suffix.lower()
  if suffix not in _READERS:
    raise UserError(
      f"text {printable(str(path))!r}: what ends in {suffix or 'no suffix'!r} is"
      f" not read; possible: {', '.join(_READERS)}"
    )
  name = printable(str(path))
  for place, values in _READERS[suffix](path):
    yield Row(values, f"{name}, {place}" if place else name)


def _documents(path: Path) -> Iterator[tuple[str, dict]]:
  whole = "".join(text for _, text in text_lines(path))
  parts = _BORDER.split(whole)
  for number, part in enumerate(parts):
    if part.strip():
      place = f"document {number + 1}" if len(parts) > 1 else ""
      yield place, {"text": part}


def json_lines(path: Path) -> Iterator[tuple[str, dict]]:
  """Reads the objects of a file, one a line, each with its place."""
  for number, line in text_lines(path):
    if not line.strip():
      continue
    try:
      values = json.loads(line)
    except (ValueError, RecursionError) as error:
      reason = error.msg if isinstance(error, json.JSONDecodeError) else error
      raise UserError(
        f"{printable(str(path))}, line {number}, is no JSON: {reason}"
      ) from None
    if not isinstance(values, dict):
      raise UserError(
        f"{printable(str(path))}, line {number}, is a"
        f" {type(values).__name__}; it must be an object, such as"
        ' {"prompt": "2+2=", "completion": "4"}'
      )
    yield f"line {number}", _without_nulls(values)


def _records(path: Path) -> Iterator[tuple[str, dict]]:
  for place, values in read_records(path):
    yield place, _without_nulls(values)


# By the end of a file's name.
_READERS: dict[str, Callable[[Path], Iterator[tuple[str, dict]]]] = {
  ".txt": _documents,
  ".md": _documents,
  ".jsonl": json_lines,
  ".rdb": read_rdb,
  **dict.fromkeys(SUFFIXES, _records),
}


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
  """A file's lines, numbered from 1, with the ends that they have."""
  number = 0
  try:
    # In bytes first: other systems' ends of lines, and what splits lines for
    # Python alone, stay where they are.
    with open(path, "rb") as file:
      for number, line in enumerate(file, 1):
        yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
  except UnicodeDecodeError as error:
    raise UserError(
      f"{printable(str(path))}, line {number}, is not UTF-8: {error.reason}"
      f" (byte {error.start + 1} of the line);"
      " iconv -t UTF-8 -f ENCODING converts it"
    ) from None
  except OSError as error:
    raise UserError(
      f"cannot read {printable(str(path))}: {error.strerror}"
    ) from None


def _without_nulls(value: Any) -> Any:
  """Leaves out what tables have to fill: entries that a row does not have."""
  if isinstance(value, dict):
    return {
      name: _without_nulls(x) for name, x in value.items() if x is not None
    }
  return [*map(_without_nulls, value)] if isinstance(value, list) else value
