"""Names of folders as text that every writer can encode."""

import os
import re
from collections.abc import Iterable


def printable(name: str) -> str:
  r"""Writes out what is no text in a file's name.

  Args:
    name: as the system gave it. A name of other bytes than UTF-8 holds lone
      surrogates, which no file of UTF-8 can hold.

  Returns:
    The name with such bytes, and control characters, as \xNN.
  """
  text = os.fsencode(name).decode("utf-8", "backslashreplace")
  return re.sub(
    r"[\x00-\x1f\x7f]", lambda match: rf"\x{ord(match[0]):02x}", text
  )


def distinct(names: Iterable[str]) -> tuple[str, ...]:
  r"""Makes names printable without making two of them one.

  Returns:
    As many names, all different, in their order.
  """
  names = tuple(names)
  names_in_use = {name for name in names if printable(name) == name}
  texts = []
  for name in names:
    text, number = printable(name), 1
    while text != name and text in names_in_use:
      number += 1
      text = f"{printable(name)} ({number})"
    names_in_use.add(text)
    texts.append(text)
  return tuple(texts)
