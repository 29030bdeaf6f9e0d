"""Embeddings as a task: directions by hand, missing targets, misfits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.core.task import Rows
from kdjax.evaluate import measure_task
from kdjax.methods import make_objective

TASK = tasks.embedding(2)
ANSWERS, TARGETS = np.array(
  [
    [[3.0, 4.0], [1.0, 0.0], [1.0, 1.0], [2.0, 1.0]],
    [[1.0, 0.0], [-5.0, 0.0], [0.0, 0.0], [np.nan, 1.0]],
  ],
  np.float32,
)
HARD_LOSS = jax.jit(TASK.hard_loss)


def rows():
  return TASK.rows(
    ANSWERS, TASK.batch({"image": jnp.zeros((4, 3)), "label": TARGETS})
  )


def test_losses_and_scores_by_hand():
  np.testing.assert_allclose(HARD_LOSS(rows()), [0.4, 2, 0, 0], atol=1e-6)
  total, count = jax.jit(TASK.metrics["cosine"])(rows())
  assert float(total) == pytest.approx(-0.4) and int(count) == 2
  found = measure_task(TASK, np.asarray(ANSWERS)[None], np.asarray(TARGETS))
  assert found["test_cosine"] == [pytest.approx(-0.2)]


def test_an_answer_without_a_target_has_no_gradient():
  def loss(answers):
    return TASK.hard_loss(Rows(answers, TARGETS, jnp.ones(4))).sum()

  gradient = np.asarray(jax.jit(jax.grad(loss))(ANSWERS))
  assert np.isfinite(gradient).all() and not gradient[2:].any()
  assert gradient[0].any()


def test_items_without_targets():
  batch = TASK.batch({"image": jnp.zeros((4, 3))})
  assert np.isnan(batch.targets).all() and batch.targets.shape == (4, 2)


@pytest.mark.parametrize(
  ("call", "says"),
  [
    (lambda: tasks.embedding(0), "size= takes a whole number >= 1"),
    (
      lambda: TASK.batch({"image": ANSWERS, "label": ANSWERS[:, :1]}),
      r"'label' has the shape \(4, 1\); embedding\(2\) reads vectors, \(B, 2\)",
    ),
    (
      lambda: make_objective("kd", task=TASK),
      "kd reads categories",
    ),
  ],
)
def test_what_is_wrong_is_named(call, says):
  with pytest.raises(UserError, match=says):
    call()
