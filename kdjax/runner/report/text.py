"""A table as a value, and as text for the terminal and for Markdown."""

import io
import itertools
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple, TextIO

from kdjax.runner.report import parts

_ASCII = str.maketrans({"±": "+-", "−": "-", "–": "-", "×": "x"})


class Table(NamedTuple):
  """Rows of text under headers, with a caption and notes below."""

  caption: str
  headers: tuple[str, ...]
  rows: tuple[tuple[str, ...], ...]
  notes: tuple[str, ...] = ()


Makers = Mapping[str, Callable[[], list[Table]]]


def tables(makers: Makers) -> list[Table]:
  """Makes all tables."""
  return [table for make in makers.values() for table in make()]


def make_tables(makers: Makers, left_out: list[str] | None) -> list[Table]:
  """Makes all tables that can be made.

  Args:
    left_out: gets a sentence for what cannot; None where it is said elsewhere.
  """
  tables = parts.make_parts("the table of", makers, left_out)
  return list(itertools.chain.from_iterable(tables.values()))


def summary(makers: Makers, sentences: Callable[[], list[str]]) -> str:
  """Returns what a run found, for the terminal."""
  blocks = [to_text(table) for table in make_tables(makers, None)]
  with parts.part("the sentences", None):
    blocks += sentences()
  return "\n".join(blocks)


def to_text(table: Table, stream: TextIO | None = None) -> str:
  """Returns a table for the terminal, or plain text for a file or pipe.

  Args:
    stream: where the text will go, by default stdout. A terminal gets colours
      and its own width; anything else plain text, however wide. Where the
      encoding has no "±", ASCII stands in.
  """
  stream = sys.stdout if stream is None else stream
  encoding = getattr(stream, "encoding", None) or "utf-8"
  plain = _plain_text(table)
  try:
    plain.encode(encoding)
  except UnicodeEncodeError:
    plain = _plain_text(_in_ascii(table))
    return plain.encode(encoding, "replace").decode(encoding)
  if getattr(stream, "isatty", lambda: False)():
    return _by_rich(table)
  return plain


def to_markdown(table: Table) -> str:
  """Returns a table in GitHub's Markdown."""
  rule = ["--:" if right else ":--" for right in right_aligned(table)]
  lines = [table.headers, rule, *table.rows]
  body = "\n".join(
    f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |"
    for line in lines
  )
  parts = [f"**{table.caption}**", body, *filter(None, table.notes)]
  return "\n\n".join(parts) + "\n"


def right_aligned(table: Table) -> tuple[bool, ...]:
  """Returns, for each column, whether it holds numbers.

  Example:
    >>> right_aligned(Table("", ("A", "B"), (("x", "1.0"), ("y", "–"))))
    (False, True)
  """
  numeric = tuple("0123456789+-−–<*")
  return tuple(
    column > 0
    and all(
      not row[column] or row[column].startswith(numeric) for row in table.rows
    )
    for column in range(len(table.headers))
  )


def _in_ascii(table: Table) -> Table:
  # Before the columns are laid out, because "+-" is wider than its original.
  def translated(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.translate(_ASCII) for text in texts)

  return Table(
    table.caption.translate(_ASCII),
    translated(table.headers),
    tuple(map(translated, table.rows)),
    translated(table.notes),
  )


def _plain_text(table: Table) -> str:
  lines = [table.headers, *table.rows]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  right = right_aligned(table)
  rows = [
    "  ".join(
      cell.rjust(width) if number else cell.ljust(width)
      for cell, width, number in zip(line, widths, right, strict=True)
    ).rstrip()
    for line in lines
  ]
  return "\n".join([table.caption, *rows, *filter(None, table.notes)]) + "\n"


def _by_rich(table: Table) -> str:
  import rich.box
  import rich.console
  import rich.table
  import rich.text

  grid = rich.table.Table(
    title=rich.text.Text(table.caption, style="bold"),
    caption=rich.text.Text("\n".join(filter(None, table.notes)), style="dim"),
    title_justify="left",
    caption_justify="left",
    box=rich.box.SIMPLE_HEAD,
    pad_edge=False,
    padding=(0, 1, 0, 0),
  )
  to_the_right = right_aligned(table)
  for column, header in enumerate(table.headers):
    # Folded, because a spec that ends in dots is no spec.
    grid.add_column(
      rich.text.Text(header),
      justify="right" if to_the_right[column] else "left",
      overflow="fold",
      no_wrap=column == 0,
    )
  for row in table.rows:
    # Text, because a spec's brackets are not rich's markup.
    grid.add_row(*(rich.text.Text(cell) for cell in row))
  buffer = io.StringIO()
  rich.console.Console(file=buffer, force_terminal=True).print(grid)
  return buffer.getvalue()
