"""Pairs and their cosines: by hand, and which pairs are drawn."""

import numpy as np
import pytest

from kdjax.evaluate.similarity import alike, draw_pairs, pair_cosines

ROWS = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [-1.0, 0.0]])
PAIRS = np.array([[0, 1], [0, 2], [0, 3]])


def test_cosines_by_hand():
  np.testing.assert_allclose(pair_cosines(ROWS, PAIRS), [0.5**0.5, 0, -1])


@pytest.mark.parametrize(
  ("student", "spearman", "pearson"),
  [
    (ROWS, 1.0, 1.0),
    (5 * ROWS @ np.array([[0.0, 1.0], [-1.0, 0.0]]), 1.0, 1.0),
    (ROWS[[3, 1, 2, 0]], 0.5, 0.378),
    (ROWS[[0, 3, 2, 1]], -1.0, -0.99),
  ],
)
def test_correlations(student, spearman, pearson):
  found = alike(student, ROWS, PAIRS)
  assert found.spearman == pytest.approx(spearman)
  assert found.pearson == pytest.approx(pearson, abs=1e-2)


def test_drawn_pairs():
  rows = np.random.default_rng(0).normal(size=(200, 5))
  pairs = draw_pairs(rows, count=150, nearest=3, seed=1)
  for drawn in pairs.values():
    assert drawn.shape == (150, 2)
    assert np.all(drawn[:, 0] != drawn[:, 1])
  for one, other in pairs["near"]:
    cosines = [pair_cosines(rows, np.array([[one, i]]))[0] for i in range(200)]
    assert cosines[other] >= np.sort(np.delete(cosines, one))[-3] - 1e-12
  again = draw_pairs(rows, count=150, nearest=3, seed=1)
  np.testing.assert_array_equal(pairs["near"], again["near"])
  assert not np.array_equal(
    pairs["random"],
    draw_pairs(rows, count=150, nearest=3, seed=2)["random"],
  )
