"""The scheme of docs/add_a_scheme.md works as the page says."""

import doctest

import chex
import pytest
from documented_code import code_of, loaded, page, results_with
from test_mean_teacher import setup, walk

from kdjax.core.errors import UserError
from kdjax.train.schemes.registry import (
  MAKERS,
  OBJECTIVES,
  make_scheme,
  objective_of,
)
from kdjax.train.state import variables

PAGE = page("add_a_scheme.md")
NAME = "snapshot"


@pytest.fixture
def module(tmp_path):
  with loaded(
    code_of(PAGE), tmp_path / f"{NAME}.py", MAKERS, OBJECTIVES
  ) as module:
    yield module


def test_registered_and_documented(module):
  assert len(PAGE.splitlines()) <= 80
  assert f"kdjax/train/schemes/{NAME}.py" in PAGE
  assert objective_of(NAME) == "ce:1 + kd:after(0.1)"
  assert not doctest.testmod(module).failed


def test_the_teacher_is_the_student_of_the_last_multiple(module):
  scheme = make_scheme("snapshot(every=2)")
  start, batch = setup(scheme)
  before = variables(start.student)
  for steps, source in ((1, None), (2, 1), (3, 1), (4, 3)):
    students, state = walk(scheme, start, batch, steps)
    want = before if source is None else students[source]
    chex.assert_trees_all_equal(state.twin, want)


def test_what_is_impossible_is_one_line(module):
  with pytest.raises(UserError, match="every must be at least 1, got 0"):
    make_scheme("snapshot(every=0)")


@pytest.mark.slow
def test_launcher_runs_it_from_one_new_file(tmp_path):
  arguments = [
    "--dataset=digits", "--student=mlp(8)", "--epochs=2", "--seeds=1",
    "--batch_size=64", "--nocontrols", "--nolatency", "--scheme=snapshot(every=5)",
  ]  # fmt: skip
  place = f"train/schemes/{NAME}.py"
  assert NAME in results_with(code_of(PAGE), place, arguments, tmp_path)
