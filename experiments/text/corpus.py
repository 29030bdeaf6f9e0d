"""English sentences that are already installed: the packages' documentation."""

import ast
import importlib.util
import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator

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
    for _, documentation in modules(package):
      for sentence in itertools.chain(*documentation):
        results.setdefault(letters(sentence), sentence)
  return list(results.values())


def modules(package: str) -> Iterator[tuple[str, list[list[str]]]]:
  """Yields a package's modules, by their files, and what their docstrings say."""
  for folder, file in _files(package):
    source = file.read_text(encoding="utf-8")
    yield file.relative_to(folder).as_posix(), [*by_docstring(source)]


def by_docstring(source: str) -> Iterator[list[str]]:
  """Yields the sentences of each docstring in a module's source.

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
    if text:
      yield [sentence for sentence in _sentences(text) if _is_prose(sentence)]


def _sentences(text):
  for paragraph in text.split("\n\n"):
    yield from re.split(r"(?<=[.])\s+", " ".join(paragraph.split()))


def _is_prose(sentence):
  prose = _SENTENCE.fullmatch(sentence) and " --" not in sentence
  return prose and len(sentence.split()) in _WORDS


def letters(sentence: str) -> str:
  """Returns a sentence's letters, by which two count as the same."""
  return re.sub("[^a-z]", "", sentence.lower())


def _files(package):
  results = importlib.util.find_spec(package)
  for folder in map(pathlib.Path, results.submodule_search_locations):
    for file in sorted(folder.rglob("*.py")):
      if "test" not in str(file.relative_to(folder)):
        yield folder, file
