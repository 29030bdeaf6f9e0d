"""What is kept of networks' answers to a whole set, where all of them are too much."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Kept(NamedTuple):
  """A part of the outputs that scores need no more than, such as the likeliest class.

  Attributes:
    of: (outputs of a network (n, ...), its inputs (n, ...)) -> (n, ...), what is
      kept of them; it is traced.
    score: (what is kept (N, ...), targets (N, ...)) -> the task's score.
  """

  of: Callable[[Any, Any], Any]
  score: Callable[[np.ndarray, np.ndarray], float]
