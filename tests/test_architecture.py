"""The rules of the house, read from the source itself."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MODULES = sorted((ROOT / "kdjax").rglob("*.py"))
SOURCES = [
  *MODULES,
  ROOT / "launch.py",
  *sorted((ROOT / "experiments").glob("*.py")),
]

# Ground floor: imported by everyone, imports nothing of ours but each other.
GROUND = {"errors", "registry", "safety", "spec"}
# Who may import what, besides the ground floor and its own room.
ALLOWED = {
  "accelerator": set(),
  "watchdog": set(),
  "cluster": {"config", "watchdog"},
  "config": set(),
  "compression": {"config"},
  "data": set(),
  "losses": set(),
  "schedule": {"losses"},
  "method": {"losses", "schedule"},
  "taps": set(),
  "train": {"method", "taps", "watchdog"},
  "feeds": {"config", "data", "train"},
  "pairing": set(),
  "methods": {"losses", "method", "pairing", "schedule", "taps"},
  "models": set(),
  "teaching": {"config", "models", "train"},
  "arms": {"config", "data", "feeds", "method", "methods", "teaching", "train"},
  "class_maps": set(),
  "teachers": {"class_maps", "cluster", "config", "data", "models", "train"},
  "headless": {"arms", "config", "teachers", "train"},
  "cached_teacher": {"config", "data", "method", "teachers", "train"},
  "evaluate": set(),
  "cells": {"evaluate"},
  "options": {"config"},
  "heeded": {"config", "options"},
  "needs": {"arms", "config", "heeded", "methods", "options", "teaching"},
  "pairs": {"arms", "config", "methods", "models", "taps", "train"},
  "preflight": set(),
  "capacity": {"cached_teacher", "config", "method", "preflight", "train"},
  "profiling": set(),
  "checks": {
    "config", "data", "feeds", "methods", "models", "options", "profiling",
    "schedule", "teaching", "train",
  },
  "prepare": {
    "arms", "cached_teacher", "capacity", "checks", "compression", "config",
    "data", "feeds", "headless", "methods", "models", "pairs", "sources",
    "teachers", "teaching",
    "train",
  },
  "doubts": {"config", "options", "prepare"},
  "sources": {"capacity", "cluster", "config", "data"},
  "report": set(),
  "results": {
    "arms", "cached_teacher", "cells", "config", "data", "evaluate",
    "prepare", "report", "train",
  },
  "best": {"config", "train"},
  "training": {
    "cached_teacher", "data", "preflight", "prepare", "profiling", "recovery",
    "report", "train",
  },
  "fit": {
    "best", "config", "evaluate", "preflight", "prepare", "profiling",
    "recovery", "report", "results", "train", "training",
  },
  "workdir": {"cluster", "config", "stopping"},
  "seen": {"data", "prepare", "train"},
  "stopping": set(),
  "recovery": {"cluster", "stopping", "train", "watchdog"},
  "cache": {
    "cached_teacher", "config", "data", "evaluate", "fit", "options",
    "prepare", "report", "results", "train", "workdir",
  },
  "catalogue": {
    "config", "data", "methods", "models", "schedule", "taps", "train",
  },
  "specialists": {
    "config", "feeds", "fit", "methods", "models", "prepare", "report",
    "results", "train",
  },
  "faculty": {
    "config", "evaluate", "fit", "prepare", "report", "results",
    "specialists", "train",
  },
  "lessons": {
    "arms", "cached_teacher", "config", "data", "faculty", "prepare",
    "train",
  },
  "compressed": {
    "compression", "config", "evaluate", "models", "prepare", "results",
    "train",
  },
  "chain": {
    "config", "evaluate", "faculty", "fit", "lessons", "models", "prepare",
    "report", "results", "teaching", "train",
  },
  "entrants": {"arms", "capacity", "config", "methods", "prepare", "train"},
  "environment": set(),
  "compare": {
    "arms", "config", "data", "doubts", "entrants", "environment", "evaluate",
    "faculty", "fit", "lessons", "options", "prepare", "report", "results",
    "train", "training", "workdir",
  },
  "quantify": set(),
  "explain": {
    "capacity", "config", "data", "environment", "evaluate", "feeds", "fit", "method",
    "methods", "models", "options", "pairs", "quantify", "report",
    "results", "sources", "taps", "train", "workdir",
  },
  "run": {
    "arms", "best", "chain", "cluster", "compressed", "config",
    "doubts", "environment", "faculty", "fit", "lessons", "options", "prepare", "recovery", "report",
    "results", "seen", "train", "workdir",
  },
  "soft_td": {
    "arms", "capacity", "config", "data", "doubts", "environment", "evaluate", "feeds",
    "fit", "losses", "method", "methods", "options", "prepare", "report",
    "results", "train", "training", "workdir",
  },
  "synthesis": {
    "capacity", "config", "data", "environment", "evaluate", "fit", "models", "options",
    "report", "results", "sources", "train", "workdir",
  },
  "reproduce": {"config", "options", "report"},
  "weighing": {
    "arms", "compression", "config", "data", "deploy", "doubts", "environment",
    "evaluate", "faculty", "fit", "lessons", "models", "options", "prepare",
    "report", "results", "train", "workdir",
  },
  "deploy": {
    "compression", "config", "data", "environment", "evaluate", "models",
    "report", "reproduce", "sources", "train", "workdir",
  },
  "commands": {
    "accelerator", "cache", "catalogue", "cluster", "compare", "config", "data",
    "deploy", "explain", "heeded", "needs", "options", "report", "reproduce", "run", "soft_td",
    "synthesis", "weighing", "workdir",
  },
  "experiments": {"config"},
  "launch": {
    "accelerator", "cluster", "commands", "config", "heeded", "options",
    "stopping", "watchdog",
  },
}  # fmt: skip


def imports(file: pathlib.Path) -> set[str]:
  """Every module that a file imports, at any depth of its code."""
  found = set()
  for node in ast.walk(ast.parse(file.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{file}: relative import"
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
  return found


def room(file: pathlib.Path) -> str:
  relative = file.relative_to(ROOT)
  if relative.parts[0] == "kdjax":
    return relative.parts[1].removesuffix(".py")
  return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize(
  "file", SOURCES, ids=lambda f: str(f.relative_to(ROOT))
)
def test_imports_go_downwards(file):
  here = room(file)
  if here == "__init__":
    assert not imports(file)
    return
  ours = {
    name.split(".")[1] for name in imports(file) if name.startswith("kdjax.")
  }
  assert ours <= ALLOWED.get(here, set()) | GROUND | {here, "__version__"}


@pytest.mark.parametrize(
  ("pattern", "home"),
  [("jax.pmap", "kdjax/train/devices.py"), ("absl.flags", "launch.py")],
)
def test_has_one_home(pattern, home):
  package, name = pattern.split(".")
  users = set()
  for file in SOURCES:
    for node in ast.walk(ast.parse(file.read_text())):
      attribute = (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == package
      )
      imported = isinstance(node, ast.ImportFrom) and (
        node.module == package and name in {alias.name for alias in node.names}
      )
      if attribute or imported:
        users.add(str(file.relative_to(ROOT)))
  assert users == {home}


@pytest.mark.parametrize(
  "file", MODULES, ids=lambda f: str(f.relative_to(ROOT))
)
def test_module_is_short(file):
  assert len(file.read_text().splitlines()) <= 400


def test_nothing_evaluates_or_unpickles():
  banned = {"eval", "exec", "pickle", "marshal", "dill", "cloudpickle"}
  for file in SOURCES:
    for node in ast.walk(ast.parse(file.read_text())):
      if isinstance(node, ast.Name):
        assert node.id not in banned, f"{file}:{node.lineno}"
      if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        assert ast.literal_eval(node.value) is False, f"{file}:{node.lineno}"


def test_launcher_is_short():
  assert len((ROOT / "launch.py").read_text().splitlines()) <= 130
