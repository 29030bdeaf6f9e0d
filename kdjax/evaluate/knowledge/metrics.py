"""What the concepts of all epochs say of a training: six metrics and more.

S_j is the set of foreground concepts of an image at checkpoint j; checkpoint 0,
the initialisation, is no epoch and takes part in no union and no maximum.
Everything is NumPy: the arrays are small and sets have no fixed size.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Concepts(NamedTuple):
  """All that the metrics are made from.

  Attributes:
    entropy: (E + 1, N, GH, GW) nats, of every checkpoint, the first being the
      initialisation.
    valid: (E + 1, N) bool, which images of a checkpoint count.
    on_object: (N, GH, GW) bool.
    distance: (E + 1,) weight distance of every checkpoint, 0 at first.
  """

  entropy: np.ndarray
  valid: np.ndarray
  on_object: np.ndarray
  distance: np.ndarray


def metrics(
  concepts: Concepts, threshold: float
) -> dict[str, float | int | None]:
  """Computes the metrics at one threshold.

  N_fg, N_bg = mean over images of the last checkpoint's concepts
  lambda = mean over images of N_fg / (N_fg + N_bg), where there are any
  m_hat = first epoch with the most foreground concepts, an image each
  D_mean, D_std = mean and standard deviation over images of d_{m_hat}
  rho = mean over images of |S_M| / |union_j S_j|, where the union is not empty

  Args:
    concepts: entropies of all checkpoints; one or more epochs.
    threshold: b, nats.

  Returns:
    By name: "n_fg", "n_bg", "lambda", "m_hat" (mean epoch), "d_mean", "d_std",
    "d_var" (what the paper calls D_std), "rho", "rho_pooled", "auc" (chance that
    a foreground cell has the lower entropy), "entropy_gap" (nats), "d95"
    (distance at which 95 % of the last foreground concepts are there); and
    counts: "no_concepts" (images where lambda is 0/0), "no_foreground_concepts"
    (images that no epoch finds a concept on: m_hat, D and rho leave them out),
    "invalid" (image-checkpoint pairs). None where no image counts.

  Source:
    Cheng et al. 2020, arXiv:2003.03622. auc, entropy_gap, d95: ours.
  """
  if len(concepts.entropy) < 2:
    raise ValueError("metrics: one checkpoint is no training; give two or more")
  is_concept = _concepts(concepts, threshold)
  on = is_concept & concepts.on_object
  last_valid = concepts.valid[-1]
  fg = on[-1].sum((1, 2))
  bg = is_concept[-1].sum((1, 2)) - fg
  has_concepts = last_valid & (fg + bg > 0)
  sets = on[1:]
  union = sets.any(0).sum((1, 2))
  in_union = last_valid & (union > 0)
  best = sets.sum((2, 3)).argmax(0) + 1
  distance = concepts.distance[best][in_union]
  ratio = fg[in_union] / union[in_union]
  spread = _mean((distance - distance.mean()) ** 2) if in_union.any() else None
  return {
    "n_fg": _mean(fg[last_valid]),
    "n_bg": _mean(bg[last_valid]),
    "lambda": _mean((fg / np.maximum(fg + bg, 1))[has_concepts]),
    "m_hat": _mean(best[in_union]),
    "d_mean": _mean(distance),
    "d_std": None if spread is None else spread**0.5,
    "d_var": spread,
    "rho": _mean(ratio),
    "rho_pooled": float(fg[in_union].sum() / union[in_union].sum())
    if in_union.any()
    else None,
    **_without_threshold(concepts),
    "d95": _settled(sets, concepts.distance[1:], last_valid),
    "no_concepts": int((last_valid & (fg + bg == 0)).sum()),
    "no_foreground_concepts": int((last_valid & (union == 0)).sum()),
    "invalid": int((~concepts.valid).sum()),
  }


def curves(
  concepts: Concepts, thresholds: Sequence[float]
) -> dict[str, list[float | int | None]]:
  """Computes every metric for several thresholds.

  Args:
    thresholds: values of b, nats.

  Returns:
    By name, one value a threshold; "threshold" are the thresholds.
  """
  rows = [metrics(concepts, float(threshold)) for threshold in thresholds]
  result = {"threshold": [float(threshold) for threshold in thresholds]}
  return result | {name: [row[name] for row in rows] for name in rows[0]}


def counts(
  concepts: Concepts, threshold: float
) -> dict[str, list[float | int | None]]:
  """Follows the concepts over the training.

  Args:
    threshold: b, nats.

  Returns:
    One value a checkpoint: "distance", "n_fg", "n_bg", means over images.
  """
  is_concept = _concepts(concepts, threshold)
  on = (is_concept & concepts.on_object).sum((2, 3))
  off = is_concept.sum((2, 3)) - on
  pairs = list(zip(on, off, concepts.valid, strict=True))
  return {
    "distance": [float(value) for value in concepts.distance],
    "n_fg": [_mean(one[valid]) for one, _, valid in pairs],
    "n_bg": [_mean(one[valid]) for _, one, valid in pairs],
  }


def path_lengths(weights: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
  """Adds up how far weights have moved: d_k.

  d_k = sum_{j<=k} ||w_j - w_{j-1}|| / ||w_0||, norms over all arrays together

  Returns:
    (checkpoints,) float64, d_0 = 0.

  Source:
    Cheng et al. 2020, arXiv:2003.03622; the path per epoch.
  """
  trail = None
  for one in weights:
    trail = extended(trail, one)
  return np.array(trail.lengths)


class Trail(NamedTuple):
  """The way of some weights so far.

  Attributes:
    start: norm of the first weights.
    last: the last weights.
    lengths: d_k of every checkpoint.
  """

  start: float
  last: Sequence[np.ndarray]
  lengths: tuple[float, ...]


def extended(trail: Trail | None, weights: Sequence[np.ndarray]) -> Trail:
  """Goes one checkpoint further, for trainings too long to be kept.

  Args:
    trail: so far; None at the first checkpoint.
    weights: of the next checkpoint, the same arrays each time.

  Example:
    >>> trail = extended(None, [np.ones(4)])
    >>> extended(trail, [np.zeros(4)]).lengths
    (0.0, 1.0)
  """
  if trail is None:
    start = _norm(weights)
    if start == 0:
      raise ValueError("path_lengths: the first weights are all zero")
    return Trail(start, weights, (0.0,))
  step = _norm([b - a for a, b in zip(trail.last, weights, strict=True)])
  length = trail.lengths[-1] + step / trail.start
  return Trail(trail.start, weights, (*trail.lengths, length))


def _concepts(concepts: Concepts, threshold: float) -> np.ndarray:
  """As `concepts.concepts`, for all checkpoints at once."""
  off = ~concepts.on_object
  count = off.sum((1, 2))
  total = (concepts.entropy * off).sum((2, 3))
  counts = concepts.valid & (count > 0)
  mean = (total / np.maximum(count, 1) * counts).sum(1)
  mean = mean / np.maximum(counts.sum(1), 1)
  is_concept = mean[:, None, None, None] - concepts.entropy > threshold
  return is_concept & concepts.valid[:, :, None, None]


def _without_threshold(concepts: Concepts) -> dict[str, float | None]:
  """How well entropy tells foreground from background, last checkpoint."""
  areas, gaps = [], []
  for entropy, on, valid in zip(
    concepts.entropy[-1], concepts.on_object, concepts.valid[-1], strict=True
  ):
    if not valid or not on.any() or on.all():
      continue
    inside, outside = entropy[on][:, None], entropy[~on][None]
    areas.append(np.mean((inside < outside) + 0.5 * (inside == outside)))
    gaps.append(outside.mean() - inside.mean())
  return {"auc": _mean(areas), "entropy_gap": _mean(gaps)}


def _settled(sets, distance, valid) -> float | None:
  last = sets[-1].sum((1, 2))
  there = (sets & sets[-1]).sum((2, 3)) >= 0.95 * last[None]
  return _mean(distance[there.argmax(0)][valid & (last > 0)])


def _mean(values) -> float | None:
  return float(np.mean(values)) if len(values) else None


def _norm(arrays) -> float:
  return float(
    np.sqrt(sum(np.sum(np.square(a, dtype=np.float64)) for a in arrays))
  )
