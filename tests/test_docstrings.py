"""Every example in a docstring runs and prints what it says."""

import ast
import doctest
import importlib
import pathlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import losses, taps

NAMES = [
  module.name
  for module in pkgutil.walk_packages(kdjax.__path__, "kdjax.")
  if not ("losses" in module.name and "._" in module.name)
]
# Their examples compile thousands of small programs.
SLOW = (
  "losses", "methods", "models", "data", "train", "evaluate", "tasks",
  "core.factored", "core.method", "runner.jobs.synthesis.unroll",
)  # fmt: skip
SLOW = tuple(f"kdjax.{name}" for name in SLOW)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[pytest.mark.slow] * name.startswith(SLOW))
    for name in NAMES
  ],
)
def test_examples_run(name):
  module = importlib.import_module(name)
  shared = {"jax": jax, "jnp": jnp, "np": np}
  if name.startswith("kdjax.methods"):
    from kdjax.core import method

    shared |= vars(method)
  found = doctest.testmod(
    module,
    extraglobs=shared,
    optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
  )
  assert not found.failed


# What users call, beside all that is registered, says in full what it takes.
EXPORTED = {*losses.__all__, *losses.chunked.__all__, *taps.__all__}


def test_public_functions_say_what_they_do():
  for name in NAMES:
    check_docstrings(name)


def check_docstrings(name):
  file = pathlib.Path(importlib.import_module(name).__file__)
  for node in ast.parse(file.read_text()).body:
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
      continue
    text = ast.get_docstring(node)
    assert text, f"{name}.{node.name} has no docstring"
    registered = any("register" in ast.unparse(x) for x in node.decorator_list)
    if registered or node.name in EXPORTED:
      takes = node.args.args or node.args.kwonlyargs
      assert not takes or "Args:" in text, f"{name}.{node.name}: no Args"
