"""Prompts out of a file."""

import os
from pathlib import Path

from kdjax.core.errors import UserError
from kdjax.data.naming import printable
from kdjax.data.text.rows import Row, json_lines, text_lines


def read_prompts(file: str | os.PathLike) -> list[Row]:
  """Reads what networks are to go on from.

  Args:
    file: .txt with a prompt a line, lines without a word left out; or .jsonl
      with an object a line, of `prompt` or `messages` and whatever else.

  Returns:
    Rows with "prompt", a text, or "messages", at least one.

  Raises:
    UserError: names the file, and the line, of what cannot be read.
  """
  path = Path(file)
  name = printable(str(path))
  suffix = path.suffix.lower()
  if suffix == ".txt":
    lines = [
      (f"line {number}", {"prompt": line.rstrip("\r\n")})
      for number, line in text_lines(path)
      if line.strip()
    ]
  elif suffix == ".jsonl":
    lines = [*json_lines(path)]
  else:
    raise UserError(
      f"prompts {name!r}: it must end in .txt, a prompt a line, or in .jsonl,"
      " objects with `prompt` or `messages`"
    )
  if not lines:
    raise UserError(f"prompts {name!r}: there is no prompt in it")
  return [Row(values, f"{name}, {place}") for place, values in lines]
