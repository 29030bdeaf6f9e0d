"""Whether what was written is the network that was measured."""

from collections.abc import Callable

import numpy as np

from kdjax import evaluate
from kdjax.core.errors import StorageError
from kdjax.data import Split

# The largest difference of logits, as a share of the largest logit.
TOLERANCE = 1e-4
# Two classes closer than this are a tie to a computation in bfloat16, or on
# another kind of device.
COARSE = 2e-2
CHUNK = 250


def answers(answer: Callable, images) -> np.ndarray:
  """Asks a network for its logits.

  Args:
    answer: stored images -> logits.
    images: (N, H, W, D) stored images, an array or a lazy sequence.

  Returns:
    (N, C) float32.
  """
  return evaluate.in_chunks(
    lambda _, block: answer(block), None, images, chunk=CHUNK
  )


def check(name: str, logits: np.ndarray, expected: np.ndarray) -> dict:
  """Checks that what was written answers as the network does.

  Args:
    logits: (N, C) logits of the file's own runtime.
    expected: (N, C) logits of the linen network.
  """
  if logits.shape != expected.shape or not np.isfinite(logits).all():
    raise StorageError(
      f"{name}: gave answers of shape {logits.shape}, not {expected.shape}, or"
      " such as are not finite; nothing was exported"
    )
  scale = np.abs(expected).max() or 1.0
  difference = float(np.abs(logits - expected).max() / scale)
  other = int(np.sum(logits.argmax(-1) != expected.argmax(-1)))
  if other or not difference <= TOLERANCE:
    raise StorageError(
      f"{name}: is not the network: {other} of {len(expected)} images get"
      f" another class, logits differ by {difference:.1e} of the largest (at"
      f" most {TOLERANCE:.0e} is allowed); nothing was exported"
    )
  return {"images": len(expected), "largest_difference": difference}


def accuracy(logits: np.ndarray, scored: Split) -> float:
  """Returns the share of images that get their label.

  Args:
    logits: (N, C).
  """
  return float(evaluate.accuracy(logits, scored.labels))


def check_reported(
  logits: np.ndarray, scored: Split, reported: float, tie: float
) -> None:
  """Checks that a network is as accurate as its run has reported.

  Args:
    logits: (N, C) on the images that counted.
    tie: how close two logits are to be equal, as a share of the largest.

  Example:
    >>> split = Split(None, np.array([0, 1]))
    >>> check_reported(np.eye(2), split, 1.0, 1e-4)
  """
  own = accuracy(logits, scored)
  best = np.sort(logits, axis=-1)[:, -2:]
  close = np.diff(best, axis=-1)[:, 0] <= tie * np.abs(logits).max()
  apart = abs(round((own - reported) * len(scored.labels)))
  if apart > close.sum():
    raise StorageError(
      f"the network gets {100 * own:.2f} % right, but the run reported"
      f" {100 * reported:.2f} %; nothing was exported"
    )
