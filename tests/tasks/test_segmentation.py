"""Segmentation as a task: values by hand, pixels that do not count, sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import kdjax
from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.core.task import final_score, mean_of
from kdjax.evaluate import measure_task

TASK = tasks.segmentation(3)
RNG = np.random.default_rng(0)
LABELS = np.array([[[0, 0, 1], [1, 255, -1]], [[0, 1, 0], [0, 0, 0]]])
CALLED = np.array([[[0, 1, 1], [1, 2, 2]], [[0, 0, 0], [0, 0, 0]]])
LOGITS = np.eye(3, dtype=np.float32)[CALLED] * 2


def rows(logits=LOGITS, **others):
  item = {"image": np.zeros((2, 2, 3, 1)), "label": LABELS, **others}
  return TASK.rows(logits, TASK.batch(item))


def test_pixels_to_ignore_count_for_nothing():
  logits = np.array(LOGITS)
  logits[0, 1, 1] = np.nan
  seen = rows(logits)
  assert np.isfinite(seen.answers).all()
  assert seen.weight.tolist() == [True] * 4 + [False] + [True] * 7
  loss = np.asarray(jax.jit(TASK.hard_loss)(seen))
  right = np.log(1 + 2 * np.exp(-2))
  want = np.where(CALLED == LABELS, right, right + 2)
  want[0, 1, 1:] = 0  # ignored, not known
  counts = (LABELS != 255).ravel()
  np.testing.assert_allclose(loss[counts], want.ravel()[counts], rtol=1e-6)


def test_mean_iou_by_hand():
  """0: 6 of 8; 1: 2 of 4; 2 neither occurs nor is called where it is known."""
  total, count = TASK.metrics["mean_iou"](rows())
  assert total.tolist() == [6, 2, 0] and count.tolist() == [8, 4, 0]
  score = final_score(TASK, "mean_iou", mean_of(total, count))
  assert float(score) == pytest.approx(0.625)
  assert [float(x) for x in TASK.metrics["accuracy"](rows())] == [8, 10]
  half = rows(weight=np.array([1, 0]))
  assert [x.tolist() for x in TASK.metrics["mean_iou"](half)] == [
    [1, 2, 0],
    [2, 3, 0],
  ]


def test_logits_of_another_size_are_resized():
  small = RNG.normal(size=(2, 1, 1, 3)).astype(np.float32)
  got = rows(small).answers.reshape(LOGITS.shape)
  counts = (LABELS != 255)[..., None]
  np.testing.assert_allclose(got * counts, small * counts, rtol=1e-6)


def test_scores_are_those_of_all_batches_at_once():
  """A mean of means of batches would be another number."""
  images = RNG.normal(size=(5, 4, 4, 2)).astype(np.float32)
  data = {"image": images, "label": RNG.integers(0, 3, (5, 4, 4))}
  network = kdjax.from_apply(lambda v, x, *, train, rngs: x @ v["params"])
  start = {"params": jnp.asarray(RNG.normal(size=(2, 3)), jnp.float32)}
  teacher = kdjax.live_teacher(network, {"params": 3 * start["params"]})
  whole = kdjax.evaluate(network, start, data, task=TASK, teacher=teacher)
  cut = kdjax.evaluate(network, start, data, task=TASK, batch_size=2)
  logits = images @ start["params"]
  called = np.asarray(logits).argmax(-1)
  want = measure_task(TASK, called[None], data["label"])
  assert whole["mean_iou"] == pytest.approx(want["test_mean_iou"][0])
  assert cut == pytest.approx({name: whole[name] for name in cut})
  assert whole["agreement"] == 1
  done = kdjax.distill(
    network, teacher, data, method="kd:0.5 + ce:0.5", task=TASK,
    optimizer=optax.sgd(0.1), epochs=2, key=jax.random.key(0), batch_size=2,
    variables=start, score_on=data, progress=False, patience=5,
  )  # fmt: skip
  assert done.history[-1]["train_mean_iou"] < 1
  assert done.metrics["mean_iou"] == pytest.approx(
    kdjax.evaluate(network, done.variables, data, task=TASK)["mean_iou"]
  )


@pytest.mark.parametrize(
  ("call", "says"),
  [
    (lambda: tasks.segmentation(1), "classes= takes a whole number >= 2"),
    (lambda: tasks.segmentation(3, ignore=2), "none of the 3 classes.*got 2"),
    (lambda: rows(LOGITS[..., :2]), r"reads logits of pixels.*\(2, 2, 3, 2\)"),
    (lambda: rows(LOGITS[:, 0]), r"are \(2, 3, 3\)"),
    (
      lambda: TASK.batch({"image": LOGITS, "label": LABELS / 2}),
      "one whole number a pixel",
    ),
  ],
)
def test_what_is_wrong_is_named(call, says):
  with pytest.raises(UserError, match=says):
    call()
