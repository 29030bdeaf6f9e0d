"""Multi-label classification as a task: values by hand, the unknown, misfits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.evaluate import measure_task
from kdjax.methods import make_objective

TASK = tasks.multilabel(3)
LOGITS = np.array([[2.0, -1.0, 0.5], [1.0, 0.3, -2.0]], np.float32)
LABELS = np.array([[1, 0, 0], [0, -1, 1]], np.int32)


def sigmoid(x):
  return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def rows(logits=LOGITS, **others):
  batch = TASK.batch({"image": jnp.zeros((2, 4)), "label": LABELS, **others})
  return TASK.rows(logits, batch)


def test_the_hard_loss_is_binary_cross_entropy_where_a_label_is_known():
  z, y = np.asarray(LOGITS, float).ravel(), np.asarray(LABELS).ravel()
  want = np.where(y < 0, 0, np.log1p(np.exp(-z * np.where(y > 0, 1, -1))))
  np.testing.assert_allclose(jax.jit(TASK.hard_loss)(rows()), want, rtol=1e-6)


@pytest.mark.parametrize(
  ("metric", "weight", "want"),
  [
    # Called yes: (0, 0), (0, 2), (1, 0); are yes: (0, 0), (1, 2).
    ("f1", [1, 1], (2, 5)),
    ("f1", [1, 0], (2, 3)),
    ("accuracy", [1, 1], (2, 5)),
    ("accuracy", [0, 1], (0, 2)),
  ],
)
def test_scores_by_hand(metric, weight, want):
  counted = rows(weight=jnp.array(weight))
  assert tuple(map(float, TASK.metrics[metric](counted))) == want


def test_a_teacher_is_heard_question_by_question():
  teacher = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], np.float32)
  method = make_objective("kd(temperature=1):1", task=TASK)
  student, known = rows(), rows(teacher)
  inputs = Inputs(
    Outputs(student.answers, {}),
    Outputs(known.answers, {}),
    student.targets,
    0,
    jnp.ones(6, bool),
  )
  params, state = method.init(jax.random.key(0), inputs)
  p, q = sigmoid(teacher), sigmoid(LOGITS)
  want = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
  loss = jax.jit(method.apply)(params, state, inputs)[0]
  assert float(loss) == pytest.approx(want.mean(), rel=1e-5)


def test_teachers_are_pooled_by_the_probability_of_yes():
  pooled = jax.jit(TASK.pool)(np.stack([LOGITS, -LOGITS, 2 * LOGITS]))
  want = sum(sigmoid(k * LOGITS) for k in (1, -1, 2)) / 3
  np.testing.assert_allclose(sigmoid(pooled), want, rtol=1e-5)
  answers = rows(pooled).answers
  assert np.max(losses.forward_kl(answers, answers)) == 0


def test_what_a_run_says_of_networks():
  found = measure_task(TASK, np.stack([LOGITS, -LOGITS]), np.asarray(LABELS))
  np.testing.assert_allclose(found["test_f1"], [0.4, 0.5])
  assert tasks.make_task("multilabel(3)") is TASK


def test_items_without_labels():
  batch = TASK.batch({"image": jnp.zeros((2, 4))})
  assert batch.targets.tolist() == [[-1] * 3] * 2
  assert not TASK.metrics["f1"](TASK.rows(LOGITS, batch))[1]


@pytest.mark.parametrize(
  ("call", "says"),
  [
    (lambda: tasks.multilabel(0), "labels= takes a whole number >= 1; got 0"),
    (lambda: rows(LOGITS[:, :2]), r"reads one logit a label.*are \(2, 2\)"),
    (
      lambda: TASK.batch({"image": LOGITS, "label": np.float32(LABELS / 2)}),
      r"'label' has the shape \(2, 3\) and the type float32; multilabel\(3\)",
    ),
    (
      lambda: TASK.batch({"image": LOGITS, "label": LABELS[:, 0]}),
      r"has the shape \(2,\)",
    ),
  ],
)
def test_what_is_wrong_is_named(call, says):
  with pytest.raises(UserError, match=says):
    call()
