"""Examples as arrays of sequences of one length, packed or padded; batches of them.

What is in which sequence is settled once, so that every epoch, process and teacher
cache counts the same sequences, and a run goes on from an integer; their order is
drawn anew for every epoch.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from kdjax.core.errors import UserError
from kdjax.data.batch_iterator import BatchIterator, open_batches
from kdjax.data.text.examples import Example

# Sequences that are filled side by side: more leave less room unused, and take
# longer to look through.
_OPEN = 1024


def pack(
  examples: Sequence[Example], length: int, *, pad: int, seed: int = 0
) -> dict[str, np.ndarray]:
  """Packs examples into sequences, as many into each as there is room for.

  Args:
    examples: of at most `length` tokens each.
    length: T, tokens of a sequence.
    pad: the token that fills a sequence up.
    seed: of the order in which examples are put where there is room first.

  Returns:
    By name, N sequences:
      tokens: (N, T) int32.
      mask: (N, T) bool, False for padding.
      segments: (N, T) int32, the examples of a sequence numbered from 1, 0 for
        padding: a network attends within a segment, and counts positions there.
      counts: (N, T) bool, the tokens that are learned; never the first one of a
        segment.

  Raises:
    UserError: if an example is longer than a sequence.
  """
  import grain
  from grain.experimental import FirstFitPackIterDataset

  _check_lengths(examples, length)
  order = np.random.default_rng(seed).permutation(len(examples))
  source = grain.MapDataset.source([examples[place] for place in order]).map(
    lambda one: {"tokens": one.tokens, "counts": one.counts}
  )
  total = sum(len(one.tokens) for one in examples)
  packed = FirstFitPackIterDataset(
    # Threads would be made for nothing: all of it is in memory.
    source.to_iter_dataset(grain.ReadOptions(0, 0)),
    length_struct={"tokens": length, "counts": length},
    # No two sequences are filled by half, so that these are enough.
    num_packing_bins=min(len(examples), 2 * total // length + 1, _OPEN),
    shuffle_bins=False,
    padding_struct={"tokens": pad, "counts": False},
  )
  rows = [*packed]
  segments = np.stack([row["tokens_segment_ids"] for row in rows])
  return {
    "tokens": np.stack([row["tokens"] for row in rows]),
    "mask": segments > 0,
    "segments": segments,
    "counts": np.stack([row["counts"] for row in rows]),
  }


def pad_out(
  examples: Sequence[Example], length: int, *, pad: int
) -> dict[str, np.ndarray]:
  """Gives every example a sequence of its own; as `pack` otherwise.

  Example:
    >>> one = Example(np.array([3, 4], np.int32), np.array([False, True]), 0)
    >>> pad_out([one], 3, pad=9)["tokens"]
    array([[3, 4, 9]], dtype=int32)
  """
  _check_lengths(examples, length)
  lengths = np.array([len(one.tokens) for one in examples])
  mask = np.arange(length) < lengths[:, None]
  tokens = np.full(mask.shape, pad, np.int32)
  counts = np.zeros(mask.shape, bool)
  tokens[mask] = np.concatenate([one.tokens for one in examples])
  counts[mask] = np.concatenate([one.counts for one in examples])
  segments = mask.astype(np.int32)
  return {
    "tokens": tokens,
    "mask": mask,
    "segments": segments,
    "counts": counts,
  }


def open_text(
  sequences: Mapping[str, np.ndarray],
  batch_size: int,
  *,
  key: jax.Array | int | None = None,
  process: int = 0,
  processes: int = 1,
) -> BatchIterator:
  """Makes an iterator of batches of sequences, whose place can be kept.

  Args:
    sequences: as `pack` returns them.
    batch_size: B, sequences a batch of all processes together.
    key: of the order, anew for every epoch; None keeps them in theirs.
    process: which of the processes this is, from 0.
    processes: how many there are; each gets its share of every batch, one after
      the other.

  Returns:
    The iterator: a loop over it is one epoch. Beside the sequences' entries a
    batch has `index` (B,) int32, the places of its sequences among all; `weight`
    (B,), 0 for those that fill up the last batch; and `position` (B,) in the
    batch of all processes.

  Raises:
    UserError: if the processes cannot share a batch evenly.
  """
  if processes < 1 or batch_size % processes or not 0 <= process < processes:
    raise UserError(
      f"a batch of {batch_size} sequences cannot be shared by process {process} of"
      f" {processes}"
    )
  size = batch_size // processes
  rows = slice(process * size, (process + 1) * size)
  batches = open_batches(sequences, batch_size=batch_size, key=key)
  return batches.map(lambda batch: {name: x[rows] for name, x in batch.items()})


def _check_lengths(examples: Sequence[Example], length: int) -> None:
  longest = max(len(one.tokens) for one in examples)
  if longest > length:
    raise UserError(
      f"an example has {longest} tokens, more than a sequence of {length}"
    )
