"""Hinton's specialists: who confuses what, and one answer of all who know."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans

# Answers below this are as good as impossible; their logarithm stays finite.
TINY = 1e-12


def confusable_subsets(
  probabilities: np.ndarray, subsets: int, *, seed: int = 0
) -> list[np.ndarray]:
  """Groups the classes that a network often predicts together.

  k-means over the rows of the covariance matrix of the predictions.

  Args:
    probabilities: (N, C) float, of the generalist.

  Returns:
    Classes of each subset, in order; every class is in one of them.

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5.
  """
  classes = probabilities.shape[1]
  if not 1 <= subsets <= classes:
    raise ValueError(f"{subsets} subsets of {classes} classes")
  covariance = np.cov(np.asarray(probabilities, np.float64), rowvar=False)
  clusters = KMeans(subsets, n_init=10, random_state=seed).fit_predict(
    covariance
  )
  groups = [np.flatnonzero(clusters == label) for label in np.unique(clusters)]
  return sorted(groups, key=lambda group: int(group[0]))


def specialist_labels(labels: np.ndarray, subset: np.ndarray) -> np.ndarray:
  """Numbers the classes of a subset; all others are its dustbin.

  Args:
    labels: (N,) int.
    subset: (S,) classes.

  Returns:
    (N,) int32 in 0..S; S is the dustbin.
  """
  places = np.full(max(labels.max(), subset.max()) + 1, len(subset), np.int32)
  places[subset] = np.arange(len(subset))
  return places[labels]


def specialist_examples(
  labels: np.ndarray, subset: np.ndarray, *, seed: int
) -> tuple[np.ndarray, float]:
  """Draws what a specialist learns from: half its classes, half of the rest.

  Args:
    labels: (N,) int, of the images that may be used.
    subset: (S,) classes.

  Returns:
    Places of the images, and how many times too often the subset's stand
    among them: the dustbin's logit is too low by the logarithm of that.
  """
  inside = np.isin(labels, subset)
  subset_places, rest = np.flatnonzero(inside), np.flatnonzero(~inside)
  if not len(subset_places) or not len(rest):
    raise ValueError(
      f"specialist of {subset.tolist()}: no images of both kinds"
    )
  others = np.random.default_rng(seed).permutation(rest)[: len(subset_places)]
  return np.sort(np.concatenate([subset_places, others])), len(rest) / len(
    others
  )


def specialist_head(head: dict, subset: np.ndarray, classes: int) -> dict:
  """Makes a specialist's classifier of the generalist's.

  Args:
    head: {"kernel": (D, C), "bias": (C,)}.
    subset: (S,) classes, whose columns stay.

  Returns:
    {"kernel": (D, S + 1), "bias": (S + 1,)}: the dustbin begins as the mean of
    the classes in it, as likely as all of them.
  """
  rest = np.setdiff1d(np.arange(classes), subset)
  kernel, bias = head["kernel"], head["bias"]
  dustbin = jnp.mean(kernel[:, rest], axis=1, keepdims=True)
  likely = jnp.mean(bias[rest], keepdims=True) + jnp.log(float(len(rest)))
  return {
    "kernel": jnp.concatenate([kernel[:, subset], dustbin], axis=1),
    "bias": jnp.concatenate([bias[subset], likely]),
  }


def merge_logits(
  generalist: jax.Array,
  specialists: jax.Array,
  dustbins: jax.Array,
  subsets: jax.Array,
  active: jax.Array,
  *,
  steps: int = 200,
) -> jax.Array:
  """Finds the answer that is closest to those of all who know something.

  q = argmin KL(p_g, q) + sum over active m of KL(p_m, q summed over m's
  dustbin), a convex problem. It is solved by its fixed point: every class gets
  the mean of what generalist and specialists give it, where a specialist's
  dustbin is shared out as q itself shares it. Each turn lowers the sum.

  Args:
    generalist: (C,) float, probabilities.
    specialists: (M, C) float, probabilities of each one's own classes, 0
      elsewhere.
    dustbins: (M,) float, what is left of each; rows and dustbins add up to 1.
    subsets: (M, C) bool, each one's own classes.
    active: (M,) bool, who is asked.

  Returns:
    (C,) float32 logits, log q.

  Source:
    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 5, which descends the
    gradient by q's logits instead.
  """
  is_active = active.astype(jnp.float32)[:, None]

  def turn(_, q):
    others = jnp.where(subsets, 0.0, q[None, :])
    total = jnp.sum(others, axis=1, keepdims=True)
    dustbin_shares = dustbins[:, None] * others / jnp.maximum(total, TINY)
    answer = generalist + jnp.sum(
      is_active * (specialists + dustbin_shares), axis=0
    )
    return answer / jnp.sum(answer)

  start = jnp.maximum(jnp.asarray(generalist, jnp.float32), TINY)
  q = jax.lax.fori_loop(0, steps, turn, start / jnp.sum(start))
  return jnp.log(jnp.maximum(q, TINY))
