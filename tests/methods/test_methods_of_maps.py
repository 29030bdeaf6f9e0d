"""Methods on a task that answers at every pixel: what does not count, counts nowhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import tasks
from kdjax.core.errors import UserError
from kdjax.methods import make_objective
from kdjax.train.objective import objective

TASK = tasks.segmentation(3)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 4, 4, 2)).astype(np.float32)
LABELS = RNG.integers(0, 3, (4, 4, 4))
LABELS[:, 0] = 255
LABELS[1, :, 1] = -1
WEIGHTS = jnp.asarray(RNG.normal(size=(2, 3)), jnp.float32)
NETWORK = kdjax.from_apply(lambda v, x, *, train, rngs: x @ v["params"])
OBJECTIVES = [
  "kd:1", "cwd(answers=True):3 + ce:1", "kd:1 + cwd(answers=True):1", "dkd",
  "dist", "logit_mse", "reverse_kl", "nkd", "ttm", "wsld",
]  # fmt: skip


def loss_of(method, images, teacher_images):
  goal = objective(make_objective(method, task=TASK, steps=9), NETWORK, TASK)
  teacher = kdjax.live_teacher(NETWORK, {"params": 2 * WEIGHTS[::-1]})
  batch = {"image": images, "label": LABELS, "teacher_inputs": teacher_images}
  params, state = goal.init(
    jax.random.key(0), {"params": WEIGHTS}, teacher, batch
  )

  def loss(params):
    return goal.loss(
      params, state, teacher, batch, step=0, key=jax.random.key(1)
    )[0]

  return jax.value_and_grad(loss)(params)


@pytest.mark.parametrize("method", OBJECTIVES)
def test_pixels_to_ignore_change_nothing(method):
  value, slope = loss_of(method, IMAGES, IMAGES)
  ignored = (LABELS == 255)[..., None]
  other = np.where(ignored, 5 * IMAGES + 3, IMAGES)
  changed, changed_slope = loss_of(method, other, other)
  np.testing.assert_allclose(value, changed, rtol=1e-6)
  for a, b in zip(*map(jax.tree.leaves, (slope, changed_slope)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
  assert value > 0 and np.abs(jax.tree.leaves(slope)[0]).max() > 0


def test_pixels_of_no_known_class_still_hear_the_teacher():
  value, _ = loss_of("kd:1", IMAGES, IMAGES)
  unknown = (LABELS == -1)[..., None]
  changed, _ = loss_of("kd:1", IMAGES, np.where(unknown, -IMAGES, IMAGES))
  assert abs(value - changed) > 1e-3


def test_pixelwise_kd_and_cwd_by_hand():
  """Means over the pixels that count, of each image's channels for cwd."""
  student, teacher = (
    (IMAGES @ np.asarray(w)).astype(float) for w in (WEIGHTS, 2 * WEIGHTS[::-1])
  )
  counts = LABELS != 255

  def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)

  p, q = softmax(teacher / 2), softmax(student / 2)
  kl = 4 * (p * np.log(p / q)).sum(-1)
  value, _ = loss_of("kd(temperature=2):1", IMAGES, IMAGES)
  np.testing.assert_allclose(value, kl[counts].mean(), rtol=1e-5)
  total = 0
  for s, t, there in zip(student, teacher, counts, strict=True):
    p, q = (softmax(x[there] / 4, axis=0) for x in (t, s))
    total += there.sum() * 16 * (p * np.log(p / q)).sum(0).mean()
  value, _ = loss_of("cwd(answers=True):1", IMAGES, IMAGES)
  np.testing.assert_allclose(value, total / counts.sum(), rtol=1e-5)


def test_maps_of_answers_are_needed():
  task = tasks.classification(3)
  goal = objective(
    make_objective("cwd(answers=True):1", task=task), NETWORK, task
  )
  teacher = kdjax.live_teacher(NETWORK, {"params": WEIGHTS})
  batch = {"image": IMAGES[:, 0, 0], "label": LABELS[:, 1, 1]}
  with pytest.raises(UserError, match="one row an example"):
    params, state = goal.init(
      jax.random.key(0), {"params": WEIGHTS}, teacher, batch
    )
    goal.loss(params, state, teacher, batch, step=0, key=jax.random.key(1))
