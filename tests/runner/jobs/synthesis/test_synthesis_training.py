"""What a synthesis learns, what it leaves alone, and that seeds are independent."""

import jax
import numpy as np
import pytest

from kdjax.core.errors import DivergedError
from kdjax.runner.jobs.synthesis import training


def learned(setup, seed, step=None):
  return list(training.learn_images(setup, seed, step))


@pytest.mark.slow
def test_rates_stay_positive(make_setup):
  # A rate of 5 a step would leave the positive numbers at once, were it not for
  # the logarithm.
  setup = make_setup(rate_rate=5.0, image_rate=0.05, outer_steps=10)
  (last,) = learned(setup, 0)
  assert (np.exp(last.synthetic.log_rates) > 0).all()


def test_loss_falls(make_setup):
  setup = make_setup()
  first, last = learned(setup, 0)
  assert first.step == 10 and last.step == 20 and last.loss < first.loss


@pytest.mark.parametrize(
  "learn_labels", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_labels_stay_unless_they_are_learned(make_setup, learn_labels):
  setup = make_setup(learn_labels=learn_labels, outer_steps=2)
  (last,) = learned(setup, 0)
  start = training.first_images(setup, 0)
  assert np.any(last.synthetic.labels != start.labels) == learn_labels
  for name in ("images", "log_rates"):
    assert np.any(getattr(last.synthetic, name) != getattr(start, name))


@pytest.mark.slow
def test_one_seed_alone_is_the_same_among_several(make_setup):
  setup = make_setup(outer_steps=3)
  step = training.make_outer_step(setup)
  several = [learned(setup, seed, step)[-1].synthetic for seed in (0, 1)]
  alone = learned(setup, 1)[-1].synthetic
  jax.tree.map(np.testing.assert_array_equal, alone, several[1])
  assert np.any(several[0].images != several[1].images)


def test_starts_differ_unless_fixed(make_setup):
  for kind, count in (("random", 3), ("fixed", 1)):
    setup = make_setup(initialisation=kind)
    made = [
      training.make_starts(setup, jax.random.key(n), 3)["head"]["kernel"]
      for n in range(2)
    ]
    assert made[0].shape[0] == count
    assert np.array_equal(*made) == (kind == "fixed")


def test_first_images(make_setup):
  setup = make_setup(inner_steps=2)
  real = training.first_images(setup, 0)
  assert real.images.shape == (2, 10, 8, 8, 1) and real.images.min() == 0
  places = training.draw(setup.labels, 2, 0)
  assert np.bincount(setup.labels[places]).tolist() == [2] * 10
  np.testing.assert_allclose(
    np.sort(np.asarray(real.images).ravel()),
    np.sort(setup.images[places].ravel()),
  )
  noise = training.first_images(make_setup(first_images="noise"), 0)
  assert noise.images.min() < -1
  assert np.array_equal(noise.labels.argmax(-1)[0], np.repeat(np.arange(10), 2))


@pytest.mark.slow
def test_one_by_one_is_the_same_step(make_setup):
  together = make_setup(outer_steps=2)
  apart = together._replace(together=False)
  found = [learned(setup, 0)[-1] for setup in (together, apart)]
  np.testing.assert_allclose(found[0].loss, found[1].loss, rtol=1e-5)
  for a, b in zip(*(one.synthetic for one in found), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_divergence_is_named(make_setup):
  setup = make_setup(first_rate=1e30, outer_steps=1)
  with pytest.raises(DivergedError, match="--first_rate"):
    learned(setup, 0)
