"""Data sets of texts, or of pairs of them, with labels: rows of a table."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdjax.core.errors import UserError, quantity
from kdjax.data.dataset import Dataset, Split
from kdjax.data.labelled import Classes
from kdjax.data.naming import printable
from kdjax.data.tables import Table, cell
from kdjax.data.text.rows import json_lines

# The columns that are texts; the second is that of pairs.
TEXT, SECOND = "text", "text_2"
LINES = ".jsonl"
# What is between the texts of a pair where people are shown them.
BETWEEN = " | "
# Lengths are multiples of it: arrays of odd lengths are slow.
MULTIPLE = 8


def read_lines(path: Path) -> Table:
  """Reads the objects of a .jsonl file as a table.

  Raises:
    UserError: for what is no JSON, no object, or an entry that is no single value;
      names the line.
  """
  where = f"table {path}"
  rows = list(json_lines(path))
  if not rows:
    raise UserError(f"{where} has no line")
  places = tuple(place for place, _ in rows)
  names = list(dict.fromkeys(name for _, values in rows for name in values))
  table = Table({}, places, where)
  columns = {}
  for name in names:
    values = [values.get(name, "") for _, values in rows]
    for row, value in enumerate(values):
      if not isinstance(value, str | int | float):
        raise UserError(
          cell(table, name, row, f"holds {_short(value)}; it takes one value")
        )
      if name in (TEXT, SECOND) and not isinstance(value, str):
        raise UserError(
          cell(table, name, row, f"has {value}, which is no text")
        )
    columns[name] = np.array([_as_text(x) for x in values], str)
  return table._replace(columns=columns)


def _as_text(value: Any) -> str:
  return value if isinstance(value, str) else json.dumps(value)


def _short(value: Any) -> str:
  text = json.dumps(value)
  return text if len(text) < 40 else f"{text[:37]}..."


def text_columns(table: Table, inputs: list[str]) -> tuple[str, ...]:
  """Says which columns are texts; () for a table of something else.

  Args:
    inputs: the columns that a network sees.

  Raises:
    UserError: for a second text without a first, and for other columns beside texts.
  """
  columns = tuple(name for name in (TEXT, SECOND) if name in inputs)
  if not columns:
    return ()
  if TEXT not in columns:
    raise UserError(
      f"{table.where} has a column {SECOND!r} and none called {TEXT!r}; a pair's"
      f" first text is {TEXT!r}"
    )
  if others := sorted(set(inputs) - set(columns)):
    raise UserError(
      f"{table.where}: a table of texts has the columns {TEXT}, perhaps {SECOND}, a"
      f" label and perhaps split, this one also {printable(', '.join(others))}:"
      " table(path='FILE', leave_out=('NAME',)) leaves some out"
    )
  return columns


def make_text_set(
  name: str,
  classes: Classes,
  columns: Mapping[str, np.ndarray],
  is_test: np.ndarray,
) -> Dataset:
  """Makes a data set of texts as they are written; `encode` makes tokens of them.

  Args:
    columns: by name, (N,) str.
    is_test: (N,) bool, what is test.
  """
  shown = [BETWEEN.join(texts) for texts in zip(*columns.values(), strict=True)]
  shown = np.array(shown, dtype=object)
  splits = [
    Split(
      {column: np.asarray(x, object)[mask] for column, x in columns.items()},
      classes.labels[mask],
      texts=shown[mask],
    )
    for mask in (~is_test, is_test)
  ]
  twice = len({*splits[0].texts} & {*splits[1].texts})
  notes = (
    (f"{quantity(twice, 'text')} both in train and in test",) if twice else ()
  )
  shapes = dict.fromkeys(columns, ())
  return Dataset(
    name, len(classes.names), classes.names, shapes, *splits, notes
  )


def of_texts(dataset: Dataset) -> bool:
  """Says whether a data set's inputs are texts that are no tokens yet."""
  return (
    isinstance(dataset.image_shape, Mapping) and TEXT in dataset.image_shape
  )


