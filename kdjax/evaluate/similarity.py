"""How alike two embedders find the same pairs."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Alike(NamedTuple):
  """Correlation of two embedders' cosines over the same pairs.

  Attributes:
    spearman: of ranks, in [-1, 1].
    pearson: of values, in [-1, 1].
  """

  spearman: float
  pearson: float


def alike(student: np.ndarray, teacher: np.ndarray, pairs: np.ndarray) -> Alike:
  """Correlates a student's cosines of pairs with its teacher's.

  Args:
    student: (N, D) embeddings, of any length.
    teacher: (N, D') embeddings of the same N inputs.
    pairs: (P, 2) int, which two inputs each pair is of.
  """
  cosines = [pair_cosines(rows, pairs) for rows in (student, teacher)]
  return Alike(
    float(stats.spearmanr(*cosines).statistic),
    float(stats.pearsonr(*cosines).statistic),
  )


def pair_cosines(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray:
  """Returns the cosine of each pair of rows.

  Args:
    rows: (N, D) embeddings, of any length but zero.
    pairs: (P, 2) int.

  Returns:
    (P,) in [-1, 1].
  """
  rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
  return np.sum(rows[pairs[:, 0]] * rows[pairs[:, 1]], axis=1)


def draw_pairs(
  rows: np.ndarray, *, count: int, nearest: int, seed: int
) -> dict[str, np.ndarray]:
  """Draws pairs at random and pairs of near neighbours.

  Random pairs are almost all unrelated; neighbours show whether the fine order
  among related inputs is kept.

  Args:
    rows: (N, D) the teacher's embeddings, which say who is near.
    count: pairs of each kind; at most N.
    nearest: a neighbour is drawn among so many nearest ones.

  Returns:
    {"random": (count, 2), "near": (count, 2)} int; no pair of an input with
    itself.
  """
  rng = np.random.default_rng(seed)
  size = len(rows)
  first = rng.integers(0, size, count)
  other = (first + rng.integers(1, size, count)) % size
  centres = rng.permutation(size)[:count]
  rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
  cosines = rows[centres] @ rows.T
  cosines[np.arange(count), centres] = -np.inf
  neighbours = np.argsort(-cosines, axis=1)[:, :nearest]
  near = neighbours[np.arange(count), rng.integers(0, nearest, count)]
  return {
    "random": np.stack([first, other], axis=1),
    "near": np.stack([centres, near], axis=1),
  }
