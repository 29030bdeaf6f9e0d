"""Texts of known sizes, divided by document: what the language models learn from.

  python -m experiments.text.documents runs/texts/pages.jsonl 'docs/*.md' --train=96

`make lm-texts` writes those of the experiments. Documents are divided first, so
that no document is on two sides, and then cut into parts. Of one source the files
with less to learn from hold the beginning of those with more, and all are measured
on the same parts.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.core.errors import UserError
from kdjax.data import text

SPLITS = ("train", "validation", "test")


def parts(document: str, size: int) -> list[str]:
  """Cuts a document between lines.

  Args:
    size: characters of a part, and what is left of its last line.

  Example:
    >>> parts("ab\\ncd\\nef\\n", 4)
    ['ab\\ncd\\n', 'ef\\n']
  """
  whole, part = [], ""
  for line in document.splitlines(keepends=True):
    part += line
    if len(part) >= size:
      whole.append(part)
      part = ""
  return [one for one in [*whole, part] if one.strip()]


def select(
  rows: Sequence[text.Row], counts: Mapping[str, int], size: int
) -> Iterator[dict[str, Any]]:
  """Divides documents and draws parts of them, always the same ones.

  Args:
    rows: of `text`, which is cut, or of prompts, which stay whole.
    counts: how many parts of each split.
    size: characters of a part.

  Yields:
    Rows with their `split`.

  Raises:
    UserError: if there are fewer parts than asked for.
  """
  divided = text.divide_rows_in_three(rows, 0.2)
  for name, own in zip(SPLITS, divided, strict=True):
    pieces = [values for row in own for values in _cut(row.values, size)]
    if len(pieces) < counts[name]:
      raise UserError(
        f"--{name}={counts[name]}: the {len(own)} documents for it have"
        f" {len(pieces)} parts of {size} characters"
      )
    order = np.random.default_rng(0).permutation(len(pieces))
    for i in order[: counts[name]]:
      yield pieces[i] | {"split": name}


def _cut(values: Mapping[str, Any], size: int) -> list[dict[str, Any]]:
  if "text" not in values:
    return [dict(values)]
  return [{"text": part} for part in parts(values["text"], size)]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("file", type=pathlib.Path, help="what is written, .jsonl")
  parser.add_argument("texts", nargs="+", help="as --text of launch.py lm")
  for name, count in zip(SPLITS, (64, 8, 8), strict=True):
    parser.add_argument(f"--{name}", type=int, default=count, help="parts")
  parser.add_argument("--characters", type=int, default=2000, help="of a part")
  options = parser.parse_args()
  counts = {name: getattr(options, name) for name in SPLITS}
  try:
    rows = text.read_rows(options.texts)
    lines = [*map(json.dumps, select(rows, counts, options.characters))]
  except UserError as error:
    raise SystemExit(f"documents.py: {error}") from None
  options.file.parent.mkdir(parents=True, exist_ok=True)
  options.file.write_text("\n".join(lines) + "\n")
  print(f"{options.file}: {len(rows)} documents, {len(lines)} parts of them")


if __name__ == "__main__":
  main()
