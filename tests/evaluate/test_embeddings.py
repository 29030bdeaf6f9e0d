"""Searches and ranks: by hand, against scikit-learn and scipy, and their limits."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import top_k_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from kdjax.core.errors import UserError
from kdjax.evaluate import embeddings, measure_embeddings, recall_at_k, spearman

RNG = np.random.default_rng(0)
QUERIES, INDEX = RNG.normal(size=(2, 40, 6)).astype(np.float32)
RELEVANT = RNG.integers(0, 40, 40)
CROSS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])

# Queries, index, settings, and what is right by hand.
BY_HAND = {
  "the same": (CROSS, CROSS, {}, 1.0),
  "of any length": (3 * CROSS, 0.1 * CROSS, {}, 1.0),
  "turned by a quarter": (CROSS, CROSS[[1, 2, 3, 0]], {}, 0.0),
  "turned, the second counts too": (
    np.array([[2.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]), {"k": 2}, 1.0,
  ),
  "other rows are wanted": (
    CROSS, CROSS[[1, 2, 3, 0]], {"relevant": np.array([3, 0, 1, 2])}, 1.0,
  ),
  "itself is not found": (CROSS, CROSS, {"leave_out_itself": True}, 0.0),
  "more than there are": (CROSS, CROSS[[1, 2, 3, 0]], {"k": 99}, 1.0),
  "of equals the first is found": (CROSS[:2], np.ones((2, 2)), {}, 0.5),
  "zeros are as near to all": (np.zeros((2, 2)), CROSS[:2], {}, 0.5),
}  # fmt: skip


@pytest.mark.parametrize(
  ("queries", "index", "settings", "expected"), BY_HAND.values(), ids=BY_HAND
)
def test_recall_by_hand(queries, index, settings, expected):
  assert recall_at_k(queries, index, **settings) == expected


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("cells", [1 << 24, 100])
def test_recall_is_scikit_learns(monkeypatch, k, cells):
  monkeypatch.setattr(embeddings, "_CELLS", cells)
  expected = top_k_accuracy_score(
    RELEVANT, cosine_similarity(QUERIES, INDEX), k=k, labels=np.arange(40)
  )
  assert recall_at_k(QUERIES, INDEX, k=k, relevant=RELEVANT) == pytest.approx(
    expected
  )


@pytest.mark.parametrize("cells", [1 << 24, 100])
def test_the_nearest_other_is_scikit_learns(monkeypatch, cells):
  monkeypatch.setattr(embeddings, "_CELLS", cells)
  found = NearestNeighbors(n_neighbors=2, metric="cosine").fit(INDEX)
  expected = found.kneighbors(INDEX, return_distance=False)[:, 1]
  np.testing.assert_array_equal(embeddings.nearest_other(INDEX), expected)


def test_spearman_is_scipys():
  pairs = np.array([[0, 1], [4, 9], [3, 3], [7, 0], [1, 2]])
  first, other = pairs.T
  cosines = [
    np.diag(cosine_similarity(rows[first], rows[other]))
    for rows in (QUERIES, INDEX[:, :4])
  ]
  expected = stats.spearmanr(*cosines).statistic
  found = spearman(QUERIES, INDEX[:, :4], pairs)
  assert found == pytest.approx(expected)
  upper = np.triu_indices(40, 1)
  expected = stats.spearmanr(
    cosine_similarity(QUERIES)[upper], cosine_similarity(INDEX)[upper]
  ).statistic
  assert spearman(QUERIES, INDEX) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
  ("student", "expected"),
  [
    (7 * INDEX @ np.linalg.qr(RNG.normal(size=(6, 6)))[0], 1.0),
    (INDEX[:2], np.nan),
    (np.ones_like(INDEX), np.nan),
  ],
  ids=["turned and scaled", "too few", "all the same"],
)
def test_spearman_by_hand(student, expected):
  found = spearman(student, INDEX[: len(student)])
  assert found == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_pairs_are_all_or_as_many_as_count(monkeypatch):
  assert embeddings.all_pairs(3).tolist() == [[0, 1], [0, 2], [1, 2]]
  monkeypatch.setattr(embeddings, "PAIRS", 50)
  pairs = embeddings.all_pairs(30)
  assert pairs.shape == (50, 2) and (pairs[:, 0] != pairs[:, 1]).all()
  assert pairs.min() >= 0 and pairs.max() < 30


def test_what_a_run_says_of_networks():
  reference = INDEX.copy()
  reference[3], reference[5, 0] = 0, np.nan
  scores = measure_embeddings(np.stack([INDEX, QUERIES]), reference)
  assert set(scores) == {
    "recall_at_1", "recall_at_10", "symmetric_recall_at_1",
    "symmetric_recall_at_10", "spearman",
  }  # fmt: skip
  perfect, other = (
    {name: values[i] for name, values in scores.items()} for i in (0, 1)
  )
  assert perfect == pytest.approx(dict.fromkeys(scores, 1.0), abs=1e-5)
  keep = np.delete(np.arange(40), [3, 5])
  assert other["recall_at_10"] == recall_at_k(QUERIES[keep], INDEX[keep], k=10)
  narrow = measure_embeddings(QUERIES[None, :, :4], INDEX)
  assert "recall_at_1" not in narrow and narrow["spearman"][0] < 1
  assert measure_embeddings(QUERIES[None, :2], INDEX[:2]) == {}
  dead = measure_embeddings(np.zeros((1, 40, 6)), INDEX)
  assert dead["spearman"] == [None]


@pytest.mark.parametrize(
  ("call", "says"),
  [
    (lambda: recall_at_k(QUERIES, INDEX[:5]), "want the rows 0 to 39, and"),
    (lambda: recall_at_k(QUERIES, INDEX, relevant=RELEVANT - 1), "rows -1 to"),
    (lambda: recall_at_k(QUERIES, INDEX, relevant=[0.5]), "relevant= names"),
    (lambda: spearman(QUERIES, INDEX, [[0, 40]]), "inputs 0 to 40, and there"),
    (lambda: spearman(QUERIES, INDEX, [0, 1]), r"pairs are \(P, 2\)"),
  ],
)
def test_what_is_not_there_is_named(call, says):
  with pytest.raises(UserError, match=says):
    call()
