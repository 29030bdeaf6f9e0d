"""Batches of texts that are about as long, so that little of them is padding.

Which groups of lengths follow each other depends on the number of the pass alone:
networks of several seeds, side by side, are shown texts of one length.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from kdjax.data.plan import Plan, batches, check_steps, steps_per_pass
from kdjax.data.text_set import by_length


def group_lengths(arrays: Mapping[str, np.ndarray], least: int) -> np.ndarray:
  """Says to how many tokens each text's batch is cut.

  Args:
    arrays: (N, T) by name, with a `mask`.
    least: texts of a group, see `by_length`.

  Returns:
    (N,) int32.

  Example:
    >>> mask = np.arange(64) < np.array([[3], [60], [20], [2]])
    >>> group_lengths({"mask": mask}, 2)
    array([16, 64, 64, 16], dtype=int32)
  """
  lengths = np.empty(len(arrays["mask"]), np.int32)
  for places, cut in by_length(arrays, least=least):
    lengths[places] = cut["mask"].shape[1]
  return lengths


def batches_by_length(
  examples: np.ndarray,
  lengths: np.ndarray,
  batch_size: int,
  *,
  seed: int,
  start: int,
  stop: int,
  drop_remainder: bool = False,
) -> Plan:
  """Plans the steps start..stop-1, each with texts of one group of lengths.

  Args:
    lengths: (all,) of `group_lengths`, which `examples` name.
    **others: as `batches` takes them.

  Returns:
    A Plan, as `batches` makes it; a pass shows every example once.

  Example:
    >>> lengths = np.array([16, 64, 64, 16, 16])
    >>> plan = batches_by_length(np.arange(5), lengths, 2, seed=0, start=0, stop=3)
    >>> sorted(lengths[plan.indices].tolist())
    [[16, 16], [16, 16], [64, 64]]
  """
  check_steps(seed, start, stop)
  parts = []
  size = steps_by_length(examples, lengths, batch_size, drop_remainder)
  for number in range(start // size, max(start // size + 1, -(-stop // size))):
    plans = []
    for group in _groups(examples, lengths):
      steps = steps_per_pass(len(group), batch_size, drop_remainder)
      plans.append(
        batches(
          group,
          batch_size,
          seed=seed,
          start=number * steps,
          stop=(number + 1) * steps,
          drop_remainder=drop_remainder,
        )
      )
    order = np.random.default_rng(number).permutation(size)
    first = number * size
    shown = order[max(start - first, 0) : stop - first]
    parts.append([np.concatenate(x)[shown] for x in zip(*plans, strict=True)])
  return Plan(*map(np.concatenate, zip(*parts, strict=True)))


def steps_by_length(
  examples: np.ndarray,
  lengths: np.ndarray,
  batch_size: int,
  drop_remainder: bool = False,
) -> int:
  """Counts the batches of one pass."""
  return sum(
    steps_per_pass(len(group), batch_size, drop_remainder)
    for group in _groups(examples, lengths)
  )


def read_by_length(
  arrays: Mapping[str, np.ndarray], lengths: np.ndarray, indices: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the texts of planned batches, as long as their groups.

  Args:
    arrays: (N, T) by name.
    lengths: (N,) of `group_lengths`.
    indices: (steps, B).
  """
  for row in indices:
    width = lengths[row].max()
    yield {name: x[row, :width] for name, x in arrays.items()}


def _groups(examples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
  own = lengths[examples]
  return [examples[own == length] for length in np.unique(own)]
