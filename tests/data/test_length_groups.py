"""Batches of texts of about one length: plans, and what is read of them."""

import numpy as np
import pytest

from kdjax.core.errors import UserError
from kdjax.data.length_groups import (
  batches_by_length,
  group_lengths,
  read_by_length,
  steps_by_length,
)

SIZES = np.random.default_rng(0).integers(1, 65, 50)
MASK = np.arange(64) < SIZES[:, None]
LENGTHS = group_lengths({"mask": MASK}, 4)
EXAMPLES = np.arange(3, 50)
STEPS = steps_by_length(EXAMPLES, LENGTHS, 4)


def plan(seed, start, stop, **options):
  settings = {"seed": seed, "start": start, "stop": stop}
  return batches_by_length(EXAMPLES, LENGTHS, 4, **settings, **options)


def test_a_pass_shows_every_text_once_in_batches_of_one_length():
  for number in range(3):
    indices, weights = plan(5, number * STEPS, (number + 1) * STEPS)
    assert sorted(indices[weights == 1]) == EXAMPLES.tolist()
    assert set(map(len, map(np.unique, LENGTHS[indices]))) == {1}
    assert (SIZES[indices] <= LENGTHS[indices]).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 4), (5, 3 * STEPS)])
def test_steps_are_the_same_in_whatever_portions(start, stop):
  whole = plan(1, 0, 3 * STEPS)
  for part, of_whole in zip(plan(1, start, stop), whole, strict=True):
    np.testing.assert_array_equal(part, of_whole[start:stop])


def test_seeds_have_other_orders_of_the_same_lengths():
  (one, _), (other, _) = plan(0, 0, STEPS), plan(1, 0, STEPS)
  assert (one != other).any()
  np.testing.assert_array_equal(LENGTHS[one], LENGTHS[other])
  later, _ = plan(0, STEPS, 2 * STEPS)
  assert (LENGTHS[later] != LENGTHS[one]).any()


def test_incomplete_batches_are_left_out_or_refused():
  indices, weights = plan(0, 0, 3, drop_remainder=True)
  assert weights.all() and len(indices) == 3
  with pytest.raises(UserError, match="larger than the"):
    batches_by_length(
      EXAMPLES, LENGTHS, 40, seed=0, start=0, stop=1, drop_remainder=True
    )


def test_texts_are_read_as_long_as_their_groups():
  indices, _ = plan(0, 0, STEPS)
  arrays = {"tokens": MASK * 7, "mask": MASK}
  for row, batch in zip(
    indices, read_by_length(arrays, LENGTHS, indices), strict=True
  ):
    length = LENGTHS[row[0]]
    assert batch["tokens"].shape == (4, length)
    assert (batch["mask"].sum(1) == SIZES[row]).all()
