"""Scores, comparisons and corrections, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from kdjax import evaluate
from kdjax.evaluate.scores import log_softmax
from kdjax.tasks import classification

# Two networks, four images, two classes.
LOGITS = np.log(
  np.array(
    [
      [[0.95, 0.05], [0.85, 0.15], [0.25, 0.75], [0.65, 0.35]],
      [[0.05, 0.95], [0.15, 0.85], [0.25, 0.75], [0.35, 0.65]],
    ]
  )
)
LABELS = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
  ("function", "expected"),
  [
    (evaluate.accuracy, [0.75, 0.5]),
    (
      evaluate.negative_log_likelihood,
      [
        -np.log([0.95, 0.85, 0.75, 0.35]).mean(),
        -np.log([0.05, 0.15, 0.75, 0.65]).mean(),
      ],
    ),
    # confidences .95 .85 .75 .65, each in a bin of its own: mean |correct - confidence|
    (
      lambda z, y: evaluate.calibration_error(z, y, bins=10),
      [(0.05 + 0.15 + 0.25 + 0.65) / 4, (0.95 + 0.85 + 0.25 + 0.35) / 4],
    ),
  ],
)
def test_scores(function, expected):
  np.testing.assert_allclose(function(LOGITS, LABELS), expected, rtol=1e-9)


def test_calibration_pools_a_bin():
  """Two images of confidence 0.75, one right: |1/2 - 3/4| = 1/4."""
  logits = np.log(np.array([[[0.75, 0.25], [0.75, 0.25]]]))
  assert evaluate.calibration_error(logits, np.array([0, 1])) == pytest.approx(
    [0.25]
  )
  certain = np.array([[[1000.0, 0.0]]])
  assert evaluate.calibration_error(certain, np.array([0])) == pytest.approx(
    [0.0]
  )


def test_agreement_is_with_the_teacher_not_the_label():
  teacher = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
  np.testing.assert_allclose(evaluate.agreement(LOGITS, teacher), [0.5, 0.75])


def test_log_softmax_survives_extremes():
  values = log_softmax(np.array([1e4, 0.0, -1e4]))
  np.testing.assert_allclose(values, [0.0, -1e4, -2e4])


def test_compare_is_the_paired_t_test():
  student, control = [0.95, 0.96, 0.94, 0.97], [0.94, 0.93, 0.95, 0.95]
  found = evaluate.compare(student, control)
  want = stats.ttest_rel(
    100 * (1 - np.array(student)), 100 * (1 - np.array(control))
  )
  assert found.p_value == pytest.approx(want.pvalue)
  assert found.mean == pytest.approx(-1.25)
  assert (found.wins, found.pairs) == (3, 4)


@pytest.mark.parametrize(
  ("student", "control", "spread"),
  [
    ([0.9], [0.8], None),
    ([0.9, 0.8], [0.9, 0.8], 0.0),
    ([0.9, 0.8], [0.8, 0.7], 0.0),
  ],
  ids=["one pair", "all equal", "all alike"],
)
def test_compare_without_a_test(student, control, spread):
  found = evaluate.compare(student, control)
  assert found.p_value is None and found.standard_deviation == spread


def test_compare_needs_pairs():
  with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
    evaluate.compare([0.9, 0.8], [0.9])


@pytest.mark.parametrize(
  ("p_values", "expected"),
  [
    ([0.04], [0.04]),
    ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
    ([0.04, 0.01], [0.04, 0.02]),
    ([0.6, 0.5, None], [1.0, 1.0, None]),
    ([None], [None]),
    ([], []),
  ],
)
def test_holm_by_hand(p_values, expected):
  assert evaluate.holm(p_values) == pytest.approx(expected)


def test_match_prior_gives_the_share():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(2, 1000, 5)) - 3.0 * np.eye(5)[3]
  bias = evaluate.match_prior(logits, (3,), 0.1)
  share = np.mean(np.argmax(logits + bias[:, None], -1) == 3, axis=-1)
  np.testing.assert_allclose(share, 0.1, atol=2e-3)
  assert np.all(bias[:, [0, 1, 2, 4]] == 0) and np.all(bias[:, 3] > 0)


@pytest.mark.parametrize(
  ("classes", "prior"), [((3,), 0.0), ((3,), 1.0), ((), 0.1), ((0, 1), 0.5)]
)
def test_match_prior_refuses(classes, prior):
  with pytest.raises(ValueError, match="match_prior"):
    evaluate.match_prior(np.zeros((4, 2)), classes, prior)


def test_predict_in_chunks_is_predict_at_once():
  weights = {"w": jnp.arange(6.0).reshape(2, 3, 1)}
  images = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)

  def apply(variables, x, train):
    assert train is False
    return x @ variables["w"]

  def same(x):
    return x

  whole = evaluate.predict(apply, weights, images, same)
  parts = evaluate.predict(apply, weights, images, same, chunk=3)
  assert whole.shape == (2, 7, 1)
  np.testing.assert_allclose(parts, whole, rtol=1e-6)
  lazy = evaluate.predict(apply, weights, list(images), same, chunk=3)
  np.testing.assert_allclose(lazy, whole, rtol=1e-6)
  asked = []

  def read(places):
    for row in places:
      asked.append(row.tolist())
      yield images[row]

  given = evaluate.predict(
    apply, weights, [None] * 7, same, chunk=3, together=False, read=read
  )
  np.testing.assert_allclose(given, whole, rtol=1e-6)
  assert asked == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]


def test_cost():
  assert (
    evaluate.parameters({"a": np.zeros((3, 4)), "b": {"c": np.zeros(5)}}) == 17
  )
  assert evaluate.flops(lambda x: x @ jnp.ones((4, 3)), jnp.ones((1, 4))) == 24
  times = evaluate.latency(
    {"a": lambda: jnp.zeros(1), "b": lambda: 1}, repeats=3
  )
  assert set(times) == {"a", "b"} and all(value > 0 for value in times.values())


@pytest.mark.parametrize(
  ("call", "seconds", "rounds"),
  [
    (0.001, 60.0, [50, 50]),  # two rounds to warm up, then 50
    (0.1, 2.0, [19, 19]),  # 20 rounds of two calls take 2 x 2 s
    (0.7, 2.0, [2, 2]),
    (60.0, 2.0, [1, 1]),  # slower than allowed: once, and compiled before
  ],
)
def test_latency_of_slow_networks_keeps_to_its_seconds(
  call, seconds, rounds, monkeypatch
):
  now = [0.0]

  def slow():
    now[0] += call
    return jnp.zeros(1)

  monkeypatch.setattr(evaluate.cost.time, "perf_counter", lambda: now[0])
  found = evaluate.time_rounds({"a": slow, "b": slow}, seconds=seconds)
  assert [len(times) for times in found.values()] == rounds
  np.testing.assert_allclose(found["a"], 1000 * call)
  total = 2 * call * (rounds[0] + 2 if rounds[0] > 1 else 2)
  assert now[0] == pytest.approx(total)


def test_recall_of_some_classes():
  assert evaluate.recall(LOGITS, LABELS, (1,)) == [0.5, 1.0]


def test_networks_that_learnt_together_and_their_mean_answer():
  """Two that err on other images: the surer one decides."""
  probabilities = np.array(
    [[[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.2, 0.8]]]]
  )
  found = evaluate.measure_together(
    classification(2),
    np.log(probabilities),
    np.array([0, 1]),
    ("peer_0", "peer_1"),
  )
  assert found == {
    "test_accuracy": {"peer_0": [0.5], "peer_1": [0.5]},
    "ensemble_accuracy": [1.0],
  }
