"""Regression as a task: values by hand, unknown targets, misfits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.core.task import Rows, final_score
from kdjax.evaluate import measure_task
from kdjax.methods import make_objective
from kdjax.tasks import regression

ANSWERS = jnp.array([[1.0, 0.0], [0.0, 4.0], [2.0, 2.0]])
TARGETS = jnp.array([[0.0, 0.0], [0.0, 1.0], [jnp.nan, 2.0]])
TASK = regression(2)


def rows(task=TASK, weight=None):
  batch = task.batch({"image": jnp.zeros((3, 4)), "label": TARGETS})
  if weight is not None:
    batch = batch._replace(weight=jnp.asarray(weight))
  return task.rows(ANSWERS, batch)


@pytest.mark.parametrize(
  ("task", "want"),
  [
    (TASK, [0.5, 4.5, 0.0]),
    # Beyond 1 it is linear: |d| - 1/2.
    (regression(2, huber=1.0), [0.25, 1.25, 0.0]),
    # Targets become (t - 1) / 2: -1/2, -1/2; -1/2, 0; unknown, 1/2.
    (regression(2, target_mean=1, target_scale=2), [1.25, 8.125, 1.125]),
    (
      regression(2, target_mean=(1, 0), target_scale=(2, 1)),
      [1.125, 4.625, 0.0],
    ),
  ],
)
def test_hard_loss_by_hand(task, want):
  np.testing.assert_allclose(task.hard_loss(rows(task)), want)


@pytest.mark.parametrize(
  ("metric", "weight", "want"),
  [
    ("rmse", None, np.sqrt(2.0)),
    ("rmse", [1, 0, 1], np.sqrt(1 / 3)),
    ("mae", None, 0.8),
  ],
)
def test_scores_by_hand(metric, weight, want):
  total, count = TASK.metrics[metric](rows(weight=weight))
  got = final_score(TASK, metric, float(total) / float(count))
  assert got == pytest.approx(want)


def test_an_unknown_target_has_no_gradient():
  def loss(answers):
    return TASK.hard_loss(Rows(answers, TARGETS, jnp.ones(3))).sum()

  gradient = jax.grad(loss)(ANSWERS)
  assert np.isfinite(gradient).all() and not gradient[2].any()


def test_items_without_targets_and_one_number_for_each():
  bare = TASK.batch({"image": jnp.zeros((2, 4))})
  assert bare.targets.shape == (2, 2) and np.isnan(bare.targets).all()
  assert TASK.sample(jnp.zeros((3, 4, 4, 1))).targets.shape == (3, 2)
  one = regression()
  batch = one.batch({"image": jnp.zeros((2, 4)), "label": jnp.array([1.0, 2])})
  assert one.rows(jnp.zeros((2, 1)), batch).targets.tolist() == [[1.0], [2.0]]


def test_an_objective_is_the_sum_of_labels_and_teacher():
  method = make_objective("logit_mse:0.5 + ce:0.5", task=TASK)
  batch = TASK.batch({"image": jnp.zeros((3, 4)), "label": TARGETS})
  seen = TASK.rows(ANSWERS, batch)
  inputs = Inputs(
    Outputs(seen.answers, {}),
    Outputs(jnp.zeros((3, 2)), {}),
    seen.targets,
    0,
    jnp.ones(3, bool),
  )
  params, state = method.init(jax.random.key(0), inputs)
  loss, _, metrics = method.apply(params, state, inputs)
  parts = {
    name: float(total / count) for name, (total, count) in metrics.items()
  }
  assert parts["ce"] == pytest.approx(5 / 3)
  assert float(loss) == pytest.approx(0.5 * (parts["ce"] + parts["logit_mse"]))
  with pytest.raises(UserError, match="kd reads categories"):
    make_objective("kd", task=TASK)


def test_partners_of_mixed_inputs_count_the_rest():
  """Answers 0, targets 2 and partners' 4: 0.75 * 4 + 0.25 * 16 = 7."""
  task = regression()
  inputs = Inputs(
    Outputs(jnp.zeros((3, 1)), {}),
    None,
    jnp.full((3, 1), 2.0),
    0,
    share=jnp.full(3, 0.75),
    partner_labels=jnp.full((3, 1), 4.0),
  )
  loss, _, _ = make_objective("hard", task=task).apply(
    {"ce": ()}, {"ce": ()}, inputs
  )
  assert float(loss) == pytest.approx(7.0)


def test_what_a_run_says_of_networks():
  found = measure_task(TASK, np.stack([ANSWERS, 0 * ANSWERS]), TARGETS)
  scores = {"test_rmse", "mae", "r2", "per_output", "test_examples"}
  assert found.keys() == scores
  np.testing.assert_allclose(found["test_rmse"], np.sqrt([2.0, 1.0]))
  assert found["per_output"]["known"] == [2, 3]


def test_the_same_settings_are_the_same_task():
  assert tasks.make_task("regression(2)") is TASK
  # As a report makes it anew.
  assert tasks.make_task("regression", classes=2) is regression()
  assert (TASK.kind, TASK.better) == ("values", -1)


@pytest.mark.parametrize(
  ("text", "says"),
  [
    ("regression(0)", "outputs= takes a whole number >= 1; got 0"),
    ("regression(2, huber=-1)", "huber= takes a number > 0, or None; got -1"),
    ("regression(2, target_scale=0)", "target_scale= takes a number > 0, or 2"),
    ("regression(2, target_scale=(1, -1))", "target_scale= takes"),
    (
      "regression(2, target_mean=(1, 2, 3))",
      "target_mean= takes a number, or 2",
    ),
    ("regression(target_mean='x')", "target_mean= takes"),
    ("regression(target_mean=1e999)", "target_mean= takes"),
    ("gaussian_regression(0)", "outputs= takes a whole number >= 1; got 0"),
    ("gaussian_regression(target_scale=-1)", "target_scale= takes"),
    ("gaussian_regression(huber=1)", "no argument 'huber'"),
    ("regresion", "did you mean 'regression'"),
  ],
)
def test_what_is_wrong_is_named(text, says):
  with pytest.raises(UserError, match=says):
    tasks.make_task(text)


def test_another_number_of_targets_is_refused():
  batch = TASK.batch({"image": jnp.zeros((3, 4)), "label": jnp.zeros(3)})
  with pytest.raises(
    UserError, match=r"targets of the shape \(3, 2\), .*\(3,\)"
  ):
    TASK.rows(ANSWERS, batch)
