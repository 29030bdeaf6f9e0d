"""How well embeddings search, and how alike two embedders find the same pairs."""

from typing import Any

import numpy as np
from scipy import stats

from kdjax.core.arguments import check_whole
from kdjax.core.errors import UserError

# Ranks of more pairs than that say the same, and take long.
PAIRS = 200_000
# So many cosines are in memory at once.
_CELLS = 1 << 24
# How many of the nearest are looked at.
NEAREST = (1, 10)


def recall_at_k(
  queries: Any,
  index: Any,
  *,
  k: int = 1,
  relevant: Any = None,
  leave_out_itself: bool = False,
) -> float:
  """The share of queries of which what is wanted is among the k nearest.

  Near is what has a large cosine. Rows of an index that are as near as the wanted
  one stand before it where they come first.

  Args:
    queries: (N, D) float, of any length, such as a student's embeddings.
    index: (M, D) float, what is searched in, such as a teacher's embeddings.
    k: how many nearest rows count, >= 1.
    relevant: (N,) int, the row of the index that each query wants; its own place
      by default, as where a student searches in its teacher's index of the same
      examples (asymmetric retrieval).
    leave_out_itself: whether query b does not find row b, where the queries are
      the index (symmetric retrieval).

  Returns:
    A share, in [0, 1]; nan without a query.

  Raises:
    UserError: for embeddings that are no numbers (N, D) of one width, a k that is
      no whole number >= 1, and wanted rows that are not there.

  Example:
    >>> queries = np.array([[1.0, 0.1], [0.9, 1.0]])
    >>> index = np.array([[2.0, 0.0], [1.0, 0.0]])
    >>> recall_at_k(queries, index), recall_at_k(queries, index, k=2)
    (0.5, 1.0)
  """
  queries, index = _vectors("queries", queries), _vectors("index", index)
  if queries.shape[1] != index.shape[1]:
    raise UserError(
      f"recall_at_k: queries of {queries.shape[1]} numbers, and an index of"
      f" {index.shape[1]}; one network's embeddings have to be brought to the"
      " other's width"
    )
  k = check_whole("k", k)
  relevant = _wanted(relevant, len(queries), len(index))
  queries, index = _unit(queries), _unit(index)
  hits, size = 0, max(1, _CELLS // max(1, len(index)))
  for start in range(0, len(queries), size):
    places = np.arange(start, min(start + size, len(queries)))
    cosines = queries[places] @ index.T
    if leave_out_itself:
      cosines[places - start, places] = -np.inf
    wanted = relevant[places][:, None]
    own = np.take_along_axis(cosines, wanted, axis=1)
    earlier = np.arange(len(index))[None] < wanted
    before = (cosines > own) | ((cosines == own) & earlier)
    hits += int((before.sum(axis=1) < k).sum())
  return hits / len(queries) if len(queries) else float("nan")


def spearman(student: Any, teacher: Any, pairs: Any = None) -> float:
  """Correlates the ranks of two embedders' cosines of the same pairs.

  Args:
    student: (N, D) float, of any length.
    teacher: (N, D') float, of the same N inputs.
    pairs: (P, 2) int, which two inputs each pair is of; all by default, or
      200,000 drawn ones where there are more.

  Returns:
    Spearman's rank correlation, in [-1, 1]; nan for less than three inputs, and
    where all cosines are the same.

  Raises:
    UserError: for embeddings that are no numbers (N, D) of the same inputs, or
      pairs that are not of them.

  Example:
    >>> teacher = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])
    >>> round(spearman(3 * teacher, teacher), 4)
    1.0
  """
  student, teacher = _vectors("student", student), _vectors("teacher", teacher)
  if len(student) != len(teacher):
    raise UserError(
      f"spearman: {len(student)} embeddings of the student, and {len(teacher)} of"
      " the teacher; they are of the same inputs"
    )
  pairs = all_pairs(len(student)) if pairs is None else np.asarray(pairs)
  shape_fits = pairs.ndim == 2 and pairs.shape[1:] == (2,)
  if not shape_fits or pairs.dtype.kind not in "iu":
    raise UserError(
      f"spearman: pairs are (P, 2) whole numbers, got {pairs.dtype} {pairs.shape}"
    )
  if pairs.size and not 0 <= pairs.min() <= pairs.max() < len(student):
    raise UserError(
      f"spearman: pairs name the inputs {pairs.min()} to {pairs.max()}, and there"
      f" are {len(student)}, 0 to {len(student) - 1}"
    )
  first, other = pairs.T
  units = map(_unit, (student, teacher))
  cosines = [np.sum(rows[first] * rows[other], axis=1) for rows in units]
  if len(pairs) < 3 or min(map(np.ptp, cosines)) == 0:
    return float("nan")
  return float(stats.spearmanr(*cosines).statistic)


def all_pairs(size: int) -> np.ndarray:
  """(P, 2) all pairs of inputs, or `PAIRS` drawn ones where there are more."""
  if size * (size - 1) // 2 <= PAIRS:
    return np.stack(np.triu_indices(size, 1), axis=1)
  random = np.random.default_rng(0)
  first = random.integers(0, size, PAIRS)
  other = (first + random.integers(1, size, PAIRS)) % size
  return np.stack([first, other], axis=1)


def nearest_other(rows: Any) -> np.ndarray:
  """(N,) int, the nearest other row of each, by cosine; the first of equals.

  Args:
    rows: (N, D) float, N >= 2.
  """
  rows = _unit(_vectors("rows", rows))
  nearest, size = [], max(1, _CELLS // len(rows))
  for start in range(0, len(rows), size):
    cosines = rows[start : start + size] @ rows.T
    cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -np.inf
    nearest.append(cosines.argmax(axis=1))
  return np.concatenate(nearest)


def measure_embeddings(embeddings: Any, reference: Any) -> dict[str, list]:
  """Says how well networks' embeddings do what those of a reference do.

  Args:
    embeddings: (M, N, D) of M networks.
    reference: (N, D') of the same inputs; rows that are zero or not finite are
      left out.

  Returns:
    By name, a list of one number a network: "recall_at_1" and "recall_at_10" of
    searches in the reference's index, where D' is D; "symmetric_recall_at_1" and
    "symmetric_recall_at_10" of searches in the network's own, for the input that is
    nearest to each by the reference; "spearman" of all pairs' cosines. None where
    there are less than three inputs.

  Example:
    >>> reference = np.eye(4) + 0.1
    >>> scores = measure_embeddings(2 * reference[None], reference)
    >>> scores["recall_at_1"], scores["symmetric_recall_at_1"]
    ([1.0], [1.0])
  """
  reference = np.asarray(reference, np.float32)
  is_there = np.isfinite(reference).all(-1) & (reference != 0).any(-1)
  reference = reference[is_there]
  embeddings = np.asarray(embeddings, np.float32)[:, is_there]
  scores: dict[str, list] = {}
  if len(reference) < 3:
    return scores
  nearest = nearest_other(reference)
  for k in NEAREST:
    if embeddings.shape[-1] == reference.shape[-1]:
      scores[f"recall_at_{k}"] = [
        recall_at_k(one, reference, k=k) for one in embeddings
      ]
    scores[f"symmetric_recall_at_{k}"] = [
      recall_at_k(one, one, k=k, relevant=nearest, leave_out_itself=True)
      for one in embeddings
    ]
  scores["spearman"] = [spearman(one, reference) for one in embeddings]
  return {
    name: [value if np.isfinite(value) else None for value in values]
    for name, values in scores.items()
  }


def _vectors(name: str, rows: Any) -> np.ndarray:
  rows = np.asarray(rows)
  if rows.ndim != 2 or rows.dtype.kind not in "iufb":
    raise UserError(
      f"{name}: embeddings are numbers (N, D), got {rows.dtype} {rows.shape}"
    )
  return rows.astype(np.float32, copy=False)


def _unit(rows: np.ndarray) -> np.ndarray:
  """Rows of unit length; zeros stay zeros."""
  norms = np.linalg.norm(rows, axis=1, keepdims=True)
  return rows / np.where(norms > 0, norms, 1)


def _wanted(relevant: Any, queries: int, rows: int) -> np.ndarray:
  """(N,) which row each query wants, checked."""
  wanted = np.arange(queries) if relevant is None else np.asarray(relevant)
  if wanted.shape != (queries,) or wanted.dtype.kind not in "iu":
    raise UserError(
      f"recall_at_k: relevant= names a row of the index for each of {queries}"
      f" queries, got {wanted.dtype} {wanted.shape}"
    )
  if queries and not 0 <= wanted.min() <= wanted.max() < rows:
    raise UserError(
      f"recall_at_k: queries want the rows {wanted.min()} to {wanted.max()}, and"
      f" the index has {rows}, 0 to {rows - 1}"
    )
  return wanted
