"""Classes that count differently in the labels' loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_class_weight

from kdjax import data, tasks
from kdjax.core.errors import UserError
from kdjax.core.method import Inputs, Outputs
from kdjax.core.task import Rows
from kdjax.methods import make_objective

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, -1, 2, 0], np.int32)
WEIGHTS = (0.5, 3.0, 2.0)
# Of each label, by NumPy; what has no label adds nothing.
WANT = np.where(
  LABELS >= 0,
  -np.take(WEIGHTS, LABELS) * log_softmax(LOGITS, -1)[np.arange(6), LABELS],
  0.0,
)


@pytest.mark.parametrize(
  "weight", [None, RNG.uniform(0.1, 3, 50)], ids=["alike", "weighed"]
)
def test_balanced_is_scikit_learns(weight):
  labels = RNG.choice(4, 50, p=(0.6, 0.3, 0.06, 0.04))
  counts = data.count_classes(labels, 4, weight)
  want = compute_class_weight("balanced", classes=np.arange(4), y=labels)
  if weight is not None:
    want = weight.sum() / (4 * np.bincount(labels, weights=weight))
  weights = data.balanced_class_weights(counts)
  np.testing.assert_allclose(weights, want)
  assert (counts * weights).sum() == pytest.approx(counts.sum())


def test_a_class_without_examples_weighs_one():
  assert data.balanced_class_weights([4, 0, 4]) == (1.0, 1.0, 1.0)
  assert data.count_classes(np.array([[3, 0], [-1, 255]]), 4).tolist() == [
    1, 0, 0, 1,
  ]  # fmt: skip


@pytest.mark.parametrize("name", ["classification", "text_classification"])
def test_the_labels_loss_is_weighed(name):
  task = tasks.make_task(f"{name}(3, class_weights={WEIGHTS})")
  rows = Rows(LOGITS, LABELS, np.ones(6, bool))
  np.testing.assert_allclose(task.hard_loss(rows), WANT, rtol=1e-5)
  inputs = Inputs(Outputs(jnp.asarray(LOGITS), {}), None, LABELS, 0)
  loss, *_ = make_objective("hard", task=task).apply(
    {"ce": ()}, {"ce": ()}, inputs
  )
  assert float(loss) == pytest.approx(WANT.mean(), rel=1e-5)


def test_pixels_are_weighed_and_mixed_labels_each():
  task = tasks.segmentation(3, class_weights=WEIGHTS)
  batch = task.batch(
    {"image": jnp.zeros((1, 2, 3, 1)), "label": LABELS.reshape(1, 2, 3)}
  )
  rows = task.rows(jnp.asarray(LOGITS).reshape(1, 2, 3, 3), batch)
  np.testing.assert_allclose(task.hard_loss(rows), WANT, rtol=1e-5)
  partners = np.roll(LABELS, 1)
  share = jnp.full(6, 0.25)
  inputs = Inputs(
    Outputs(jnp.asarray(LOGITS), {}), None, LABELS, 0,
    share=share, partner_labels=partners,
  )  # fmt: skip
  loss, *_ = make_objective("ce:1", task=task).apply(
    {"ce": ()}, {"ce": ()}, inputs
  )
  other = (
    -np.take(WEIGHTS, partners)
    * log_softmax(LOGITS, -1)[np.arange(6), partners]
    * (partners >= 0)
  )
  assert float(loss) == pytest.approx(
    (0.25 * WANT + 0.75 * other).mean(), rel=1e-5
  )


def test_smoothed_labels_are_weighed_by_their_class():
  method = make_objective(
    "ce:1", label_smoothing=0.3, task=tasks.classification(3, class_weights=WEIGHTS)
  )  # fmt: skip
  inputs = Inputs(Outputs(jnp.asarray(LOGITS), {}), None, LABELS, 0)
  loss, *_ = method.apply({"ce": ()}, {"ce": ()}, inputs)
  smooth = 0.7 * np.eye(3)[LABELS] + 0.1
  values = -(smooth * log_softmax(LOGITS, -1)).sum(-1)
  want = np.where(LABELS >= 0, np.take(WEIGHTS, LABELS) * values, 0).mean()
  assert float(loss) == pytest.approx(want, rel=1e-5)


def test_without_weights_no_operation_is_added():
  def program(task):
    method = make_objective("kd:0.9 + ce:0.1", task=task)
    outputs = Outputs(jnp.asarray(LOGITS), {})
    inputs = Inputs(outputs, outputs, LABELS, 0)
    params = method.init(jax.random.key(0), inputs)
    return str(jax.make_jaxpr(method.apply)(*params, inputs))

  plain = program(tasks.classification(3))
  assert plain == program(None)
  assert plain != program(tasks.classification(3, class_weights=WEIGHTS))
  assert tasks.classification(3) is tasks.classification(3, class_weights=None)


def test_what_nobody_made_numbers_of_is_refused():
  task = tasks.classification(3, class_weights="balanced")
  for call in (
    lambda: make_objective("hard", task=task),
    lambda: task.hard_loss(Rows(LOGITS, LABELS, np.ones(6, bool))),
  ):
    with pytest.raises(UserError, match="balanced_class_weights"):
      call()


@pytest.mark.parametrize(
  "weights",
  [(1, 2), (1, 2, 0), (1, 2, -1), (1, 2, np.nan), (1, 2, np.inf), 2.0, "even", ((1, 2, 3),)],
)  # fmt: skip
def test_refused(weights):
  with pytest.raises(UserError, match="class_weights"):
    tasks.classification(3, class_weights=weights)
