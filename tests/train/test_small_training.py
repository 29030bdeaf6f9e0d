"""Few bits and few weights in a training: what must not matter does not."""

import jax
import numpy as np
import pytest

from kdjax.methods import make_objective
from kdjax.models import make_model
from kdjax.models.quantized import learns_in
from kdjax.train.fault_tolerance.nan_guard import guard
from kdjax.train.precision import with_precision
from kdjax.train.pruning import Pruning, magnitude_pruning, zeros
from kdjax.train.schemes.codistillation import codistillation
from kdjax.train.schemes.mutual import mutual
from kdjax.train.schemes.scheme import OFFLINE, in_pieces

MLP = make_model("mlp(10, dropout=0.3)", classes=4)


def learns(settings):
  return make_objective("ce:1 + kd:1 + fitnets:0.1")


def small(**options):
  """Options of a training that does both; eight steps in all."""
  last = magnitude_pruning(Pruning(0.75, begin=1, end=6, every=2))
  network = learns_in(MLP, "w8a8")
  return {"network": network, "last": last, **options}


def check_sparsity(params):
  """Three quarters of 36 * 10 weights, of each of the networks."""
  kernel = np.asarray(params["network"]["stage_0"]["dense"]["kernel"])
  for one in kernel.reshape(-1, *kernel.shape[-2:]):
    layer = {"network": {"stage_0": {"kernel": one}}}
    assert zeros(layer) == {"stage_0": (270, 360)}


def check_equal(one, other):
  for x, y in zip(*map(jax.tree.leaves, (one, other)), strict=True):
    np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def programs():
  return {}


def test_resumed_is_never_stopped(fit, programs):
  whole = fit(learns, **small(programs=programs))
  rest = fit(learns, **small(programs=programs, start=whole[0]))
  check_equal(whole[-1].states, rest[-1].states)
  check_sparsity(whole[-1].states["student"].params)


@pytest.mark.slow
def test_devices_do_not_matter(fit):
  """Nor do they to activations, until one is so close to the middle between two
  steps that the order of a sum decides."""
  options = small(network=learns_in(MLP, "w8"))
  one, two = (fit(learns, devices=n, **options)[-1] for n in (1, 2))
  params = (epoch.states["student"].params for epoch in (one, two))
  for x, y in zip(*map(jax.tree.leaves, params), strict=True):
    np.testing.assert_allclose(x, y, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("scheme", "network"),
  [
    (mutual(peers=2), learns_in(MLP, "w8a8")),
    (codistillation(peers=2, every=3), learns_in(MLP, "w4")),
    (in_pieces(OFFLINE, 2), learns_in(MLP, "w4a8")),
    (guard(OFFLINE, "skip", 3), learns_in(MLP, "w8")),
    (OFFLINE, with_precision(learns_in(MLP, "w4"), dtype="bfloat16")),
    (OFFLINE, with_precision(learns_in(MLP, "w8a8"), remat=True)),
  ],
  ids=["mutual", "codistillation", "pieces", "guarded", "bfloat16", "remat"],
)
def test_with_all_else(fit, scheme, network):
  def method(settings):
    # The fixture has a teacher for the plain scheme alone.
    taught = scheme is OFFLINE or scheme.roles
    return make_objective("ce:1 + kd:1" if taught else "ce:1")

  options = small(scheme=scheme, network=network, seeds=(0, 1))
  state = fit(method, **options)[-1].states["student"]
  state = getattr(state, "own", state)
  check_sparsity(getattr(state, "peers", state).params)


@pytest.mark.slow
def test_peers_teach_each_other_alone(fit):
  """Logits that XLA computes twice need not equal their own largest."""
  state = fit(
    lambda settings: make_objective("kd"),
    scheme=mutual(peers=2),
    network=learns_in(MLP, "w8a8"),
  )[-1].states["student"]
  for leaf in jax.tree.leaves(state.params):
    assert np.isfinite(leaf).all()
