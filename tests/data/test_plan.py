import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data import batches, steps_per_pass


@pytest.mark.parametrize(
  ("examples", "batch_size", "drop", "expected"),
  [
    (4000, 128, False, 32),
    (4000, 128, True, 31),
    (8, 4, False, 2),
    (8, 4, True, 2),
    (3, 8, False, 1),
    (1, 1, True, 1),
  ],
)
def test_steps_per_pass(examples, batch_size, drop, expected):
  assert steps_per_pass(examples, batch_size, drop) == expected


@pytest.mark.parametrize(
  ("examples", "batch_size", "drop", "message"),
  [
    (0, 4, False, "0 examples"),
    (4, 0, False, "at least 1, got 0"),
    (4, -1, False, "at least 1, got -1"),
    (3, 8, True, "larger than the 3 examples"),
  ],
)
def test_impossible_batches(examples, batch_size, drop, message):
  with pytest.raises(UserError, match=message):
    steps_per_pass(examples, batch_size, drop)


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (8, 4), (3, 8)])
def test_each_pass_visits_each_example_once(count, batch_size):
  examples = np.arange(count) * 7 + 100
  size = steps_per_pass(count, batch_size)
  plan = batches(examples, batch_size, seed=1, start=0, stop=3 * size)
  assert plan.indices.dtype == np.int32 and plan.weights.dtype == np.float32
  assert np.isin(plan.indices, examples).all()  # padding included
  for number in range(3):
    rows = slice(number * size, (number + 1) * size)
    seen = plan.indices[rows][plan.weights[rows] == 1]
    assert sorted(seen) == examples.tolist()


def test_follows_the_written_rule():
  plan = batches(np.arange(10), 4, seed=5, start=3, stop=6)
  order = np.random.default_rng((5, 1)).permutation(10)
  assert plan.indices.ravel().tolist() == [*order, *order[:2]]
  assert plan.weights.ravel().tolist() == [1] * 10 + [0] * 2


def test_drop_remainder_has_no_padding():
  plan = batches(np.arange(10), 4, seed=0, start=0, stop=6, drop_remainder=True)
  assert plan.weights.all()
  for number in range(3):
    seen = plan.indices[2 * number : 2 * number + 2].ravel()
    assert len(set(seen.tolist())) == 8


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("cuts", [[1, 2, 3], [7], [3, 6, 9], [10, 11]])
def test_same_steps_whatever_the_chunks(cuts, drop):
  ask = {"seed": 3, "drop_remainder": drop}
  whole = batches(np.arange(10), 4, start=0, stop=12, **ask)
  edges = [0, *cuts, 12]
  parts = [
    batches(np.arange(10), 4, start=a, stop=b, **ask)
    for a, b in zip(edges, edges[1:], strict=False)
  ]
  for field in range(2):
    joined = np.concatenate([part[field] for part in parts])
    np.testing.assert_array_equal(whole[field], joined)


def test_seed_and_pass_change_the_order():
  plan = batches(np.arange(50), 50, seed=0, start=0, stop=2)
  other = batches(np.arange(50), 50, seed=1, start=0, stop=1)
  assert (plan.indices[0] != plan.indices[1]).any()
  assert (plan.indices[0] != other.indices[0]).any()


def test_without_a_seed_the_order_stays():
  plan = batches(np.arange(3, 8), 4, seed=None, start=1, stop=4)
  assert plan.indices.tolist() == [[7, 3, 4, 5], [3, 4, 5, 6], [7, 3, 4, 5]]


def test_no_steps():
  assert batches(np.arange(5), 2, seed=0, start=4, stop=4).indices.shape == (
    0,
    2,
  )


@pytest.mark.parametrize(
  ("examples", "change", "message"),
  [
    (np.arange(4), {"seed": -1}, "seed must not be negative, got -1"),
    (np.arange(4), {"start": 3, "stop": 2}, "got 3, 2"),
    (np.arange(4), {"start": -1}, "got -1, 1"),
    (np.zeros((2, 2), int), {}, "shape"),
    (np.zeros(3), {}, "float64"),
  ],
)
def test_refuses(examples, change, message):
  with pytest.raises(UserError, match=message):
    batches(examples, 2, **{"seed": 0, "start": 0, "stop": 1, **change})
