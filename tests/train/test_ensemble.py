"""Several teachers as one: pools by hand, stacks, features, routes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from kdjax.core.pooling import pool_logits, pool_values
from kdjax.core.task import batch_of
from kdjax.core.teacher import observe, stored_teacher, teacher_head
from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.tasks import classification
from kdjax.train.ensemble import ensemble, teacher_route
from kdjax.train.precision import full_precision
from kdjax.train.teacher import live_teacher

RNG = np.random.default_rng(5)
LOGITS = RNG.normal(0, 3, (3, 5, 4)).astype(np.float32)
IMAGES = RNG.uniform(size=(5, 6, 6, 1)).astype(np.float32)
BATCH = batch_of(IMAGES)
NETWORK = make_model("mlp(6)", classes=4)
OTHER = make_model("mlp(7, 3)", classes=4)


def network(seed, module=NETWORK):
  variables = jax.jit(module.init)(jax.random.key(seed), IMAGES[:1])
  return live_teacher(full_precision(module), variables)


def by_hand(pool, weights):
  shares = np.array(weights) / np.sum(weights)
  if pool == "logits":
    return np.einsum("t,tbc->bc", shares, LOGITS)
  p = scipy.special.softmax(LOGITS, axis=-1)
  shares = np.broadcast_to(shares[:, None], p.shape[:2])
  if pool == "confidence":
    shares = shares * np.exp(-scipy.special.entr(p).sum(-1))
    shares = shares / shares.sum(0)
  return np.log(np.einsum("tb,tbc->bc", shares, p))


@pytest.mark.parametrize("pool", ["probabilities", "logits", "confidence"])
@pytest.mark.parametrize("weights", [(1, 1, 1), (0.5, 0.3, 0.2), (0, 1, 3)])
def test_pools(pool, weights):
  np.testing.assert_allclose(
    pool_logits(LOGITS, pool=pool, weights=weights),
    by_hand(pool, weights),
    rtol=1e-4,
    atol=1e-5,
  )


@pytest.mark.parametrize("pool", ["probabilities", "logits", "confidence"])
def test_extreme_logits_stay_finite(pool):
  assert np.isfinite(pool_logits(1e4 * LOGITS, pool=pool)).all()


@pytest.mark.parametrize(
  ("settings", "said"),
  [
    ({"pool": "mean"}, "mean"),
    ({"weights": (1, 2)}, "2 weights for 3"),
    ({"weights": (1, -1, 1)}, ">= 0"),
    ({"weights": (0, 0, 0)}, "not all 0"),
    ({"weights": (1, 1, float("nan"))}, ">= 0"),
  ],
)
def test_bad_settings(settings, said):
  with pytest.raises(ValueError, match=said):
    pool_logits(LOGITS, **settings)


def test_one_teacher_is_itself():
  alone = network(0)
  assert ensemble([alone]) is alone


@pytest.mark.parametrize(
  ("modules", "together"),
  [
    ((NETWORK, OTHER, NETWORK), True),
    ((NETWORK, OTHER, NETWORK), False),
    pytest.param((NETWORK,) * 3, True, marks=pytest.mark.slow),
    pytest.param((NETWORK,) * 3, False, marks=pytest.mark.slow),
  ],
)
def test_stacked_networks_answer_as_they_do_alone(modules, together):
  teachers = [network(i, module) for i, module in enumerate(modules)]
  weights = (0.5, 0.3, 0.2)
  pooled = ensemble(teachers, weights=weights, together=together)
  kinds = len(set(modules)) if together else 3
  assert len(pooled.arrays) == kinds
  look = jax.jit(lambda teacher: observe(teacher, BATCH, ("stage_0",)))
  alone = [look(one) for one in teachers]
  got = look(pooled)
  want = pool_logits(np.stack([v.answers for v in alone]), weights=weights)
  np.testing.assert_allclose(got.answers, want, rtol=1e-5, atol=1e-6)
  for a, b in zip(got.members, alone, strict=True):
    np.testing.assert_allclose(a.answers, b.answers, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
      a.feats["stage_0"], b.feats["stage_0"], rtol=1e-5, atol=1e-6
    )
  for head, one in zip(teacher_head(pooled), teachers, strict=True):
    np.testing.assert_array_equal(head["kernel"], teacher_head(one)["kernel"])


@pytest.mark.parametrize("pool", ["probabilities", "logits", "confidence"])
def test_order_does_not_matter(pool):
  weights, order = np.array([0.5, 0.3, 0.2]), [2, 0, 1]
  np.testing.assert_allclose(
    pool_logits(LOGITS, pool=pool, weights=weights),
    pool_logits(LOGITS[order], pool=pool, weights=weights[order]),
    rtol=1e-5,
    atol=1e-6,
  )


@pytest.mark.parametrize("kind", ["live", "stored"])
def test_route_goes_by_step(kind):
  if kind == "live":
    teachers = [network(i) for i in range(3)]
  else:
    teachers = [stored_teacher(jnp.asarray(answers)) for answers in LOGITS]
  route = teacher_route(teachers, steps=10)
  look = jax.jit(
    lambda teacher, step: observe(teacher, BATCH, step=step).answers
  )
  # floor(3 s / 10), and the last one for ever.
  for step, place in [(0, 0), (3, 0), (4, 1), (6, 1), (7, 2), (9, 2), (30, 2)]:
    np.testing.assert_allclose(
      look(route, step),
      look(teachers[place], step),
      rtol=1e-6,
    )


def test_answers_are_pooled_as_the_task_does_it():
  task = classification(4)._replace(pool=pool_values)
  teachers = [network(0), network(1)]
  of_task = ensemble(teachers, weights=(3, 1), task=task)
  look = jax.jit(lambda teacher: observe(teacher, BATCH, ()).answers)
  alone = [np.asarray(look(one)) for one in teachers]
  np.testing.assert_allclose(
    look(of_task),
    0.75 * alone[0] + 0.25 * alone[1],
    rtol=1e-5,
    atol=1e-6,
  )
  assert classification(4).pool is pool_logits
  with pytest.raises(ValueError, match="probabilities of classes"):
    pool_values(LOGITS, pool="confidence")


def test_route_of_different_networks_is_refused():
  with pytest.raises(ValueError, match="one architecture"):
    teacher_route([network(0), network(1, OTHER)], steps=4)


def tapping(settings):
  return make_objective("fitnets:1 + kd:0.5 + ce:0.5")


@pytest.mark.slow
def test_devices_do_not_matter_and_teachers_stay_as_they_are(fit):
  teachers = [network(0), network(1, OTHER), network(2)]
  pooled = ensemble(teachers)
  before = jax.device_get(pooled.arrays)
  one, two = (
    fit(tapping, teacher=pooled, devices=devices, epochs=1, seeds=(0,))[-1]
    for devices in (1, 2)
  )
  for a, b in zip(
    jax.tree.leaves(one.states["student"].params),
    jax.tree.leaves(two.states["student"].params),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
  for a, b in zip(
    jax.tree.leaves(before), jax.tree.leaves(pooled.arrays), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  regressors = one.states["student"].params["method"]["fitnets"]
  assert len(regressors) == 3
