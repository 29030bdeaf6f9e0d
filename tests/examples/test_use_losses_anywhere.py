import ast
import importlib.util
import pathlib

import numpy as np
import pytest

FILE = pathlib.Path(__file__).parents[2] / "examples" / "use_losses_anywhere.py"


@pytest.fixture(scope="module")
def example():
  spec = importlib.util.spec_from_file_location("use_losses_anywhere", FILE)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize(
  "name", ["plain", pytest.param("with_nnx", marks=pytest.mark.slow)]
)
def test_a_few_steps_learn(example, name):
  run = getattr(example, name)
  (_, first), (accuracy, later) = run(1), run(50)
  assert np.isfinite(first)
  assert later < first
  assert accuracy > 0.2  # one in ten by chance


def test_uses_the_losses_alone():
  found = {
    f"{node.module}.{alias.name}"
    for node in ast.walk(ast.parse(FILE.read_text()))
    if isinstance(node, ast.ImportFrom) and node.module.startswith("kdjax")
    for alias in node.names
  }
  assert found == {"kdjax.losses"}
