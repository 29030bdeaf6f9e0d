"""Losses of classes of which some are rare: closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from kdjax import evaluate, losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 4)).astype(np.float32)
LABELS = np.array([0, 3, 2, 1, 3])
COUNTS = np.array([100.0, 10, 5, 1])


def value(**keywords):
  return losses.logit_adjusted_cross_entropy(
    jnp.asarray(LOGITS), LABELS, COUNTS, **keywords
  )


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.5])
def test_is_the_cross_entropy_of_adjusted_logits(tau):
  prior = COUNTS / COUNTS.sum()
  want = -log_softmax(LOGITS + tau * np.log(prior), -1)[np.arange(5), LABELS]
  np.testing.assert_allclose(value(tau=tau), want, rtol=1e-5, atol=1e-6)


def test_balanced_softmax_is_tau_1():
  """Ren et al.: - log (n_y e^z_y / sum_c n_c e^z_c)."""
  total = logsumexp(LOGITS, b=COUNTS, axis=-1)
  own = np.log(COUNTS[LABELS]) + LOGITS[np.arange(5), LABELS]
  np.testing.assert_allclose(value(), total - own, rtol=1e-5)


def test_by_hand():
  got = losses.logit_adjusted_cross_entropy(
    jnp.zeros((2, 2)), np.array([0, 1]), np.array([3.0, 1.0])
  )
  np.testing.assert_allclose(got, [np.log(4 / 3), np.log(4)], rtol=1e-6)


def test_its_minimum_takes_all_classes_for_equally_common():
  """Of one place with labels as common as the prior, all logits are equal."""
  prior = jnp.array([0.7, 0.2, 0.1])
  labels = np.repeat([0, 1, 2], [7, 2, 1])

  def mean(logits):
    rows = jnp.broadcast_to(logits, (10, 3))
    return losses.logit_adjusted_cross_entropy(rows, labels, prior).mean()

  slope = jax.grad(mean)(jnp.full(3, 1.7))
  np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_post_hoc_adjustment_takes_off_what_is_added():
  added = losses.add_log_prior(jnp.asarray(LOGITS), COUNTS / COUNTS.sum())
  np.testing.assert_allclose(
    evaluate.subtract_log_prior(added, COUNTS), LOGITS, rtol=1e-5, atol=1e-6
  )
  halved = evaluate.subtract_log_prior(LOGITS, COUNTS, tau=0.5)
  prior = COUNTS / COUNTS.sum()
  np.testing.assert_allclose(halved, LOGITS - np.log(prior) / 2, rtol=1e-6)


@pytest.mark.parametrize(
  ("prior", "says"),
  [
    (np.ones(3), r"one number a class, \(4,\), got \(3,\)"),
    (np.array([1.0, 0, 1, 1]), "prior must be > 0"),
    (np.array([1.0, np.nan, 1, 1]), "prior must be > 0"),
  ],
)
def test_refused(prior, says):
  with pytest.raises(ValueError, match=says):
    losses.logit_adjusted_cross_entropy(jnp.asarray(LOGITS), LABELS, prior)
