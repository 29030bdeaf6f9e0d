"""The losses stand alone: jax and numpy, short modules, a complete front page."""

import ast
import pathlib
import subprocess
import sys

import pytest

import kdjax.losses

FOLDER = pathlib.Path(kdjax.losses.__file__).parent
FOREIGN = (
  "flax",
  "optax",
  "chex",
  "orbax",
  "grain",
  "sklearn",
  "matplotlib",
  "tensorflow",
  "tensorflow_datasets",
  "absl",
  "clu",
  "torch",
)


def test_importing_the_losses_loads_only_jax_and_numpy():
  code = (
    "import sys, jax, numpy; before = set(sys.modules)\n"
    "import kdjax.losses\n"
    "print(*{name.split('.')[0] for name in set(sys.modules) - before})\n"
    "print(*{name.split('.')[0] for name in sys.modules})"
  )
  ran = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    check=True,
    cwd=FOLDER.parent.parent,
  )
  added, everything = ran.stdout.splitlines()
  outside = set(added.split()) - {"kdjax", "jax"} - set(sys.stdlib_module_names)
  assert not outside
  assert not set(everything.split()) & set(FOREIGN)


@pytest.mark.parametrize(
  "file",
  sorted(FOLDER.rglob("*.py")),
  ids=lambda x: str(x.relative_to(FOLDER)),
)
def test_modules_are_short_and_import_nothing_else(file):
  text = file.read_text()
  assert len(text.splitlines()) <= 400
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      found = {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      found = {node.module.split(".")[0]}
    else:
      continue
    assert found <= {"jax", "numpy", "kdjax"} | set(sys.stdlib_module_names)


def test_what_is_exported_is_what_is_listed():
  listed = kdjax.losses.__all__
  assert listed == sorted(set(listed))
  for name in listed:
    assert callable(getattr(kdjax.losses, name))
