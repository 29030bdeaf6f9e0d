"""Soft labels: what is feasible, the nearest that is, weights and mixtures."""

import itertools

import numpy as np
import pytest

from kdjax.runner.jobs.soft_td import targets


def log(*rows):
  return targets.to_log(np.array(rows, float))


@pytest.mark.parametrize(
  "rows",
  [
    [[0.7, 0.3]],
    [[1.0, 0.0], [0.0, 1.0]],
    [[0.5, 0.5004]],
    np.full((2, 1000), 1e-3),
    np.array([[0.1, 0.2, 0.7]], np.float16),
  ],
  ids=str,
)
def test_feasible(rows):
  targets.check_feasible(np.array(rows))


@pytest.mark.parametrize(
  ("rows", "said"),
  [
    ([[0.7, 0.3], [0.7, 0.4]], "example 1 sums to 1.1, not to 1"),
    ([[0.7, 0.2], [0.7, 0.4]], "example 0 sums to 0.9"),
    ([[1.0, 0.0], [1.2, -0.2]], "example 1 has 1.2 for class 0"),
    ([[0.5, 0.5], [0.5, 0.5], [0.7, -0.1]], "example 2 has -0.1 for class 1"),
    ([[0.5, 0.5], [np.nan, 1.0]], "example 1 has nan for class 0"),
    ([[1.0, np.inf]], "example 0 has inf for class 1"),
    ([[0.0, 0.0]], "example 0 sums to 0,"),
  ],
  ids=lambda value: value if isinstance(value, str) else "",
)
def test_infeasible_names_the_first_example_and_how(rows, said):
  with pytest.raises(ValueError, match=said):
    targets.check_feasible(np.array(rows))


@pytest.mark.parametrize(
  ("row", "expected"),
  [
    ([0.7, 0.3], [0.7, 0.3]),
    ([0.8, 0.6], [0.6, 0.4]),
    ([0.8, 0.6, -0.5], [0.6, 0.4, 0.0]),
    ([0.0, 0.0, 0.0, 0.0], [0.25] * 4),
    ([2.0, 0.0], [1.0, 0.0]),
    ([-3.0, -3.0], [0.5, 0.5]),
    ([1e20, 1e20, 0.0], [0.5, 0.5, 0.0]),
    ([5.0], [1.0]),
  ],
  ids=str,
)
def test_projection_by_hand(row, expected):
  projected = targets.project_onto_simplex(np.array([row]))
  np.testing.assert_allclose(projected, [expected], atol=1e-12)


def nearest_by_support(row):
  """Tries every set of classes that may be positive: the definition."""
  best = None
  for size in range(1, len(row) + 1):
    for chosen in itertools.combinations(range(len(row)), size):
      point = np.zeros(len(row))
      part = row[list(chosen)]
      point[list(chosen)] = part - (part.sum() - 1) / size
      if (point >= 0).all():
        distance = np.sum((point - row) ** 2)
        if best is None or distance < best[0]:
          best = (distance, point)
  return best[1]


def test_projection_is_the_nearest_point():
  rows = np.random.default_rng(0).normal(size=(50, 5)) * 2
  projected = targets.project_onto_simplex(rows)
  expected = [nearest_by_support(row) for row in rows]
  np.testing.assert_allclose(projected, expected, atol=1e-12)
  targets.check_feasible(projected)
  np.testing.assert_allclose(
    targets.project_onto_simplex(projected), projected, atol=1e-12
  )


def test_nan_has_no_projection():
  with pytest.raises(ValueError, match="nan"):
    targets.project_onto_simplex(np.array([[np.nan, 0.0]]))


def test_logarithm_of_zero_is_exact():
  assert targets.to_log(np.array([0.0, 1.0])).tolist() == [-np.inf, 0.0]


@pytest.mark.parametrize(
  ("kind", "expected"), [("soft", [0.2, 0.5, 0.3]), ("hard", [0.0, 1.0, 0.0])]
)
def test_pseudo_labels(kind, expected):
  labels = np.exp(targets.pseudo_labels(log([0.2, 0.5, 0.3]), kind))
  np.testing.assert_allclose(labels, [expected])


def test_unknown_kind():
  with pytest.raises(ValueError, match="soft, hard"):
    targets.pseudo_labels(np.zeros((1, 2)), "firm")


