"""Modules under the names that they had before they moved."""

import importlib
import subprocess
import sys

import pytest

from kdjax.core.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_a_moved_module_is_the_same_under_its_old_name(old):
  assert importlib.import_module(old) is importlib.import_module(MOVED[old])


def test_an_error_is_caught_under_either_name():
  program = (
    "from kdjax.errors import UserError\n"
    "from kdjax.core import errors\n"
    "assert UserError is errors.UserError\n"
    "import sys\n"
    "assert not {'jax', 'flax'} & set(sys.modules)\n"
  )
  subprocess.run([sys.executable, "-c", program], check=True)
