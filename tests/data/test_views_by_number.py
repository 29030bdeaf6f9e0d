"""Numbered views: of the example and its number, and of nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.data import batches, make_view, steps_per_pass
from kdjax.data.views_by_number import view_by_number, view_numbers

IMAGES = 1 + np.random.default_rng(0).random((12, 6, 6, 1), dtype=np.float32)
VIEWS = ["shift(2)", "flip", "noise(0.1)", "random_resized_crop + flip"]


@pytest.mark.parametrize("text", VIEWS)
def test_a_view_belongs_to_example_and_number(text):
  view = jax.jit(view_by_number(make_view(text), seed=3))
  index = np.arange(12)
  table = np.stack(
    [view(np.full(12, number), IMAGES, index) for number in range(4)]
  )
  assert len(np.unique(table, axis=0)) > 1
  # Mixed numbers, another order, an example twice, another batch size.
  index = np.array([5, 0, 11, 5, 2])
  numbers = np.array([3, 1, 0, 0, 3])
  mixed = view(numbers, IMAGES[index], index)
  np.testing.assert_array_equal(mixed, table[numbers, index])


def test_another_seed_shows_others():
  shown = [
    jax.jit(view_by_number(make_view("noise(1.0)"), seed))(
      np.zeros(12, int), IMAGES, np.arange(12)
    )
    for seed in (0, 0, 1)
  ]
  np.testing.assert_array_equal(*shown[:2])
  assert (shown[0] != shown[2]).all()


@pytest.mark.parametrize("text", [*VIEWS, "none"])
def test_one_key_for_each_is_as_one_for_all(text):
  """A batch in which every key is the same is a batch with that key."""
  view, places = make_view(text), np.arange(12)

  @jax.jit
  def both(key, *batch):
    return view(key, *batch), view(jnp.broadcast_to(key, (12,)), *batch)

  np.testing.assert_array_equal(*both(jax.random.key(5), IMAGES, places))


@pytest.mark.parametrize("views", [1, 2, 3, 5])
def test_every_view_has_its_turn(views):
  """In `views` passes every example is seen in each of its views once."""
  examples = np.array([0, 2, 3, 5, 7, 8, 9])
  steps = steps_per_pass(len(examples), 3)
  count = views * steps
  plan = batches(examples, 3, seed=4, start=0, stop=count)
  made = {"views": views, "examples": 10, "steps": steps, "seed": 4}
  numbers = view_numbers(plan.indices, start=0, **made)
  seen = sorted(
    zip(plan.indices[plan.weights > 0], numbers[plan.weights > 0], strict=True)
  )
  assert seen == [(i, v) for i in examples for v in range(views)]
  # In portions, as a streamed run asks for them.
  parts = [
    view_numbers(plan.indices[i : i + 1], start=i, **made) for i in range(count)
  ]
  np.testing.assert_array_equal(np.concatenate(parts), numbers)


def test_seeds_begin_with_other_views():
  indices = np.arange(100)[None]
  made = {"views": 4, "examples": 100, "steps": 1, "start": 0}
  first, other = (view_numbers(indices, seed=seed, **made) for seed in (0, 1))
  assert (first != other).any() and set(first.ravel()) == set(range(4))
