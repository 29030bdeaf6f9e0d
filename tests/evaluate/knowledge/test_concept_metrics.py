"""Concepts and metrics on sets made by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.evaluate import knowledge
from kdjax.evaluate.knowledge import Concepts

# Two cells on the object, two beside it. Background entropy is 0 wherever a
# background cell is no concept; b = 0.5.
ON = np.array([[[True, True], [False, False]]] * 2)


def epoch(*marked):
  """(N, 2, 2) entropies, -1 at the concepts given as digits of cells 0..3."""
  entropy = np.zeros((len(marked), 4))
  for row, cells in zip(entropy, marked, strict=True):
    row[[int(cell) for cell in cells]] = -1.0
  return entropy.reshape(-1, 2, 2)


def made(*epochs, distance, valid=None):
  entropy = np.stack([epoch(*marked) for marked in epochs])
  if valid is None:
    valid = np.ones(entropy.shape[:2], bool)
  return Concepts(entropy, valid, ON, np.asarray(distance, float))


HAND = {
  # Image 0 has most (two) first in epoch 2, image 1 (one) in epoch 1; the last
  # background entropy is the mean of 0 and -0.5, so b = 0.5 marks all at -1.
  "two images": (
    made(["", ""], ["0", "1"], ["01", "1"], ["01", "12"], distance=[0, 1, 3, 4]),
    {
      "n_fg": 1.5, "n_bg": 0.5, "lambda": (1 + 0.5) / 2, "m_hat": 1.5,
      "d_mean": 2.0, "d_std": 1.0, "d_var": 1.0, "rho": 1.0, "rho_pooled": 1.0,
      "auc": (1.0 + 0.5 * (0.5 + 0.75 + 0.25 - 0.5) + 0.0) / 2 + 0.0,
      "d95": 2.0, "no_concepts": 0, "no_foreground_concepts": 0, "invalid": 0,
    },
  ),
  # What is forgotten stays in the union.
  "forgotten": (
    made(["", ""], ["01", "0"], ["0", "1"], distance=[0, 1, 2]),
    {"n_fg": 1.0, "rho": 0.5, "rho_pooled": 0.5, "m_hat": 1.0, "d_mean": 1.0,
     "d_std": 0.0, "d_var": 0.0},
  ),
  # The initialisation takes part in nothing.
  "initial concepts": (
    made(["01", "01"], ["0", "0"], ["0", "0"], distance=[0, 1, 2]),
    {"rho": 1.0, "m_hat": 1.0, "d_mean": 1.0},
  ),
  # 0/0 for the second image: left out and counted.
  "no concept at all": (
    made(["", ""], ["0", ""], distance=[0, 1]),
    {"n_fg": 0.5, "n_bg": 0.0, "lambda": 1.0, "no_concepts": 1,
     "no_foreground_concepts": 1, "rho": 1.0, "m_hat": 1.0},
  ),
  "nothing anywhere": (
    made(["", ""], ["", ""], distance=[0, 1]),
    {"n_fg": 0.0, "lambda": None, "m_hat": None, "d_mean": None, "d_std": None,
     "d_var": None, "rho": None, "rho_pooled": None, "d95": None, "auc": 0.5,
     "entropy_gap": 0.0, "no_concepts": 2},
  ),
  "invalid image": (
    made(["", ""], ["0", "01"], distance=[0, 1],
         valid=np.array([[True, True], [True, False]])),
    {"n_fg": 1.0, "lambda": 1.0, "invalid": 1, "d_mean": 1.0, "auc": 0.75},
  ),
}  # fmt: skip
HAND["two images"][1].pop("auc")


@pytest.mark.parametrize("name", HAND)
def test_metrics_by_hand(name):
  found, expected = HAND[name]
  result = knowledge.metrics(found, 0.4)
  assert {key: result[key] for key in expected} == pytest.approx(expected)


def by_sets(found, threshold):
  """The definitions word by word, with sets of cells."""
  epochs, images = found.valid.shape
  cells = list(np.ndindex(found.on_object.shape[1:]))
  object_of = [{c for c in cells if on[c]} for on in found.on_object]
  concepts = []
  for entropy in found.entropy:
    means = [
      np.mean([entropy[i][c] for c in cells if c not in object_of[i]])
      for i in range(images)
    ]
    level = np.mean(means) - threshold
    concepts.append([{c for c in cells if one[c] < level} for one in entropy])
  last, ratios, distances, kept = concepts[-1], [], [], []
  for i in range(images):
    inside = [concepts[j][i] & object_of[i] for j in range(1, epochs)]
    if last[i]:
      ratios.append(len(last[i] & object_of[i]) / len(last[i]))
    if set.union(*inside):
      sizes = [len(one) for one in inside]
      distances.append(found.distance[1 + sizes.index(max(sizes))])
      kept.append(len(inside[-1]) / len(set.union(*inside)))
  return {
    "n_fg": np.mean([len(last[i] & object_of[i]) for i in range(images)]),
    "n_bg": np.mean([len(last[i] - object_of[i]) for i in range(images)]),
    "lambda": np.mean(ratios),
    "d_mean": np.mean(distances),
    "d_std": np.sqrt(np.mean((distances - np.mean(distances)) ** 2)),
    "rho": np.mean(kept),
  }


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.2])
def test_metrics_are_the_definitions(threshold):
  rng = np.random.default_rng(5)
  found = Concepts(
    rng.normal(size=(5, 7, 3, 3)),
    np.ones((5, 7), bool),
    rng.random((7, 3, 3)) < 0.4,
    np.cumsum([0.0, 0.5, 0.25, 1.0, 0.125]),
  )
  expected = by_sets(found, threshold)
  result = knowledge.metrics(found, threshold)
  assert {key: result[key] for key in expected} == pytest.approx(expected)


def test_threshold_curve_falls():
  rng = np.random.default_rng(0)
  found = Concepts(
    rng.normal(size=(3, 2, 2, 2)), np.ones((3, 2), bool), ON, np.arange(3.0)
  )
  curve = knowledge.curves(found, (-9.0, 0.0, 0.5, 9.0))
  assert curve["threshold"] == [-9.0, 0.0, 0.5, 9.0]
  assert curve["n_fg"][0] == curve["n_bg"][0] == 2.0
  assert curve["n_fg"] == sorted(curve["n_fg"], reverse=True)
  assert curve["n_fg"][-1] == 0.0 and curve["lambda"][-1] is None
  for at, threshold in enumerate(curve["threshold"]):
    one = knowledge.metrics(found, threshold)
    assert {key: curve[key][at] for key in one} == one


def test_concepts_agree_with_the_metrics():
  rng = np.random.default_rng(1)
  entropy = rng.normal(size=(2, 2, 2, 2))
  valid = np.array([[True, True], [True, False]])
  found = Concepts(entropy, valid, ON, np.arange(2.0))
  marked = knowledge.concepts(
    jnp.asarray(entropy[1]), jnp.asarray(ON), jnp.asarray(valid[1]), 0.3
  )
  marked = np.asarray(marked)
  assert not marked[1].any()
  assert knowledge.metrics(found, 0.3)["n_fg"] == (marked & ON)[0].sum()
  assert knowledge.counts(found, 0.3)["n_bg"][1] == (marked & ~ON)[0].sum()


@pytest.mark.parametrize(
  ("share", "expected"), [(0.25, [True, False]), (0.0, [True, True])]
)
def test_foreground(share, expected):
  mask = np.zeros((1, 2, 4), bool)
  mask[0, :, :2] = True
  mask[0, 0, 2] = True
  found = knowledge.foreground(jnp.asarray(mask), (1, 2), share=share)
  assert found.reshape(-1).tolist() == expected


@pytest.mark.parametrize(
  ("name", "weights", "expected"),
  [
    ("straight", [[3.0, 4.0], [6.0, 8.0]], [0, 1]),
    ("there and back", [[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], [0, 1, 2]),
    ("still", [[2.0, 0.0]] * 3, [0, 0, 0]),
  ],
)
def test_path_lengths(name, weights, expected):
  arrays = [[np.array(one[:1]), np.array(one[1:])] for one in weights]
  assert knowledge.path_lengths(arrays).tolist() == expected


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: knowledge.path_lengths([[np.zeros(2)]]), "all zero"),
    (
      lambda: knowledge.metrics(made(["", ""], distance=[0]), 0.5),
      "one checkpoint",
    ),
  ],
)
def test_refuses(call, message):
  with pytest.raises(ValueError, match=message):
    call()
