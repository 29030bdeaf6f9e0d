"""Who starts where, what is matched, and what stays frozen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import make_model
from kdjax.runner.jobs.knowledge import training
from kdjax.runner.jobs.knowledge.build import make_feature, prepare
from kdjax.runner.jobs.knowledge.resume import Saved

IMAGES = jnp.zeros((1, 8, 8, 1))


def first(tree):
  return jax.tree.map(lambda x: np.asarray(x[0]), tree)


@pytest.mark.slow
def test_student_and_baseline_start_alike_and_stay_apart(setup):
  teacher = first(list(training.teacher_epochs(setup))[-1].networks["teacher"])
  epochs = [
    jax.device_get(one) for one in training.student_epochs(setup, teacher)
  ]
  assert [one.epoch for one in epochs] == [0, 1, 2, 3]
  student, baseline = (
    epochs[0].networks[arm]["params"] for arm in ("student", "baseline")
  )
  jax.tree.map(np.testing.assert_array_equal, student, baseline)
  kernel = student["stage_0"]["dense"]["kernel"]
  assert kernel.shape == (2, 64, 6)
  assert np.abs(kernel[0] - kernel[1]).max() > 0.01  # seeds differ
  losses = [one.losses["student"] for one in epochs[1:]]
  assert (losses[-1] < losses[0]).all()
  # Matching the first stage says nothing to the layers above it.
  last = epochs[-1].networks["student"]["params"]
  np.testing.assert_array_equal(
    last["head"]["kernel"], student["head"]["kernel"]
  )
  assert np.abs(last["stage_0"]["dense"]["kernel"] - kernel).max() > 1e-4

  mask = training.depends(setup, first(epochs[-1].networks["student"]))
  students = epochs[-1].networks["student"]
  finished = [
    one.networks for one in training.label_epochs(setup, students, mask)
  ]
  finished = training.unchanged(mask, students, finished[-1]["student"])[
    "params"
  ]
  jax.tree.map(
    np.testing.assert_array_equal, finished["stage_0"], last["stage_0"]
  )
  for name, layer in (("stage_1", "dense"), ("head", None)):
    old, new = last[name], finished[name]
    old, new = (x if layer is None else x[layer] for x in (old, new))
    assert np.abs(old["kernel"] - new["kernel"]).max() > 1e-5


@pytest.mark.slow
def test_convolutional_training_is_continued(experiment):
  """Members one by one, a step at a time; dropout goes on where it was."""
  model = "lenet(2, hidden=4, kernel=3, dropout=0.5)"
  student = dataclasses.replace(experiment.student, model=model, augment="flip")
  made = prepare(
    dataclasses.replace(
      experiment,
      student=student,
      quantify=dataclasses.replace(experiment.quantify, tap="hidden_0"),
    )
  )
  assert not made.together
  teacher = first(next(training.teacher_epochs(made)).networks["teacher"])
  whole = [
    (one.epoch, jax.device_get(one.states))
    for one in training.student_epochs(made, teacher)
  ]
  for epoch, states in whole[:2]:
    saved = Saved(epoch, jax.tree.leaves(states), {})
    *_, last = training.student_epochs(made, teacher, saved)
    assert last.epoch == whole[-1][0] == 3
    pairs = zip(
      jax.tree.leaves(last.states), jax.tree.leaves(whole[-1][1]), strict=True
    )
    for one, other in pairs:
      np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
  ("model", "tap", "needed"),
  [
    ("mlp(6, 5)", "stage_0", {"stage_0"}),
    ("mlp(6, 5)", "head:in", {"stage_0", "stage_1"}),
    ("mlp(6, 5)", "head", {"stage_0", "stage_1", "head"}),
    ("lenet(2, 3, hidden=4)", "stage_0/activation:in", {"stage_0"}),
    ("lenet(2, 3, hidden=4)", "hidden_0", {"stage_0", "stage_1", "hidden_0"}),
    ("resnet8", "stage_0", {"stem", "stage_0"}),
  ],
)
def test_depends(setup, model, tap, needed):
  network = make_model(model, classes=2)
  setup = setup._replace(network=network, feature=make_feature(network, tap))
  shapes = jax.eval_shape(
    lambda key: network.init(key, IMAGES, train=False), jax.random.key(0)
  )
  ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)
  mask = training.depends(setup, ones)
  for name, layer in mask["params"].items():
    assert set(jax.tree.leaves(layer)) == {name in needed}, name
  # What batch normalisation remembers belongs to the feature as well.
  for name, layer in mask.get("batch_stats", {}).items():
    assert set(jax.tree.leaves(layer)) == {name in needed}, name
