"""Multi-label classification as a task: values by hand, the unknown, misfits."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import losses

import kdjax
from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.evaluate import average_precision, measure_task
from kdjax.methods import make_objective

NAN = float("nan")
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
    ("subset_accuracy", [1, 1], (0, 2)),
    ("subset_accuracy", [0, 1], (0, 1)),
    ("accuracy", [0, 1], (0, 2)),
  ],
)
def test_scores_by_hand(metric, weight, want):
  counted = rows(weight=jnp.array(weight))
  assert tuple(map(float, TASK.metrics[metric](counted))) == want


PERFECT = np.where(LABELS > 0, 3.0, -3.0).astype(np.float32)


def test_each_label_has_an_f1_and_macro_f1_is_their_mean():
  both, count = TASK.metrics["macro_f1"](rows())
  np.testing.assert_array_equal(both, [2, 0, 0])
  np.testing.assert_array_equal(count, [3, 0, 2])
  # The second label has no yes and is not called: it is left out.
  found = measure_task(TASK, np.stack([LOGITS, PERFECT]), LABELS)
  np.testing.assert_allclose(found["macro_f1"], [1 / 3, 1])
  np.testing.assert_allclose(found["subset_accuracy"], [0, 1])


def test_mean_average_precision_is_that_of_the_whole_set():
  """However it is cut into batches, of which the last is filled up."""
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(10, 3)).astype(np.float32)
  labels = rng.integers(-1, 2, (10, 3))
  labels[:, 2] = 0  # without a yes it is left out
  want = average_precision(inputs, labels)[:2].mean()
  network = kdjax.from_linen(nn.Dense(3), classifier=None)
  variables = {"params": {"kernel": np.eye(3), "bias": np.zeros(3)}}
  for size in (4, 10):
    found = kdjax.evaluate(
      network, variables, {"image": inputs, "label": labels}, task=TASK,
      batch_size=size,
    )  # fmt: skip
    assert found["mean_average_precision"] == pytest.approx(want, abs=1e-6)


def test_an_unknown_label_may_be_nan_and_counts_nowhere():
  marked = np.where(LABELS < 0, np.nan, LABELS).astype(np.float32)
  batch = TASK.batch({"image": jnp.zeros((2, 4)), "label": marked})
  got, want = TASK.rows(LOGITS, batch), rows()
  np.testing.assert_array_equal(got.targets, want.targets)
  one, other = LOGITS.copy(), LOGITS.copy()
  other[LABELS < 0] = 9.0
  said = [measure_task(TASK, x[None], y) for x, y in
          ((one, LABELS), (other, LABELS), (one, marked))]  # fmt: skip
  assert said[0] == said[1] == said[2]


@pytest.mark.parametrize("weight", [3.0, (2.0, 1.0, 5.0)])
def test_a_yes_weighs_more_in_the_hard_loss(weight):
  task = tasks.multilabel(3, positive_weight=weight)
  assert task is tasks.multilabel(3, positive_weight=np.float32(weight))
  plain = np.asarray(TASK.hard_loss(rows())).reshape(2, 3)
  want = np.where(LABELS == 1, np.broadcast_to(weight, (2, 3)), 1) * plain
  got = jax.jit(task.hard_loss)(rows())
  np.testing.assert_allclose(got, want.ravel(), rtol=1e-6)


def test_examples_weigh_as_much_as_they_say():
  """A weight is no mask: the mean is sum(w * loss) / sum(w) over all rows."""
  network = kdjax.from_apply(
    lambda variables, x, **_: x * variables["params"]["scale"]
  )
  goal = kdjax.objective(make_objective("ce:1", task=TASK), network, TASK)
  weight = np.float32([0.25, 2.0])
  batch = TASK.batch({"image": LOGITS, "label": LABELS, "weight": weight})
  params, state = goal.init(
    jax.random.key(0), {"params": {"scale": 1.0}}, None, batch
  )
  found, _ = jax.jit(lambda p: goal.loss(
    p, state, None, batch, step=0, key=jax.random.key(0)))(params)  # fmt: skip
  each = np.asarray(TASK.hard_loss(rows())).reshape(2, 3)
  want = (weight[:, None] * each).sum() / (3 * weight.sum())
  assert float(found) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(
  ("text", "weights"),
  [
    ("kd(temperature=1)", np.ones((2, 3))),
    ("binary_kd(temperature=1)", np.ones((2, 3))),
    (
      "binary_kd(temperature=1, labels=True, positive_weight=5)",
      np.where(LABELS > 0, 5, LABELS == 0),
    ),
  ],
)
def test_a_teacher_is_heard_question_by_question(text, weights):
  teacher = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], np.float32)
  method = make_objective(f"{text}:1", task=TASK)
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
  assert float(loss) == pytest.approx((weights * want).mean(), rel=1e-5)


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
      r"'label' holds 0.5; multilabel\(3\) reads 1 for yes",
    ),
    (
      lambda: TASK.batch({"image": LOGITS, "label": LABELS[:, 0]}),
      r"has the shape \(2,\)",
    ),
    (
      lambda: TASK.batch({"image": LOGITS, "label": LABELS + 1}),
      "'label' holds 2; multilabel",
    ),
    (
      lambda: TASK.batch({"image": LOGITS, "label": LABELS.astype(str)}),
      "the type <U.*; multilabel",
    ),
    *(
      (lambda given=given: tasks.multilabel(3, positive_weight=given), says)
      for given in (0, -1.0, NAN, "2", (1, 2), (1, 2, 0), {}, [[1, 2, 3]])
      for says in ("positive_weight= takes a number > 0, or 3 of them",)
    ),
  ],
)
def test_what_is_wrong_is_named(call, says):
  with pytest.raises(UserError, match=says):
    call()
