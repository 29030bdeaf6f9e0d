"""A weight is a weight: an example that weighs 2 counts as if it were there twice."""

import jax
import numpy as np
import optax
import pytest

import kdjax
from kdjax import tasks
from kdjax.methods import make_objective

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 5)).astype(np.float32)
ANSWERS = RNG.normal(size=(4, 3)).astype(np.float32)
PIXELS = RNG.normal(size=(4, 2, 2, 5)).astype(np.float32)
PIXEL_ANSWERS = RNG.normal(size=(4, 2, 2, 3)).astype(np.float32)
WEIGHTS = np.float32([2, 1, 1, 0])
TWICE = [0, 0, 1, 2]
TASKS = {
  "multilabel": (tasks.multilabel(3), RNG.integers(-1, 2, (4, 3))),
  "classification": (tasks.classification(3), RNG.integers(0, 3, 4)),
  "regression": (tasks.regression(3), RNG.normal(size=(4, 3))),
  "embedding": (tasks.embedding(3), RNG.normal(size=(4, 3))),
  "segmentation": (tasks.segmentation(3), RNG.integers(0, 3, (4, 2, 2))),
}


def apply(variables, inputs, **_):
  return inputs @ variables["params"]["kernel"]


@pytest.mark.parametrize(
  "scale", [pytest.param(1.0, marks=pytest.mark.slow), 0.01]
)
@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("multilabel", "ce:1"),
    ("multilabel", "binary_kd:1 + ce:0.5"),
    ("classification", "kd:0.9 + ce:0.1"),
    ("classification", "dkd:1"),
    pytest.param("regression", "logit_mse:1 + ce:0.5", marks=pytest.mark.slow),
    pytest.param("embedding", "logit_mse:1 + ce:0.5", marks=pytest.mark.slow),
    pytest.param("segmentation", "kd:1 + ce:0.5", marks=pytest.mark.slow),
  ],
)
def test_twice_is_two(name, text, scale):
  task, labels = TASKS[name]
  labels = np.asarray(
    labels, np.int32 if labels.dtype.kind == "i" else np.float32
  )
  images, answers = IMAGES, ANSWERS
  if name == "segmentation":
    images, answers = PIXELS, PIXEL_ANSWERS
  method = make_objective(text, task=task)
  goal = kdjax.objective(method, kdjax.from_apply(apply), task)
  start = {"params": {"kernel": np.ones((5, 3), np.float32)}}
  teacher = kdjax.stored_teacher(answers)

  def after(places, weight, placement):
    batch = {"image": images[places], "label": labels[places]}
    batch |= {"weight": weight, "index": np.asarray(places, np.int32)}
    step = kdjax.make_step(goal, optax.sgd(0.1), placement)
    state = step.init(jax.random.key(0), start, teacher, batch)
    state, metrics = step.step(state, teacher, batch)
    total, count = jax.device_get(metrics["loss"])
    kernel = step.variables(state)["params"]["kernel"]
    return np.asarray(kernel), total / count

  want, loss = after(TWICE, np.ones(4, bool), kdjax.jit())
  for placement in (kdjax.jit(), kdjax.pmap(jax.devices()[:2])):
    got, weighted = after(list(range(4)), scale * WEIGHTS, placement)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert weighted == pytest.approx(loss, rel=1e-5)
