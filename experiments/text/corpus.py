"""English sentences that are already installed: the packages' documentation."""

import ast
import importlib.util
import pathlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

# Prose only: no code, numbers, headings or field lists.
_SENTENCE = re.compile(r"[A-Z][A-Za-z ,;'()\-]{20,110}[.]")
_WORDS = range(5, 17)


def sentences(packages: Iterable[str]) -> list[str]:
  """Collects the sentences of packages' docstrings, each once.

  Args:
    packages: names to import them by; they are read, not imported.
  """
  results = {}
  for package in packages:
    for file in _files(package):
      for sentence in in_source(file.read_text(encoding="utf-8")):
        results.setdefault(letters(sentence), sentence)
  return list(results.values())


def split(
  train: Iterable[str], held_out: Iterable[str], *sizes: int
) -> tuple[list[str], list[str]]:
  """Draws training and held-out sentences of different packages."""
  measured = sentences(held_out)
  measured_letters = set(map(letters, measured))
  learned = [x for x in sentences(train) if letters(x) not in measured_letters]
  rng = np.random.default_rng(0)
  drawn = zip((learned, measured), sizes, strict=True)
  return tuple(rng.choice(x, size, replace=False).tolist() for x, size in drawn)


def in_source(source: str) -> Iterator[str]:
  """Yields the sentences in the docstrings of a module's source.

  Args:
    source: Python code; what does not parse has no sentences.
  """
  try:
    tree = ast.parse(source)
  except SyntaxError:
    return
  documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
  for node in ast.walk(tree):
    text = ast.get_docstring(node) if isinstance(node, documented) else None
    for paragraph in (text or "").split("\n\n"):
      for sentence in re.split(r"(?<=[.])\s+", " ".join(paragraph.split())):
        prose = _SENTENCE.fullmatch(sentence) and " --" not in sentence
        if prose and len(sentence.split()) in _WORDS:
          yield sentence


def letters(sentence: str) -> str:
  """Returns a sentence's letters, by which two count as the same."""
  return re.sub("[^a-z]", "", sentence.lower())


def _files(package):
  results = importlib.util.find_spec(package)
  for folder in map(pathlib.Path, results.submodule_search_locations):
    for file in sorted(folder.rglob("*.py")):
      if "test" not in str(file.relative_to(folder)):
        yield file
