"""The code of a page of docs/, taken as a user takes it: as one new file."""

import contextlib
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys

import launch

ROOT = pathlib.Path(launch.__file__).parent


def page(name):
  return (ROOT / "docs" / name).read_text()


def code_of(text):
  blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
  assert len(blocks) == 1
  return blocks[0]


@contextlib.contextmanager
def loaded(code, file, *registries):
  """The code as a module; it leaves the registries as they were."""
  file.write_text(code)
  spec = importlib.util.spec_from_file_location(file.stem, file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  yield module
  for registry in registries:
    del registry[file.stem]


def results_with(code, place, arguments, folder):
  """The text of results.json, where the launcher finds the code at a place."""
  shutil.copytree(
    ROOT / "kdjax",
    folder / "kdjax",
    ignore=shutil.ignore_patterns("__pycache__"),
  )
  shutil.copytree(ROOT / "experiments", folder / "experiments")
  shutil.copy(ROOT / "launch.py", folder)
  (folder / "kdjax" / place).write_text(code)
  done = subprocess.run(
    [sys.executable, "launch.py", *arguments, f"--workdir={folder / 'run'}"],
    cwd=folder,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return (folder / "run" / "results.json").read_text()
