"""Which example is in which batch: the one source of truth, integers only.

An endless stream of passes over the examples is cut into batches; batch number
`step` is a function of (examples, batch_size, seed, step) and of nothing else.
So a run can stop anywhere and go on from an integer, and a streamed run, a
resident one and one on eight devices see the same batches.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kdjax.core.errors import UserError, quantity


class Plan(NamedTuple):
  """Consecutive batches.

  Attributes:
    indices: (steps, batch_size) int32, example ids; every one is a real example.
    weights: (steps, batch_size) float32, 1 for an example, 0 for padding.
  """

  indices: np.ndarray
  weights: np.ndarray


def steps_per_pass(
  examples: int, batch_size: int, drop_remainder: bool = False
) -> int:
  """Counts the batches of one pass.

  Args:
    examples: number of examples, >= 1.
    batch_size: examples a batch, >= 1.
    drop_remainder: leave out the last batch of a pass where it is not full.

  Returns:
    The number of batches, >= 1.
  """
  if examples < 1:
    raise UserError("cannot make batches of 0 examples")
  if batch_size < 1:
    raise UserError(f"the batch size must be at least 1, got {batch_size}")
  if not drop_remainder:
    return -(-examples // batch_size)
  if batch_size > examples:
    raise UserError(
      f"a batch of {batch_size} is larger than the {quantity(examples, 'example')}, and"
      " incomplete batches are dropped: nothing is left"
    )
  return examples // batch_size


def batches(
  examples: np.ndarray,
  batch_size: int,
  *,
  seed: int | None,
  start: int,
  stop: int,
  drop_remainder: bool = False,
) -> Plan:
  """Plans the steps start..stop-1 of the stream.

  Pass p visits the examples in the order of
  `np.random.default_rng((seed, p)).permutation`. The last batch of a pass is
  filled up with the pass's first examples at weight 0.

  Args:
    examples: (N,) integer example ids, N >= 1.
    batch_size: examples a batch, >= 1.
    seed: >= 0; another seed, another order. None keeps the order.
    start: first global step, >= 0.
    stop: one past the last global step, >= start.
    drop_remainder: leave out the last batch of a pass where it is not full.

  Returns:
    A Plan of stop - start steps; the same steps whatever the chunks in which
    they are asked for.
  """
  examples = np.asarray(examples)
  if examples.ndim != 1 or not np.issubdtype(examples.dtype, np.integer):
    raise UserError(
      "batches takes a vector of integer example ids, got"
      f" {examples.dtype} of shape {examples.shape}"
    )
  check_steps(seed, start, stop)
  size = steps_per_pass(len(examples), batch_size, drop_remainder)

  def order(number):
    if seed is None:
      return examples
    return np.random.default_rng((seed, number)).permutation(examples)

  return cut_pass(order, batch_size, size, start, stop)


def check_steps(seed: int | None, start: int, stop: int) -> None:
  """Refuses a negative seed, and steps that are none."""
  if seed is not None and seed < 0:
    raise UserError(f"the seed must not be negative, got {seed}")
  if not 0 <= start <= stop:
    raise UserError(f"steps must be 0 <= start <= stop, got {start}, {stop}")


def cut_pass(
  order: Callable[[int], np.ndarray],
  batch_size: int,
  size: int,
  start: int,
  stop: int,
) -> Plan:
  """Cuts the steps start..stop-1 out of passes.

  Args:
    order: number of a pass -> (N,) its examples in their order.
    batch_size: examples a batch.
    size: steps of a pass.

  Returns:
    A Plan of stop - start steps; the last batch of a pass is filled up with the
    pass's first examples at weight 0.
  """
  indices = np.empty((stop - start, batch_size), np.int32)
  weights = np.empty((stop - start, batch_size), np.float32)
  step = start
  while step < stop:
    number, first = divmod(step, size)
    last = min(size, first + stop - step)
    rows = slice(step - start, step - start + last - first)
    ids = order(number)
    at = np.arange(first * batch_size, last * batch_size)
    shape = (last - first, batch_size)
    indices[rows] = ids[at % len(ids)].reshape(shape)
    weights[rows] = (at < len(ids)).reshape(shape)
    step += last - first
  return Plan(indices, weights)