def encode(
  dataset: Dataset, encode_texts: Callable[..., tuple], length: int
) -> Dataset:
  """Makes tokens of a data set's texts.

  Args:
    dataset: of `make_text_set`.
    encode_texts: (texts, second texts or None, length=) -> arrays (N, length) by name,
      `tokens`, their `mask` and perhaps `segments`, and (N,) how many tokens each text
      has, of a tokenizer.
    length: the most tokens of a text; longer ones are cut.

  Returns:
    The data set of arrays by name, as long as its longest text and no longer, with
    what was cut among its facts.

  Raises:
    UserError: for a text that is no token, as one of what the tokenizer leaves out.
  """
  encoded = {
    split: encode_texts(
      part.images[TEXT].tolist(),
      part.images[SECOND].tolist() if SECOND in part.images else None,
      length=length,
    )
    for split, part in (("train", dataset.train), ("test", dataset.test))
  }
  longest = max(x["mask"].sum(axis=1).max() for x, _ in encoded.values())
  width = min(length, -(-int(longest) // MULTIPLE) * MULTIPLE)
  names = {name for x, _ in encoded.values() for name in x}
  inputs = {
    split: _trimmed(x, names, width) for split, (x, _) in encoded.items()
  }
  cut = {
    split: int((lengths > length).sum())
    for split, (_, lengths) in encoded.items()
  }
  note = f"{width} tokens long at most"
  if any(cut.values()):
    lost = " and ".join(f"{cut[split]} of {split}" for split in cut)
    note = f"cut to {length} tokens (--sequence_length): {lost}"
  return dataset._replace(
    image_shape={name: x.shape[1:] for name, x in inputs["train"].items()},
    train=dataset.train._replace(images=inputs["train"]),
    test=dataset.test._replace(images=inputs["test"]),
    notes=(*dataset.notes, note),
    facts={
      **dataset.facts,
      "sequence_length": width,
      "truncated": cut,
      "tokens": {split: int(x["mask"].sum()) for split, x in inputs.items()},
      "longest_text": max(
        int(lengths.max()) for _, lengths in encoded.values()
      ),
    },
  )


def _trimmed(
  arrays: Mapping[str, np.ndarray], names: set[str], width: int
) -> dict[str, np.ndarray]:
  """The first columns of arrays; those that one split lacks are 0."""
  zeros = dict.fromkeys(names, np.zeros_like(arrays["tokens"]))
  return {
    name: np.ascontiguousarray((zeros | {**arrays})[name][:, :width])
    for name in ("tokens", "mask", "segments")
    if name in names
  }


def by_length(
  arrays: Any, *, least: int
) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
  """Groups texts that are about as long, so that few are filled up to the longest.

  Args:
    arrays: (N, T) by name, with a `mask`; whatever else is one group.
    least: texts of a group, but for the last; fewer join longer ones, as a program
      for each length is compiled.

  Returns:
    Which examples each group has, in order, and their arrays: T / 4, T / 2 or T long.

  Example:
    >>> mask = np.arange(64) < np.array([[3], [60], [20], [2]])
    >>> [x["mask"].shape for _, x in by_length({"mask": mask}, least=2)]
    [(2, 16), (2, 64)]
  """
  if not isinstance(arrays, Mapping) or "mask" not in arrays:
    count = len(
      next(iter(arrays.values())) if isinstance(arrays, Mapping) else arrays
    )
    return [(np.arange(count), arrays)]
  mask = arrays["mask"]
  longest = mask.shape[1]
  # The place behind the last token: there may be holes before it.
  lengths = longest - mask[:, ::-1].argmax(axis=1)
  groups, waiting = [], np.zeros(0, int)
  shorter = 0
  for width in dict.fromkeys((-(-longest // 4), -(-longest // 2), longest)):
    here = np.flatnonzero((lengths > shorter) & (lengths <= width))
    waiting, shorter = np.union1d(waiting, here).astype(int), width
    if len(waiting) >= least or (width == longest and len(waiting)):
      taken = {name: x[waiting, :width] for name, x in arrays.items()}
      groups.append((waiting, taken))
      waiting = np.zeros(0, int)
  return groups
