"""Mixed images in training: labels, devices, and what the teacher sees."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from kdjax.core.task import Batch, batch_of
from kdjax.core.teacher import observe, stored_teacher
from kdjax.data import Split, stream
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.optimizer import make_optimizer
from kdjax.train.state import create_state, variables
from kdjax.train.step import take_step


def response(settings):
  return make_objective("kd:0.7 + ce:0.3", temperature=2.0)


def params(epochs):
  return epochs[-1].states["student"].params


@pytest.mark.parametrize(
  ("view", "devices"),
  [
    pytest.param("shift(1) + mixup", 2, marks=pytest.mark.slow),
    pytest.param("cutmix(0.5)", 8, marks=pytest.mark.slow),
  ],
)
def test_devices_do_not_matter(fit, view, devices):
  """The last batch has two examples: most devices hold padding alone."""
  one = fit(response, view=view, devices=1)
  many = fit(response, view=view, devices=devices)
  chex.assert_trees_all_close(params(many), params(one), atol=1e-5, rtol=1e-5)
  for a, b in zip(one, many, strict=True):
    chex.assert_trees_all_close(b.metrics, a.metrics, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_reading_from_disk_equals_memory(fit, toy):
  read = lambda indices: stream(Split(*toy), indices)  # noqa: E731
  resident, streamed = (
    fit(response, view="mixup", read=one) for one in (None, read)
  )
  chex.assert_trees_all_close(params(streamed), params(resident), atol=2e-6)


def test_the_teacher_has_a_view_of_its_own(fit, toy, teacher):
  """Asked about plain images it gives the answers of a table of them."""
  images = toy[0].astype(np.float32) / 255
  answers = jax.jit(lambda x: observe(teacher, batch_of(x)).answers)(images)
  options = {"view": "shift(1)", "epochs": 1}
  apart = params(fit(response, teacher_view="none", **options))
  table = params(fit(response, teacher=stored_teacher(answers), **options))
  chex.assert_trees_all_close(apart, table, atol=2e-6)


IMAGES = np.random.default_rng(1).random((4, 4, 4, 1), np.float32)
LABELS, PARTNERS = np.array([0, 1, 2, -1]), np.array([1, 1, -1, 0])
SHARE = np.array([0.75, 1.0, 0.25, 0.5], np.float32)


def step(smoothing=0.0):
  """One step on mixed labels; (logits before it, metrics)."""
  method = make_objective("ce:1", label_smoothing=smoothing)
  index = np.arange(4)
  batch = Batch(
    IMAGES,
    LABELS,
    np.ones(4, bool),
    index,
    index,
    {"share": SHARE, "partner_targets": PARTNERS},
  )

  @jax.jit
  def run(key):
    state = create_state(
      make_model("mlp(5)", classes=3),
      method,
      make_optimizer("sgd", "constant", 10),
      rng=key,
      task=classification(3),
      inputs=IMAGES[:1],
      teacher=None,
      learning_rate=jnp.float32(0.1),
    )
    logits, _, _ = state.network.apply(variables(state), IMAGES)
    return logits, take_step(state, method, batch, None, rng=key)[1]

  return jax.device_get(run(jax.random.key(0)))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_labels_count_as_much_as_their_images(smoothing):
  logits, metrics = step(smoothing)
  log_q = scipy.special.log_softmax(logits, axis=-1)
  want = 0.0
  for i in range(4):
    for label, share in ((LABELS[i], SHARE[i]), (PARTNERS[i], 1 - SHARE[i])):
      if label >= 0:
        target = (1 - smoothing) * np.eye(3)[int(label)] + smoothing / 3
        want -= float(share) * target @ log_q[i] / 4
  total, count = metrics["loss"]
  assert float(total / count) == pytest.approx(want, rel=1e-5)


def test_accuracy_counts_the_majority():
  """Shares 0.75, 1, 0.25, 0.5: own, own, an unknown partner's, unknown."""
  logits, metrics = step()
  right = (logits[:2].argmax(-1) == np.array([0, 1])).sum()
  assert [int(x) for x in metrics["accuracy"]] == [right, 2]
