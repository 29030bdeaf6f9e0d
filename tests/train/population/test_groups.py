"""Members in groups and on devices: who is where, and that it does not matter."""

import chex
import jax
import numpy as np
import pytest

from kdjax.methods import make_objective
from kdjax.train.arm import Arm
from kdjax.train.population.groups import groups_of, is_grid, join_groups, split

SEEDS, CELLS = 3, 2


def arms(**cells):
  return {
    name: Arm("all", None, {"seed": np.tile(np.arange(SEEDS), count)})
    for name, count in cells.items()
  }


@pytest.mark.parametrize(
  ("cells", "options", "places", "seeds"),
  [
    ({"a": 2}, {}, [[0, 1, 2, 3, 4, 5]], [[[0, 1, 2]]]),
    ({"a": 2}, {"most": 2}, [[0, 3], [1, 4], [2, 5]], [[[0]], [[1]], [[2]]]),
    # Two seeds and a copy of the last member.
    ({"a": 1}, {"most": 2}, [[0, 1], [2, 2]], [[[0, 1]], [[2, 2]]]),
    ({"a": 2}, {"parts": 3}, [[0, 3, 1, 4, 2, 5]], [[[0], [1], [2]]]),
    ({"a": 1}, {"parts": 2}, [[0, 1, 2, 2]], [[[0, 1], [2, 2]]]),
    # The student's members by one seed; of the twin's three, one each.
    ({"a": 2, "b": 1}, {"most": 3}, [[0, 3], [1, 4], [2, 5]], 3 * [None]),
    # More turns than seeds: each arm by itself.
    ({"a": 2, "b": 1}, {"most": 2}, [[0, 3], [1, 4], [2, 5]], 3 * [None]),
  ],
)
def test_groups(cells, options, places, seeds):
  groups = groups_of(arms(**cells), **options)
  shown = [group for group in groups if "a" in group.arms]
  assert [group.places["a"].tolist() for group in shown] == places
  for group, expected in zip(shown, seeds, strict=True):
    assert expected is None or group.seeds.tolist() == expected


@pytest.mark.parametrize(
  "options", [{}, {"most": 2}, {"most": 4}, {"parts": 4}]
)
def test_what_is_split_comes_together_again(options):
  given = arms(student=CELLS, twin=1)
  states = {"student": np.arange(6), "twin": np.arange(3)}
  groups = groups_of(given, **options)
  done = [(part, part) for part in split(states, groups)]
  for found in join_groups(done, groups, given):
    chex.assert_trees_all_equal(found, states)


def test_a_grid_has_all_seeds_of_every_cell():
  found = [
    all(map(is_grid, groups_of(arms(a=2), most=n))) for n in (6, 4, 2, 1)
  ]
  assert found == [True, False, True, True]


def method(settings):
  return make_objective(
    "kd",
    temperature=settings["temperature"],
    hard_weight=settings["hard_weight"],
  )


SWEEP = {
  "seeds": (0, 1, 2, 0, 1, 2),
  "temperature": [1.0, 1.0, 1.0, 8.0, 8.0, 8.0],
  "hard_weight": [0.0, 0.0, 0.0, 0.5, 0.5, 0.5],
}


def first(tree, place):
  return jax.tree.map(lambda x: x[place], tree)


def check_same(found, expected):
  assert found.examples == expected.examples
  for part in ("params", "opt_state"):
    chex.assert_trees_all_close(
      getattr(found.states["student"], part),
      getattr(expected.states["student"], part),
      atol=1e-5,
      rtol=1e-5,
    )
  chex.assert_trees_all_close(found.sums, expected.sums, atol=1e-3, rtol=1e-5)


@pytest.fixture(scope="module")
def programs():
  """Of the whole sweep, compiled once for all tests here."""
  return {}


@pytest.mark.parametrize(
  "options",
  [
    pytest.param({"most": 2}, marks=pytest.mark.slow),
    pytest.param({"most": 4}, marks=pytest.mark.slow),
    pytest.param({"apart": True, "devices": 3}, marks=pytest.mark.slow),
    {"apart": True, "devices": 2, "most": 2},
    pytest.param(
      {"apart": True, "devices": 2, "view": "shift(1) + mixup"},
      marks=pytest.mark.slow,
    ),
    pytest.param(
      {"apart": True, "devices": 2, "together": False}, marks=pytest.mark.slow
    ),
  ],
  ids=str,
)
def test_turns_and_owners_do_not_matter(fit, programs, options):
  view = options.get("view", "shift(1)")
  known = programs if view == "shift(1)" else None
  whole = fit(method, **SWEEP, epochs=1, view=view, programs=known)[-1]
  check_same(fit(method, **SWEEP, epochs=1, **options)[-1], whole)


def test_every_cell_is_its_single_run(fit, programs):
  swept = fit(method, **SWEEP, epochs=1, programs=programs)[-1]
  single = {}
  for place in (1, 3, 5):
    own = {name: [values[place]] for name, values in SWEEP.items()}
    alone = fit(method, **own, epochs=1, programs=single)[-1]
    chex.assert_trees_all_close(
      first(swept.states["student"].params, place),
      first(alone.states["student"].params, 0),
      atol=1e-5,
      rtol=1e-5,
    )


@pytest.mark.slow
def test_turns_go_on_bit_for_bit(fit):
  options = {"most": 4, "portion": 3, "epochs": 1, "programs": {}}
  whole = fit(method, **SWEEP, **options)
  resumed = fit(method, **SWEEP, **options, start=whole[0])
  chex.assert_trees_all_equal(
    (resumed[-1].states["student"].opt_state, resumed[-1].sums),
    (whole[-1].states["student"].opt_state, whole[-1].sums),
  )
