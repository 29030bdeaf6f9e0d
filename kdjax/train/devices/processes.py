"""What several processes tell each other: which is the first, what it alone knows."""

import json
from typing import Any

import numpy as np

from kdjax.train.devices import watchdog

# At once from process 0 to all others.
WORDS = 1 << 24


def is_first() -> bool:
  """Says whether this is the process that writes and prints.

  Returns:
    True also where a run has one process only.
  """
  guard = watchdog.active()
  return guard is None or guard.process == 0


def largest(number: int) -> int:
  """Returns the largest number that any process has; all must ask at once.

  Args:
    number: this process's, 0 <= number < 2**31.
  """
  if watchdog.active() is None:
    return number
  from jax.experimental import multihost_utils

  # Whoever waits here for one that is stuck waits no longer than in a step.
  with watchdog.watch_block():
    numbers = multihost_utils.process_allgather(np.asarray(number, np.int32))
  return int(np.max(numbers))


def broadcast(value: Any) -> Any:
  """Returns process 0's value, bit for bit; all must ask at once.

  Args:
    value: a pair of JSON values and of a list of NumPy arrays, or None; what
      other processes give is not looked at.
  """
  if watchdog.active() is None:
    return value
  note, arrays = (None, []) if value is None else value
  arrays = [np.asarray(x) for x in arrays]
  shapes = [(x.dtype.name, x.shape) for x in arrays]
  text = json.dumps([note, shapes, value is not None]).encode()
  length = int(_tell(np.array([len(text)], np.uint32))[0])
  text = _tell(np.frombuffer(text.ljust(length), np.uint8)[:length])
  note, shapes, there = json.loads(text.tobytes())
  if not there:
    return None
  if not is_first():
    arrays = [np.zeros(shape, dtype) for dtype, shape in shapes]
  return note, _tell_bits(arrays)


def _tell_bits(arrays: list[np.ndarray]) -> list[np.ndarray]:
  """Tells arrays as whole numbers: what sums floats would lose -0.0."""
  sent = b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)
  words = np.frombuffer(sent.ljust(-(-len(sent) // 4) * 4, b"\0"), np.uint32)
  parts = [words[i : i + WORDS] for i in range(0, len(words), WORDS)]
  heard = b"".join(_tell(part).tobytes() for part in parts)
  received, start = [], 0
  for x in arrays:
    values = np.frombuffer(heard, x.dtype, x.size, start)
    received.append(values.reshape(x.shape).copy())
    start += x.nbytes
  return received


def _tell(x: np.ndarray) -> np.ndarray:
  from jax.experimental import multihost_utils

  return np.asarray(multihost_utils.broadcast_one_to_all(x))
