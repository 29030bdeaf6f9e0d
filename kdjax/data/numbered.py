"""Numbered views: each image has so many, the same for everyone who asks.

An unlimited view is drawn from the step. A numbered one is drawn from (seed,
number, example) alone, so that what a teacher made of it can be kept.
"""

from collections.abc import Callable

import jax
import numpy as np

from kdjax.data.images.augment import ViewFunction


def numbered(
  view: ViewFunction, seed: int
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
  """Makes views that depend on a number instead of a key.

  Args:
    view: from `make_view`.
    seed: of the views; another seed, other views.

  Returns:
    A function (numbers (B,) int32, images (B, H, W, C), index (B,) int32) ->
    what `view` shows: of each example the view of its number, whatever stands
    beside it in the batch. `index` are the examples' places in the training
    set.

  Example:
    >>> from kdjax.data import make_view
    >>> view = numbered(make_view("shift(1)"), seed=0)
    >>> images = jnp.ones((2, 4, 4, 1))
    >>> view(jnp.array([0, 3]), images, jnp.array([7, 7])).shape
    (2, 4, 4, 1)
  """

  def seen(numbers, images, index):
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return view(fold(jax.random.key(seed), numbers), images, index)

  return seen


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
    examples: N, in the whole training set.
    steps: in one pass over the loader's examples.
    seed: of the order, >= 0; another seed, other first views.
    start: the first of the S steps.

  Returns:
    (S, B) int32 in [0, views).

  Example:
    >>> plan = np.array([[0, 1], [0, 1]])
    >>> view_numbers(plan, views=2, examples=2, steps=1, seed=0, start=0).sum(axis=0).tolist()
    [1, 1]
  """
  # Not one of the sequences that `batches` shuffles with, (seed, pass).
  first = np.random.default_rng((seed, 0, 1)).integers(views, size=examples)
  passes = (start + np.arange(len(indices))) // steps
  return ((first[indices] + passes[:, None]) % views).astype(np.int32)
