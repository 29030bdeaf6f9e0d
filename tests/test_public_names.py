"""What `import kdjax` offers, and what it does not load."""

import inspect
import subprocess
import sys

import pytest

import kdjax


@pytest.mark.parametrize("name", kdjax.__all__)
def test_public_name_is_there_and_documented(name):
  value = getattr(kdjax, name)
  text = value.__doc__
  for part in ("Args:", "Returns:", "Example:"):
    if part == "Returns:" and isinstance(value, type):
      continue
    if part == "Args:" and not inspect.signature(value).parameters:
      continue
    assert part in text, f"kdjax.{name} has no {part}"


def test_public_names_are_listed_before_they_are_loaded():
  assert {*kdjax.__all__, "tasks"} <= {*dir(kdjax)}


def test_the_package_that_is_a_function_says_what_it_takes():
  names = list(inspect.signature(kdjax.evaluate).parameters)
  assert names[:3] == ["network", "variables", "batches"]


def test_an_unknown_name_is_an_attribute_error():
  assert not hasattr(kdjax, "from_linear")


def test_importing_loads_nothing_heavy():
  code = "import sys, kdjax; print({'jax', 'flax', 'optax'} & {*sys.modules})"
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("package", ["data", "methods", "models", "tasks"])
def test_a_plugin_registers_by_public_names(package):
  assert getattr(kdjax, package).register("of_nobody").__name__ == "enter"
