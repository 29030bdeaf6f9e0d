"""Standardised targets: scores and exports are in the targets' unit; distributions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

import kdjax
from kdjax.core.task import as_batch, final_score, mean_of
from kdjax.core.units import Units, read_units
from kdjax.evaluate import measure_task
from kdjax.tasks import gaussian_regression, regression
from kdjax.tasks.gaussian_regression import pool

RANDOM = np.random.default_rng(0)
MEAN, SCALE = (2000.0, -3.0), (10.0, 0.5)
TARGETS = np.float32(MEAN + SCALE * RANDOM.normal(size=(40, 2)))
TARGETS[3, 0] = TARGETS[5] = np.nan
ANSWERS = np.float32(RANDOM.normal(size=(2, 40, 4)))
SETTINGS = {"target_mean": MEAN, "target_scale": SCALE}
TASKS = {
  "regression": (regression(2, **SETTINGS), ANSWERS[..., :2]),
  "gaussian_regression": (gaussian_regression(2, **SETTINGS), ANSWERS),
}
KNOWN = np.isfinite(TARGETS)
TOLD = np.array(MEAN) + SCALE * ANSWERS[..., :2]
DEVIATIONS = SCALE * np.exp(ANSWERS[..., 2:] / 2)


def by_sklearn(metric):
  """The mean over outputs of what scikit-learn says of those that are known."""
  return [
    np.mean([metric(TARGETS[k, c], one[k, c]) for c, k in enumerate(KNOWN.T)])
    for one in TOLD
  ]


@pytest.mark.parametrize("name", TASKS)
def test_scores_are_those_of_numbers_in_their_unit(name):
  task, answers = TASKS[name]
  scores = measure_task(task, answers, TARGETS, answers[1])
  scores = {key.removeprefix("test_"): value for key, value in scores.items()}
  error = (TOLD - TARGETS)[:, KNOWN]
  want = {
    "rmse": np.sqrt(np.mean(error**2, axis=-1)),
    "mae": np.mean(np.abs(error), axis=-1),
    "r2": by_sklearn(sklearn.metrics.r2_score),
    "teacher_difference": np.sqrt(np.mean((TOLD - TOLD[1]) ** 2, (1, 2))),
  }
  if name == "gaussian_regression":
    normal = scipy.stats.norm(TOLD[:, KNOWN], DEVIATIONS[:, KNOWN])
    values = np.broadcast_to(TARGETS[KNOWN], TOLD[:, KNOWN].shape)
    want["negative_log_likelihood"] = -normal.logpdf(values).mean(-1)
    for level in (50, 80, 95):
      low, high = normal.interval(level / 100)
      inside = (low <= values) & (values <= high)
      want[f"coverage_{level}"] = inside.mean(-1)
  for key, value in want.items():
    np.testing.assert_allclose(scores[key], value, rtol=1e-4, err_msg=key)
  output = scores["per_output"]
  np.testing.assert_allclose(
    output["rmse"],
    [
      np.mean(np.sqrt(np.mean((TOLD - TARGETS)[:, k, c] ** 2, -1)))
      for c, k in enumerate(KNOWN.T)
    ],
    rtol=1e-4,
  )


@pytest.mark.parametrize("name", TASKS)
def test_metrics_are_sums_over_batches(name):
  """Two halves of a batch, one of them padded, give what the whole gives."""
  task, answers = TASKS[name]
  images = np.zeros((40, 1), np.float32)

  def sums(places, weight):
    item = {"image": images[places], "label": TARGETS[places]}
    batch = as_batch(task, {**item, "weight": np.asarray(weight)})
    rows = task.rows(answers[0, places], batch)
    return {key: metric(rows) for key, metric in task.metrics.items()}

  whole = measure_task(task._replace(measure=None), answers[:1], TARGETS)
  parts = [
    sums(np.arange(25), np.ones(25)),
    sums(np.arange(15, 40), np.arange(15, 40) >= 25),
  ]
  for key in task.metrics:
    total, count = (
      sum(np.asarray(part[key][i], float) for part in parts) for i in (0, 1)
    )
    got = final_score(task, key, mean_of(total, count))
    want = whole.get(key, whole.get(f"test_{key}"))[0]
    assert float(got) == pytest.approx(want, rel=1e-4), key


def test_a_row_of_a_distribution_by_hand():
  """-log N(0; 1, 4) = log(2 pi 4) / 2 + 1 / 8, halved where one of two is known."""
  task = gaussian_regression(2)
  item = {"image": jnp.zeros((1, 1)), "label": jnp.array([[0.0, jnp.nan]])}
  batch = task.batch(item)

  def loss(answers):
    return task.hard_loss(task.rows(answers, batch)).sum()

  answers = jnp.array([[1.0, 7.0, np.log(4.0), 3.0]])
  value, slope = jax.value_and_grad(loss)(answers)
  want = (np.log(8 * np.pi) / 2 + 1 / 8) / 2
  assert float(value) == pytest.approx(want, rel=1e-6)
  np.testing.assert_array_equal(np.array(slope[0] != 0), [1, 0, 1, 0])
  assert task.batch({"image": jnp.zeros((3, 1))}).targets.shape == (3, 2)
  assert task.width == 4 and task.kind == "gaussians"


@pytest.mark.parametrize("log_variances", [False, True])
def test_units_and_back(log_variances):
  units = Units(MEAN, SCALE, log_variances)
  answers = ANSWERS if log_variances else ANSWERS[..., :2]
  told = units.told(answers)
  np.testing.assert_allclose(told[..., :2], TOLD, rtol=1e-6)
  if log_variances:
    np.testing.assert_allclose(told[..., 2:], DEVIATIONS, rtol=1e-5)
  # An offset of 200 deviations leaves some 4 digits.
  np.testing.assert_allclose(units.answers(told), answers, atol=1e-4)
  assert (
    read_units([list(x) if isinstance(x, tuple) else x for x in units]) == units
  )
  assert read_units(None) is None


def test_an_export_gives_numbers_in_their_unit(tmp_path):
  task = gaussian_regression(1, target_mean=50, target_scale=7)
  network = kdjax.from_linen(nn.Dense(2, use_bias=False))
  variables = {"params": {"kernel": jnp.eye(2)}}
  inputs = np.float32(RANDOM.normal(size=(3, 2)))
  files = kdjax.export(
    network, variables, inputs, tmp_path, format="onnx", task=task
  )
  onnxruntime = pytest.importorskip("onnxruntime")
  session = onnxruntime.InferenceSession(str(files["onnx"]))
  (told,) = session.run(None, {session.get_inputs()[0].name: inputs})
  want = np.stack(
    [50 + 7 * inputs[:, 0], 7 * np.exp(inputs[:, 1] / 2)], axis=-1
  )
  np.testing.assert_allclose(told, want, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, (1, 3)])
def test_pooled_distributions_have_the_mixtures_moments(weights):
  answers = np.float32(RANDOM.normal(size=(2, 5, 4)))
  w = np.array(weights or (1, 1)) / sum(weights or (1, 1))
  m, v = answers[..., :2], np.exp(answers[..., 2:])
  mean = np.tensordot(w, m, 1)
  variance = np.tensordot(w, v + m**2, 1) - mean**2
  pooled = pool(answers, weights=weights)
  np.testing.assert_allclose(pooled[:, :2], mean, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(np.exp(pooled[:, 2:]), variance, rtol=1e-4)
