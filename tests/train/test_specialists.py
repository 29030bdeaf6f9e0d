"""Specialists: subsets, images, classifiers, and one answer of all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from kdjax.train.specialists import (
  confusable_subsets,
  merge_logits,
  specialist_examples,
  specialist_head,
  specialist_labels,
)

RNG = np.random.default_rng(11)
GENERALIST = RNG.dirichlet(np.ones(5))
SUBSETS = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]], bool)
KNOWN = RNG.dirichlet(np.ones(3), 3)  # two own classes and the dustbin
SPECIALISTS = np.zeros((3, 5))
for row, subset, known in zip(SPECIALISTS, SUBSETS, KNOWN, strict=True):
  row[subset] = known[:2]
DUSTBINS = KNOWN[:, 2]


def excess(logits, active):
  """The sum of divergences, written out."""
  q = scipy.special.softmax(logits)
  total = scipy.special.rel_entr(GENERALIST, q).sum()
  for m in np.flatnonzero(active):
    own = SUBSETS[m]
    p = np.append(SPECIALISTS[m][own], DUSTBINS[m])
    total += scipy.special.rel_entr(p, np.append(q[own], q[~own].sum())).sum()
  return total


def found(active, **settings):
  given = (GENERALIST, SPECIALISTS, DUSTBINS)
  return np.asarray(
    merge_logits(
      *(jnp.asarray(x, jnp.float32) for x in given),
      jnp.asarray(SUBSETS),
      jnp.asarray(active),
      **settings,
    )
  )


@pytest.mark.parametrize(
  "active", [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1)], ids=str
)
def test_answer_is_the_minimum(active):
  active = np.array(active, bool)
  best = scipy.optimize.minimize(excess, np.zeros(5), args=(active,), tol=1e-12)
  got = found(active)
  np.testing.assert_allclose(
    np.exp(got), scipy.special.softmax(best.x), atol=1e-4
  )
  np.testing.assert_allclose(np.exp(got).sum(), 1, rtol=1e-5)


def test_without_specialists_the_generalist_answers():
  np.testing.assert_allclose(
    np.exp(found(np.zeros(3, bool))), GENERALIST, rtol=1e-5
  )


def test_impossible_classes_stay_finite():
  certain = jnp.array([1.0, 0.0, 0.0])
  got = merge_logits(
    certain,
    certain[None],
    jnp.zeros(1),
    jnp.array([[True, False, False]]),
    jnp.array([True]),
  )
  assert np.isfinite(got).all() and int(jnp.argmax(got)) == 0


def test_classes_confused_with_each_other_are_one_subset():
  labels = RNG.integers(0, 6, 400)
  logits = 6.0 * np.eye(6)[labels]
  logits[np.arange(400), labels ^ 1] += RNG.uniform(3, 7, 400)
  subsets = confusable_subsets(scipy.special.softmax(logits, axis=-1), 3)
  assert [subset.tolist() for subset in subsets] == [[0, 1], [2, 3], [4, 5]]


def test_too_many_subsets_are_refused():
  with pytest.raises(ValueError, match="7 subsets of 6"):
    confusable_subsets(np.eye(6), 7)


def test_images_are_half_the_specialists_own():
  labels = RNG.integers(0, 5, 500)
  subset = np.array([1, 3])
  places, oversampled = specialist_examples(labels, subset, seed=0)
  own = specialist_labels(labels[places], subset) < 2
  assert own.sum() == np.isin(labels, subset).sum()
  assert 2 * own.sum() == len(places) == len(set(places.tolist()))
  rest = len(labels) - own.sum()
  np.testing.assert_allclose(oversampled, rest / own.sum())


def test_only_one_kind_of_images_is_refused():
  with pytest.raises(ValueError, match="no images"):
    specialist_examples(np.zeros(4, int), np.array([0]), seed=0)


def test_new_classifier_knows_what_the_old_one_did():
  key = jax.random.key(0)
  head = {"kernel": jax.random.normal(key, (3, 5)), "bias": jnp.arange(5.0)}
  made = specialist_head(head, np.array([1, 4]), 5)
  np.testing.assert_array_equal(
    made["kernel"][:, :2], head["kernel"][:, [1, 4]]
  )
  np.testing.assert_array_equal(made["bias"][:2], [1.0, 4.0])
  np.testing.assert_allclose(made["bias"][2], 5 / 3 + np.log(3), rtol=1e-6)
