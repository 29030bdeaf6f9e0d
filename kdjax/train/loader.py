"""What is shown to networks: loaders of batches, and the plan of some steps."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kdjax.core.method import Outputs


class Loader(NamedTuple):
  """What a group of networks is shown.

  Attributes:
    batches: (seed, start, stop) -> indices (S, B) and weights (S, B) of the
      steps start..stop-1; weight 0 marks the padding of a ragged batch.
    steps: steps in one pass over the loader's examples.
    targets: (N, ...) arrays over the whole training set; of a class, -1 where
      it is hidden.
    view: (key, stored inputs, positions) -> what the network sees, augmented.
    mixing: what then mixes the images of a batch, as `data.split_mixing` makes
      it, padding at the batch's end left out; None for nothing.
    teacher_view: as `view`, what the teacher sees instead of all that; None
      where it sees what the student sees.
    view_numbers: (seed, indices (S, B), first step) -> (S, B) the number of the
      view that each example shows. `view` then takes (numbers, stored images,
      index). None where every step draws new views.
    weights: (N,) float32 > 0, how much each example of the training set counts;
      None where all count alike.
    target_view: as `view`, of targets that are maps over the inputs' pixels and
      move with them; None where targets have no places.
    redraw: see `Task.redraw`; None where views and targets stand for themselves.
    lengths: (N,) int32, to how many tokens the batch of each text is cut, where
      batches have texts of about one length; None where all are as long.
  """

  batches: Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]
  steps: int
  targets: Any
  view: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
  mixing: Callable | None = None
  teacher_view: Callable | None = None
  view_numbers: Callable[[int, np.ndarray, int], np.ndarray] | None = None
  weights: np.ndarray | None = None
  target_view: Callable[[jax.Array, jax.Array, jax.Array], Any] | None = None
  redraw: Callable | None = None
  lengths: np.ndarray | None = None

  def rows(self, plan: "BatchPlan") -> np.ndarray | jax.Array:
    """Places of a cut's views among all views: number * N + index."""
    if plan.numbers is None:
      return plan.indices
    return plan.numbers * len(jax.tree.leaves(self.targets)[0]) + plan.indices


class BatchPlan(NamedTuple):
  """What a loader shows in some steps; axes (steps, seeds, batch).

  Attributes:
    indices: which examples.
    weights: how much each counts; 0 marks the padding of a ragged batch.
    numbers: which view of each; None where every step draws new ones.
    images: as stored; None where they are on the device.
    answers: by teacher, its view of them; without those on the device.
  """

  indices: np.ndarray
  weights: np.ndarray
  numbers: np.ndarray | None = None
  images: np.ndarray | None = None
  answers: Mapping[str, Outputs] = {}


# Between the orders of two peers: no two seeds of a run come that far apart.
STRIDE = 1_000_003


def repeat_examples(loader: Loader, *, times: int) -> Loader:
  """Shows every example several times in a row, in views of its own.

  Args:
    times: how often; places i * times, i * times + 1, ... of a batch hold
      example i, so that they lie on one device.
  """

  def batches(seed, start, stop):
    arrays = loader.batches(seed, start, stop)
    return tuple(np.repeat(x, times, axis=1) for x in arrays)

  return loader._replace(batches=batches)


def repeat_batches(loader: Loader, *, times: int) -> Loader:
  """Shows every batch several times side by side.

  Returns:
    The loader; its batches are `times` as long.

  Example:
    >>> loader = Loader(lambda *_: (np.array([[3, 5]]), np.ones((1, 2))), 1, None, None)
    >>> repeat_batches(loader, times=2).batches(0, 0, 1)[0].tolist()
    [[3, 5, 3, 5]]
  """

  def batches(seed, start, stop):
    arrays = loader.batches(seed, start, stop)
    return tuple(np.tile(x, (1, times)) for x in arrays)

  return loader._replace(batches=batches)


def repeat_steps(loader: Loader, *, times: int) -> Loader:
  """Shows every batch in several steps, one after the other.

  Args:
    times: how many.

  Returns:
    The loader; a pass of it has as many steps as before.

  Example:
    >>> steps = lambda seed, *part: (np.arange(*part)[:, None],)
    >>> loader = repeat_steps(Loader(steps, 4, None, None), times=2)
    >>> loader.batches(0, 1, 4)[0].ravel().tolist()
    [0, 1, 1]
  """

  def batches(seed, start, stop):
    first = start // times
    arrays = loader.batches(seed, first, -(-stop // times))
    own = slice(start - first * times, stop - first * times)
    return tuple(np.repeat(x, times, axis=0)[own] for x in arrays)

  return loader._replace(batches=batches)


def join_orders(loader: Loader, *, times: int) -> Loader:
  """Shows several batches side by side, each from an order of its own.

  Args:
    times: how many; the first is in the loader's own order.

  Returns:
    The loader; its batches are `times` as long.

  Example:
    >>> loader = Loader(lambda seed, *_: (np.array([[seed]]), np.ones((1, 1))), 1, None, None)
    >>> join_orders(loader, times=2).batches(7, 0, 1)[0].tolist()
    [[7, 1000010]]
  """

  def batches(seed, start, stop):
    plans = [
      loader.batches(seed + STRIDE * place, start, stop)
      for place in range(times)
    ]
    return tuple(np.concatenate(x, axis=1) for x in zip(*plans, strict=True))

  return loader._replace(batches=batches)


def plan_batches(
  loader: Loader, seeds: np.ndarray, start: int, stop: int
) -> BatchPlan:
  """Plans what a loader shows each of some seeds in the steps start..stop-1.

  Args:
    seeds: (S,) int.

  Returns:
    Indices and weights, (steps, S, B) each.
  """
  batches = [loader.batches(int(seed), start, stop) for seed in seeds]
  indices, weights = (np.stack(x, axis=1) for x in zip(*batches, strict=True))
  if loader.weights is not None:
    weights = weights * loader.weights[indices]
  if loader.view_numbers is None:
    return BatchPlan(indices, weights)
  numbers = [
    loader.view_numbers(int(seed), indices[:, i], start)
    for i, seed in enumerate(seeds)
  ]
  return BatchPlan(indices, weights, np.stack(numbers, axis=1))


def repeat_last_step(x: np.ndarray, missing: int) -> np.ndarray:
  """Repeats the last step of a portion as often as steps are missing."""
  return np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), mode="edge")
