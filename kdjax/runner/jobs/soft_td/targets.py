"""Soft labels of several sources: feasible, projected, weighted and mixed.

Tables of probabilities are made once a round, on the host, in float64 and as
logarithms: a class of probability 1e-40 still says how alike two classes are
once a temperature softens it, and a class of probability 0 is -inf, exactly.
"""

import numpy as np

# Half-precision files are off by as much; sums within it are divided out.
TOLERANCE = 1e-3
PSEUDO_LABELS = ("soft", "hard")


def check_feasible(
  soft_labels: np.ndarray, *, tolerance: float = TOLERANCE
) -> None:
  """Refuses soft labels that are no probabilities.

  Args:
    soft_labels: (N, C) float.
    tolerance: how far a sum may be from 1; nothing may be below 0.
  """
  rows = np.asarray(soft_labels, np.float64)
  finite = np.isfinite(rows).all(axis=-1)
  sums = np.where(finite[:, None], rows, 0.0).sum(axis=-1)
  inside = ((rows >= 0) & (rows <= 1 + tolerance)).all(axis=-1)
  feasible = finite & inside & (np.abs(sums - 1) <= tolerance)
  if feasible.all():
    return
  first = int(np.argmin(feasible))
  row = rows[first]
  if not (finite[first] and inside[first]):
    wrong = ~((row >= 0) & (row <= 1 + tolerance))
    place = int(np.argmax(wrong))
    how = f"has {row[place]:g} for class {place}, not a number in [0, 1]"
  else:
    how = f"sums to {sums[first]:g}, not to 1"
  raise ValueError(f"the soft label of example {first} {how}")


def project_onto_simplex(rows: np.ndarray) -> np.ndarray:
  """Finds the nearest probabilities, in the Euclidean distance.

  argmin_p ||p - x||^2 over p >= 0, sum p = 1:  p_c = max(x_c - t, 0), with the
  one t for which they sum to one

  Args:
    rows: (..., C) finite float.

  Source:
    Duchi et al. 2008, Efficient projections onto the l1-ball for learning in
    high dimensions, figure 1.
  """
  rows = np.asarray(rows, np.float64)
  if not np.isfinite(rows).all():
    raise ValueError("nan and infinity have no nearest probabilities")
  # The projection does not change when a constant is added to the row, and what
  # is more than 1 below the largest becomes 0: so sums never lose their digits.
  rows = np.maximum(rows - rows.max(axis=-1, keepdims=True), -1.0)
  falling = -np.sort(-rows, axis=-1)
  excess = np.cumsum(falling, axis=-1) - 1
  counts = np.arange(1, rows.shape[-1] + 1)
  above = np.sum(falling - excess / counts > 0, axis=-1, keepdims=True)
  threshold = np.take_along_axis(excess, above - 1, axis=-1) / above
  return np.maximum(rows - threshold, 0.0)


def to_log(probabilities: np.ndarray) -> np.ndarray:
  """Takes the logarithm; that of 0 is -inf, without a warning.

  Args:
    probabilities: any shape, >= 0.
  """
  probabilities = np.asarray(probabilities, np.float64)
  there = probabilities > 0
  return np.where(there, np.log(np.where(there, probabilities, 1.0)), -np.inf)


def pseudo_labels(log_probabilities: np.ndarray, kind: str) -> np.ndarray:
  """Makes labels of what the sources say.

  Args:
    log_probabilities: (..., C), nats.
    kind: "soft", as they are; "hard", all on the most likely class.
  """
  if kind not in PSEUDO_LABELS:
    raise ValueError(
      f"pseudo_labels must be one of {', '.join(PSEUDO_LABELS)}, got {kind!r}"
    )
  if kind == "soft":
    return log_probabilities
  classes = np.arange(log_probabilities.shape[-1])
  likeliest = np.argmax(log_probabilities, axis=-1)[..., None] == classes
  return np.where(likeliest, 0.0, -np.inf)


def source_weights(log_probabilities: np.ndarray, *, beta: float) -> np.ndarray:
  """Weighs the sources of each example by how near they are to all of them.

  w_s = exp(-beta KL(p_s || m)) / sum_r exp(-beta KL(p_r || m)),
  m = mean_s p_s

  KL(p_s || m) <= log S, because m >= p_s / S: so weights of S sources differ by
  S^beta at most, and a zero of one source makes nothing infinite. The other
  direction, KL(m || p_s), is infinite as soon as a source rules out a class.

  Args:
    log_probabilities: (S, ..., C) of S sources, nats.
    beta: in [0, 1]; 0 is the plain mean.
  """
  if not 0 <= beta <= 1:
    raise ValueError(f"beta must be in [0, 1], got {beta}")
  count = len(log_probabilities)
  mean = log_sum(log_probabilities) - np.log(count)
  probabilities = np.exp(log_probabilities)
  there = probabilities > 0
  # Where a source has mass its mean has some too: nothing is inf - inf.
  ratio = np.where(there, log_probabilities, 0.0) - np.where(there, mean, 0.0)
  distance = np.sum(probabilities * ratio, axis=-1)
  weights = np.exp(-beta * (distance - distance.min(axis=0)))
  return weights / weights.sum(axis=0)


def effective_sample_size(weights: np.ndarray) -> np.ndarray:
  """Says how many equally weighted sources the weighted ones are worth.

  (sum_s w_s)^2 / sum_s w_s^2; with `source_weights` of S sources it is at least
  4 S / (S^(beta/2) + S^(-beta/2))^2

  Args:
    weights: (S, ...) >= 0, not all 0.

  Source:
    Kong 1992, A note on importance sampling using standardized weights.
  """
  return np.sum(weights, axis=0) ** 2 / np.sum(np.square(weights), axis=0)


def mixture(log_probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Mixes the sources.

  log sum_s w_s p_s

  Args:
    log_probabilities: (S, ..., C), nats.
    weights: (S, ...), with the sum 1 over the sources.
  """
  return log_sum(log_probabilities + to_log(weights)[..., None])


def log_sum(logs: np.ndarray) -> np.ndarray:
  """Returns log sum_s exp(l_s) over the first axis; of -inf alone it is -inf.

  Args:
    logs: (S, ...), nats or -inf.
  """
  top = logs.max(axis=0)
  shift = np.where(np.isfinite(top), top, 0.0)
  return to_log(np.exp(logs - shift).sum(axis=0)) + shift
