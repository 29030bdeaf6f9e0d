"""Classification as a task: values by hand, and that it is what was there."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.core.task import Rows
from kdjax.evaluate import accuracy, negative_log_likelihood, score
from kdjax.methods import make_objective

LOGITS = jnp.array(
  [[2.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]]
)
LABELS = jnp.array([0, 2, 2, -1])
TASK = tasks.classification(3)


def item(**others):
  return {"image": jnp.zeros((4, 2)), "label": LABELS} | others


def rows(**others):
  return TASK.rows(LOGITS, TASK.batch(item(**others)))


def test_a_batch_of_an_item():
  batch = TASK.batch(
    item(weight=jnp.array([1, 1, 0, 1]), index=jnp.arange(4, 8))
  )
  assert list(batch.inputs) == ["image"] and batch.targets is LABELS
  assert batch.index.tolist() == [4, 5, 6, 7]
  assert batch.position.tolist() == [0, 1, 2, 3]


def test_an_item_without_labels_has_none():
  batch = TASK.batch({"image": jnp.zeros((2, 2))})
  assert batch.targets.tolist() == [-1, -1]
  assert int(TASK.metrics["accuracy"](TASK.rows(LOGITS[:2], batch))[1]) == 0


def test_entries_have_the_names_that_one_gives():
  task = tasks.classification(3, inputs="scan", label="grade")
  batch = task.batch({"scan": jnp.zeros((4, 2)), "grade": LABELS, "id": "x"})
  assert list(batch.inputs) == ["scan"] and batch.targets is LABELS


def test_a_row_is_an_example():
  weights = TASK.weights(TASK.batch(item(weight=jnp.array([1, 1, 0, 1]))))
  assert weights.rows is weights.examples
  assert weights.rows.tolist() == [1, 1, 0, 1]


def test_hard_loss_by_hand():
  log_z = np.log(np.exp(LOGITS).sum(-1))
  want = [log_z[0] - 2, log_z[1] - 0, log_z[2] - 3, 0]
  np.testing.assert_allclose(TASK.hard_loss(rows()), want, rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_hard_loss_is_the_ce_of_every_objective(masked):
  logits = LOGITS.at[0, 1].set(-jnp.inf).at[1, 2].set(-jnp.inf)
  logits = logits if masked else LOGITS

  def of_task(logits):
    return TASK.hard_loss(Rows(logits, LABELS, jnp.ones(4))).mean()

  def of_method(logits):
    inputs = Inputs(Outputs(logits, {}), None, LABELS, 0)
    return make_objective("hard", task=TASK).apply(
      {"ce": ()}, {"ce": ()}, inputs
    )[0]

  for one, other in zip(
    jax.jit(jax.value_and_grad(of_task))(logits),
    jax.jit(jax.value_and_grad(of_method))(logits),
    strict=True,
  ):
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_scores_count_what_has_weight_and_a_label():
  got = [int(x) for x in TASK.metrics["accuracy"](rows())]
  assert got == [2, 3]
  got = TASK.metrics["accuracy"](rows(weight=jnp.array([0, 1, 1, 1])))
  assert [int(x) for x in got] == [1, 2]


@pytest.mark.parametrize(
  ("name", "whole"),
  [
    ("accuracy", accuracy),
    ("negative_log_likelihood", negative_log_likelihood),
  ],
)
def test_sums_over_batches_are_the_metric_of_the_whole_set(name, whole):
  rng = np.random.default_rng(0)
  logits, labels = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
  logits, labels = logits.astype(np.float32), labels.astype(np.int32)
  total = count = 0.0
  for start in range(0, 64, 16):
    part = np.arange(start, start + 16)
    batch = TASK.batch({"image": part, "label": labels[part % 50]})
    batch = batch._replace(weight=part < 50)
    own = TASK.metrics[name](TASK.rows(logits[part % 50], batch))
    total, count = total + float(own[0]), count + float(own[1])
  assert total / count == pytest.approx(whole(logits, labels), rel=1e-6)


def test_a_set_is_scored_as_before_to_the_last_bit():
  rng = np.random.default_rng(1)
  logits, labels = rng.normal(size=(2, 97, 5)), rng.integers(0, 5, 97)
  want = accuracy(logits, labels).tolist()
  assert score(tasks.classification(5), logits, labels) == want


def test_the_same_settings_are_the_same_task():
  made = tasks.make_task("classification(classes=7)")
  assert made is tasks.make_task("classification", classes=7)
  assert made is tasks.classification(7) and made.better == 1


@pytest.mark.parametrize(
  ("text", "says"),
  [
    ("clasification", "did you mean 'classification'?"),
    ("classification", "classes"),
    ("classification(1)", "task multilabel(1)); got 1"),
    ("classification(3, lable='y')", "lable"),
  ],
)
def test_what_is_wrong_is_named(text, says):
  with pytest.raises(UserError, match=re.escape(says)):
    tasks.make_task(text)


def test_samples_are_right_and_ambiguous_one_of_a_class():
  logits = np.array(
    [[3.0, 0, 0], [2, 1.5, 0], [0, 1, 0], [9, 0, 0.0], [0, 0, 1.0]]
  )
  labels = np.array([0, 0, 1, 2, 2])
  assert TASK.samples(logits, labels) == [1, 2, 4]


def test_texts_are_handed_over_with_their_mask():
  task = tasks.text_classification(3, mask="there")
  assert task is tasks.text_classification(3, mask="there")
  tokens = jnp.array([[4, 5], [6, 0]])
  item = {"tokens": tokens, "label": jnp.array([0, 2]), "there": tokens > 0}
  batch = task.batch(item)
  assert batch.inputs.keys() == {"tokens", "there"}
  assert batch.targets.tolist() == [0, 2]
  del item["there"]
  assert task.batch(item).inputs.keys() == {"tokens"}
  assert (task.name, task.score) == ("text_classification", "accuracy")


def test_a_label_that_is_no_class_is_not_scored():
  beyond = rows(label=jnp.array([0, 2, 7, -1]))
  without = rows(label=jnp.array([0, 2, -1, -1]))
  for metric in TASK.metrics.values():
    np.testing.assert_allclose(metric(beyond), metric(without))


@pytest.mark.parametrize(
  "labels",
  [np.zeros(4), np.full(4, np.nan), np.zeros((4, 1), int), np.eye(4)],
  ids=["float", "nan", "column", "one-hot"],
)
def test_labels_that_are_no_ids_are_refused(labels):
  with pytest.raises(UserError, match="'label' has the shape .* whole number"):
    TASK.batch(item(label=labels))