# Two sources agree on (1/2, 1/2) and one says (1, 0); their mean m is
# (2/3, 1/3). KL((1/2, 1/2) || m) = log(3/4) / 2 + log(3/2) / 2 = log(9/8) / 2,
# KL((1, 0) || m) = log(3/2).
HALVES = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])


@pytest.mark.parametrize("beta", [0.25, 0.5, 1.0])
def test_weights_by_hand(beta):
  near, far = (9 / 8) ** (-beta / 2), (3 / 2) ** (-beta)
  expected = np.array([near, near, far]) / (2 * near + far)
  weights = targets.source_weights(log(*HALVES), beta=beta)
  np.testing.assert_allclose(weights, expected, rtol=1e-12)
  total = 2 * near**2 + far**2
  np.testing.assert_allclose(
    targets.effective_sample_size(weights), (2 * near + far) ** 2 / total
  )


def test_beta_zero_is_the_plain_mean():
  weights = targets.source_weights(log(*HALVES), beta=0.0)
  assert weights.tolist() == [1 / 3] * 3
  mixed = targets.mixture(log(*HALVES), weights)
  np.testing.assert_allclose(np.exp(mixed), HALVES.mean(axis=0))


@pytest.mark.parametrize("beta", [-0.1, 1.1, np.nan])
def test_beta_is_from_0_to_1(beta):
  with pytest.raises(ValueError, match="beta"):
    targets.source_weights(log(*HALVES), beta=beta)


def any_sources(count=4, chains=2, examples=30, classes=5):
  logits = 3 * np.random.default_rng(1).normal(
    size=(count, chains, examples, classes)
  )
  return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_order_of_sources_does_not_matter():
  sources, order = any_sources(), [2, 0, 3, 1]
  weights = targets.source_weights(sources, beta=1.0)
  shuffled = targets.source_weights(sources[order], beta=1.0)
  np.testing.assert_allclose(shuffled, weights[order], rtol=1e-12)
  np.testing.assert_allclose(
    targets.mixture(sources[order], shuffled),
    targets.mixture(sources, weights),
    rtol=1e-12,
  )


def test_sources_that_agree_weigh_the_same():
  one = any_sources(count=1)
  weights = targets.source_weights(np.repeat(one, 3, axis=0), beta=1.0)
  np.testing.assert_allclose(weights, 1 / 3, rtol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("sources", [any_sources(), 50 * any_sources()])
def test_no_source_takes_over(sources, beta):
  """Weights differ by S^beta at most, so the effective size has a floor."""
  sources = sources - targets.log_sum(np.moveaxis(sources, -1, 0))[..., None]
  count = len(sources)
  weights = targets.source_weights(sources, beta=beta)
  np.testing.assert_allclose(weights.sum(axis=0), 1.0)
  assert (
    weights.max(axis=0) <= weights.min(axis=0) * count**beta * 1.000001
  ).all()
  effective = targets.effective_sample_size(weights)
  floor = 4 * count / (count ** (beta / 2) + count ** (-beta / 2)) ** 2
  assert (floor <= effective).all() and (effective <= count * 1.000001).all()


@pytest.mark.parametrize(
  ("weights", "expected"),
  [
    ([1.0], 1.0),
    ([0.5, 0.5], 2.0),
    ([1.0, 0.0], 1.0),
    ([0.5, 0.25, 0.25], 8 / 3),
    ([3.0, 1.0], 1.6),
  ],
  ids=str,
)
def test_effective_sample_size(weights, expected):
  size = targets.effective_sample_size(np.array(weights))
  np.testing.assert_allclose(size, expected)


def test_mixture_keeps_what_no_float_could_add():
  """A probability of e^-1000 is still there, and one of 0 is still 0."""
  tiny = np.array([[0.0, -1000.0, -np.inf]])
  mixed = targets.mixture(np.stack([tiny, tiny]), np.full((2, 1), 0.5))
  np.testing.assert_allclose(mixed, tiny)


def test_weights_are_mild():
  """Three sure sources that agree, one uniform: it counts two thirds of each."""
  sources = log(*[np.eye(10)[3]] * 3, np.full(10, 0.1))
  weights = targets.source_weights(sources, beta=0.5)
  near, far = np.log(1 / 0.775), 0.1 * np.log(0.1 / 0.775) + 0.9 * np.log(4)
  np.testing.assert_allclose(weights[3] / weights[0], np.exp((near - far) / 2))
  assert round(weights[3] / weights[0], 2) == 0.67
