"""The page on reliability: each of its lines names a test that exists."""

import ast
import functools
import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text()
SHOWN = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@functools.cache
def functions(file):
  tree = ast.parse((ROOT / file).read_text())
  return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_line_has_a_test():
  tables = PAGE[PAGE.index("## Faults") :].splitlines()
  lines = [line for line in tables if line.startswith("| ")]
  # Three tables with a head and a rule each.
  assert len(lines) - 6 == len(re.findall(r"::", "\n".join(lines)))
  missing = [
    f"{file}::{name}" for file, name in SHOWN if name not in functions(file)
  ]
  assert SHOWN and not missing


@pytest.mark.parametrize(
  ("file", "count", "number"),
  [
    ("kill_test", "kills", 100),
    ("kill_test_on_policy", "kills", 20),
    ("damage_test", "damages", 200),
  ],
)
def test_what_was_measured_is_what_the_page_says(file, count, number):
  found = json.loads(
    (ROOT / "benchmarks" / "results" / f"{file}.json").read_text()
  )
  assert found[count] == number and f"{number} " in PAGE
  bad = {"different", "failed_restarts", "silent", "lost"} & set(found)
  assert len(bad) == 2 and not any(found[name] for name in bad)
