"""Learning from synthetic images: by hand, by finite differences, in two forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kdjax.models import make_model
from kdjax.runner.jobs.synthesis import unroll
from kdjax.runner.jobs.synthesis.evaluate import follow, learned_course
from kdjax.runner.jobs.synthesis.unroll import Synthetic


def make_synthetic(steps=2, epochs=2, classes=3, dtype=np.float64):
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(classes), 2 * steps)
  made = unroll.begin(
    jnp.asarray(rng.normal(size=(len(labels), 2, 2, 1)), dtype),
    labels,
    classes=classes,
    steps=steps,
    epochs=epochs,
    rate=0.3,
  )
  return made._replace(
    labels=made.labels + 0.1 * rng.random(made.labels.shape).astype(dtype)
  )


def tanh_net(params, images):
  hidden = jnp.tanh(images.reshape(len(images), -1) @ params["in"])
  return hidden @ params["out"]


def make_starts(count=2, dtype=np.float64):
  rng = np.random.default_rng(1)
  return {
    "in": jnp.asarray(rng.normal(size=(count, 4, 5)), dtype),
    "out": jnp.asarray(rng.normal(size=(count, 5, 3)), dtype),
  }


@pytest.mark.parametrize(
  "rolled", [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_gradient_is_that_of_finite_differences(rolled):
  with jax.enable_x64(True):
    # What is written out is compiled step by step: fewer are enough.
    synthetic = make_synthetic(steps=2 if rolled else 1)
    starts = make_starts(2 if rolled else 1)
    real = jnp.asarray(np.random.default_rng(2).normal(size=(7, 2, 2, 1)))
    labels = jnp.arange(7) % 3

    @jax.jit
    def loss(synthetic):
      return unroll.outer_loss(
        tanh_net, starts, synthetic, real, labels, rolled=rolled
      )

    check_grads(loss, (synthetic,), order=1, modes=["rev"], rtol=1e-6)


def test_one_step_of_a_linear_model_by_hand():
  """theta_1 = theta_0 - rate x^T (softmax(x theta_0) - y); dL/dr by the chain."""
  with jax.enable_x64(True):
    rng = np.random.default_rng(0)
    x, theta = rng.normal(size=4), rng.normal(size=(4, 2))
    real, label, rate = rng.normal(size=4), np.array([0.0, 1.0]), 0.7
    target = np.array([1.0, 0.0])

    def softmax(z):
      return np.exp(z) / np.exp(z).sum()

    gradient = np.outer(x, softmax(x @ theta) - target)
    after = theta - rate * gradient
    wrong = softmax(real @ after) - label
    by_rate = -rate * np.sum(np.outer(real, wrong) * gradient)
    # theta_1 is a sum over x, linear in the label's share.
    by_label = rate * (real @ x) * wrong
    synthetic = Synthetic(
      jnp.asarray(x).reshape(1, 1, 2, 2, 1),
      jnp.asarray(target).reshape(1, 1, 2),
      jnp.full((1, 1), np.log(rate)),
    )

    def apply(params, images):
      return images.reshape(len(images), -1) @ params

    learned = jax.jit(functools.partial(unroll.learn, apply))(
      jnp.asarray(theta), synthetic
    )
    np.testing.assert_allclose(learned, after, rtol=1e-12)
    found = jax.jit(
      jax.grad(
        lambda one: unroll.outer_loss(
          apply,
          jnp.asarray(theta)[None],
          one,
          jnp.asarray(real).reshape(1, 2, 2, 1),
          jnp.array([1]),
        )
      )
    )(synthetic)
    np.testing.assert_allclose(found.log_rates, [[by_rate]], rtol=1e-10)
    # A label's share s weighs (p_k sum_j s_j - s_k): the mass counts as well.
    shares = by_label - rate * (real @ x) * (softmax(x @ theta) @ wrong)
    np.testing.assert_allclose(found.labels[0, 0], shares, rtol=1e-10)


@pytest.mark.parametrize(
  "model",
  [
    "mlp(5)",
    pytest.param("lenet(2, hidden=4, kernel=3)", marks=pytest.mark.slow),
  ],
)
def test_all_forms_learn_the_same(model):
  network = make_model(model, classes=3)
  synthetic = make_synthetic(dtype=np.float32)
  starts = jax.jit(
    jax.vmap(lambda key: network.init(key, synthetic.images[0])["params"])
  )(jax.random.split(jax.random.key(0), 2))

  def apply(params, images):
    return network.apply({"params": params}, images)

  each = {
    rolled: [
      jax.jit(functools.partial(unroll.learn, apply, rolled=rolled))(
        jax.tree.map(lambda x, m=m: x[m], starts), synthetic
      )
      for m in range(2)
    ]
    for rolled in (True, False)
  }
  course, rates = learned_course(synthetic)
  for together in (True, False):
    found = follow(apply, starts, course, rates, together=together)
    for networks in each.values():
      for m, one in enumerate(networks):
        check_close(one, found, m)


def check_close(one, many, place):
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
    np.testing.assert_allclose(a, b[place], atol=2e-6)


def test_images_are_dealt_out_evenly():
  labels = np.array([1, 0, 1, 0, 0, 0, 1, 1])
  images = jnp.arange(8.0).reshape(8, 1, 1, 1)
  made = unroll.begin(images, labels, classes=2, steps=2, epochs=3, rate=0.5)
  assert made.labels.argmax(-1).tolist() == [[0, 0, 1, 1]] * 2
  assert made.images.reshape(2, 4).tolist() == [[1, 3, 0, 2], [4, 5, 6, 7]]
  np.testing.assert_allclose(jnp.exp(made.log_rates), np.full((3, 2), 0.5))
  for wrong in (np.array([0, 0, 1]), np.array([0, 1])):
    with pytest.raises(ValueError, match="cannot be dealt out"):
      unroll.begin(
        images[: len(wrong)], wrong, classes=2, steps=2, epochs=1, rate=0.5
      )
