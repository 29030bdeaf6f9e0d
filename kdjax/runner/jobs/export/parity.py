"""Whether what was written is the network that was measured."""

from collections.abc import Callable

import numpy as np

from kdjax import data, evaluate
from kdjax.core.errors import StorageError
from kdjax.core.task import Task
from kdjax.core.units import Units
from kdjax.data import Split

# Two classes closer than this are a tie to a computation in bfloat16, or on
# another kind of device.
COARSE = 2e-2
CHUNK = 250
# Of answers at every pixel, so many numbers are compared one by one.
NUMBERS = 1 << 25


def answers(answer: Callable, images, units: Units | None = None) -> np.ndarray:
  """Asks a network for its logits of stored images, (N, C) float32.

  Args:
    units: in which it tells numbers; they become answers as it was trained on.
  """
  told = evaluate.in_chunks(
    lambda _, block: answer(block), None, images, chunk=CHUNK
  )
  return told if units is None else np.asarray(units.answers(told))


def compared(task: Task, split: Split) -> Split:
  """As many images as their answers can be held side by side."""
  if task.kept is None:
    return split
  numbers = int(np.prod(np.shape(split.images[0])[:2])) * (task.width or 1)
  count = max(1, min(len(split.labels), NUMBERS // numbers))
  return data.select(split, np.arange(count))


def score(task: Task, outputs: np.ndarray, score_split: Split) -> float:
  """Returns the task's score: of classes, the share of images that get theirs.

  Args:
    outputs: (N, C), or what the task keeps of them.
  """
  return evaluate.score(task, outputs[None], score_split.labels)[0]


def check_reported(
  task: Task,
  outputs: np.ndarray,
  score_split: Split,
  reported: float,
  tie: float,
  largest: float | None = None,
) -> None:
  """Checks that a network is as good as its run has reported.

  Args:
    outputs: (N, C) on the images that counted, or what the task keeps of them.
    largest: of the outputs, where those are not all of them.
    tie: how close two numbers are to be equal, as a share of the largest.

  Example:
    >>> from kdjax.tasks import classification
    >>> split = Split(None, np.array([0, 1]))
    >>> check_reported(classification(2), np.eye(2), split, 1.0, 1e-4)
  """
  exported = score(task, outputs, score_split)
  largest = np.abs(outputs).max() if largest is None else largest
  if task.score == "accuracy":
    # As many images may change sides as have two classes that are a tie.
    best = np.sort(outputs, axis=-1)[:, -2:]
    tolerance = (np.diff(best, axis=-1)[:, 0] <= tie * largest).sum()
    apart = abs(round((exported - reported) * len(score_split.labels)))
  else:
    tolerance, apart = (
      tie * max(largest, abs(reported)),
      abs(exported - reported),
    )
  if apart > tolerance:
    raise StorageError(
      f"the network's {task.words.told(exported)}, but the run reported"
      f" {task.words.told(reported)}; nothing was exported"
    )
