"""Numbered views: each image has so many, the same for everyone who asks.

An unlimited view is drawn from the step. A numbered one is drawn from (seed,
number, example) alone, so that what a teacher made of it can be kept.
"""

from collections.abc import Callable

import jax
import numpy as np

from kdjax.data.images.augment import ViewFunction


def view_by_number(
  view: ViewFunction, seed: int
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
  """Makes views that depend on a number instead of a key.

  Args:
    seed: of the views; another seed, other views.

  Returns:
    A function (numbers (B,) int32, images (B, H, W, C), index (B,) int32) ->
    what `view` shows: of each example the view of its number, whatever stands
    beside it in the batch. `index` are the examples' places in the training
    set.
  """

  def numbered_view(numbers, images, index):
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return view(fold(jax.random.key(seed), numbers), images, index)

  return numbered_view


def view_numbers(
  indices: np.ndarray,
  *,
  views: int,
  examples: int,
  steps: int,
  seed: int,
  start: int,
) -> np.ndarray:
  """Says which view of each planned example is whose turn.

  An example begins with a view that is drawn for it and goes on to the next
  one in every pass: in any `views` passes it is seen in each of its views once.
  Drawn anew every time, a third would be left out (1/e) and others come twice
  or more.

  Args:
    indices: (S, B) example ids, as `batches` plans them.
    views: how many there are of each image, >= 1.
    steps: in one pass over the loader's examples.
    seed: of the order, >= 0; another seed, other first views.

  Returns:
    (S, B) int32 in [0, views).
  """
  # Not one of the sequences that `batches` shuffles with, (seed, pass).
  first = np.random.default_rng((seed, 0, 1)).integers(views, size=examples)
  passes = (start + np.arange(len(indices))) // steps
  return ((first[indices] + passes[:, None]) % views).astype(np.int32)
