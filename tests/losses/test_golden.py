"""Values and gradients of the published code, where its golden cases are at hand.

They live in `shared/golden`, a folder beside the checkout.
"""

import argparse
import importlib.util
import json
import pathlib

import jax
import pytest
from compiled import losses

GOLDEN = pathlib.Path(__file__).parents[3] / "shared" / "golden"
# Other folders beside it hold networks, not losses.
CASES = [
  (index.parent, case)
  for index in sorted(GOLDEN.glob("*/index.json"))
  if isinstance(found := json.loads(index.read_text()), dict)
  for case in found["cases"]
]
FUNCTIONS = sorted({case["function"] for _, case in CASES})
needs_golden = pytest.mark.skipif(not CASES, reason="no golden cases at hand")


def runner(**options):
  spec = importlib.util.spec_from_file_location("golden", GOLDEN / "check.py")
  check = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(check)
  defaults = {"eager": False, "allow_teacher_grad": False}
  modes = {"x64": False, "bf16": False} | options
  return check.Runner(argparse.Namespace(**defaults, **modes), losses)


def complaints(function, **options):
  found = {}
  with (
    jax.default_matmul_precision("highest"),
    # The runner itself adds a bias of rank one to maps.
    jax.numpy_rank_promotion("allow"),
  ):
    check = runner(**options)
    for folder, case in CASES:
      if case["function"] == function:
        _, bad = check.run(str(folder), case)
        if bad:
          found[case["id"]] = bad
  return found


@needs_golden
def test_every_golden_function_is_exported():
  assert set(FUNCTIONS) <= set(losses.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS or ["kd"])
@needs_golden
def test_float32(function):
  assert not complaints(function)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS or ["kd"])
@needs_golden
def test_float64(function):
  with jax.enable_x64(True):
    assert not complaints(function, x64=True)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("function", FUNCTIONS or ["kd"])
@needs_golden
def test_bfloat16_is_finite(function):
  assert not complaints(function, bf16=True)
