"""Bad steps: skipped, gone back from, or the end; never silent, never spread."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.core.errors import DivergedError
from kdjax.core.method import stateless
from kdjax.train.epoch import Epoch, portions
from kdjax.train.fault_tolerance import nan_guard
from kdjax.train.schemes.codistillation import codistillation
from kdjax.train.schemes.scheme import OFFLINE

# The example that harms the members whose "harm" is 1, 2 or 3.
BAD = 7


def harmful(settings):
  """Labels' loss; where BAD is in the batch, NaN, infinite, or without slope."""

  def loss(inputs):
    there = jnp.any((inputs.index == BAD) & inputs.mask)
    harm = jnp.where(there, settings["harm"], 0)
    logits = inputs.student.answers
    value = optax.softmax_cross_entropy_with_integer_labels(
      logits, inputs.labels
    )
    # The root's slope at 0 is infinite; its value is an innocent 0.
    root = jnp.sqrt(jnp.where(harm == 3, 0 * logits, 1.0)).sum(axis=-1)
    value += jnp.where(harm == 1, jnp.nan, jnp.where(harm == 2, jnp.inf, 0))
    return value + jnp.where(harm == 3, root, 0)

  return stateless(loss)


def test_a_bad_step_is_skipped_for_its_member_alone(fit):
  run = partial(
    fit,
    harmful,
    seeds=(0,) * 4,
    epochs=3,
    view="none",
    optimizer="adam",
    scheme=nan_guard.guard(OFFLINE, "skip", 3),
    programs={},
  )
  found, plain = run(harm=[0.0, 1.0, 2.0, 3.0]), run(harm=[0.0] * 4)
  for epoch, other in zip(found, plain, strict=True):
    assert nan_guard.lost_steps(epoch)["student"] == [0] + 3 * [epoch.number]
    check_finite(epoch.states["student"])
    check_finite(epoch.sums)
    params = epoch.states["student"].own.params
    wanted = other.states["student"].own.params
    for x, y in zip(
      jax.tree.leaves(params), jax.tree.leaves(wanted), strict=True
    ):
      np.testing.assert_array_equal(x[0], y[0])
      assert not np.allclose(x[0], x[1])
      np.testing.assert_array_equal(x[1], x[2])
      np.testing.assert_array_equal(x[1], x[3])
  # Schedules wait for a member that lost steps.
  assert found[-1].states["student"].own.step.tolist() == [12, 9, 9, 9]
  assert found[-1].states["student"].strikes.max() <= 1


def check_finite(tree):
  for leaf in jax.tree.leaves(tree):
    assert np.isfinite(np.asarray(leaf, np.float64)).all()


@pytest.mark.slow
def test_networks_apart_skip_together(fit):
  """Peers on devices of their own; a guard without faults changes nothing."""
  scheme = codistillation(peers=2, every=2)
  run = partial(fit, harmful, devices=2, seeds=(0, 0), view="none")
  plain = run(harm=[0.0, 0.0], scheme=scheme)[-1].states["student"]
  found = run(harm=[0.0, 1.0], scheme=nan_guard.guard(scheme, "skip", 9))[-1]
  state = found.states["student"]
  check_finite(state)
  assert state.lost[0] == 0 and 2 <= state.lost[1] <= 4
  for x, y in zip(
    jax.tree.leaves(state.own), jax.tree.leaves(plain), strict=True
  ):
    np.testing.assert_allclose(x[0], y[0], rtol=1e-6, atol=1e-7)


# --- going back: a training of two members that adds up the numbers of steps

LENGTH, EPOCHS, PORTION = 5, 3, 2


def initial():
  zeros = np.zeros(2, np.int32)
  return {"student": nan_guard.Guarded(np.zeros(2, np.float32), zeros, zeros)}


def follow(bad, start):
  """bad: by member, the steps at which it leaves the finite numbers."""
  state, sums, first = initial()["student"], np.zeros(2), 0
  if start is not None:
    state, first = start.states["student"], start.step
    sums = start.sums["student"]["loss"][0]
  for begin, end in portions(first, LENGTH * EPOCHS, LENGTH, PORTION):
    own = np.array(state.own)
    for member, step in itertools.product(range(2), range(begin, end)):
      own[member] += np.nan if step in bad.get(member, ()) else step
    state = state._replace(own=own)
    sums = (0 if begin % LENGTH == 0 else sums) + 0 * own
    yield Epoch(
      begin // LENGTH + 1, end, end % LENGTH == 0, 0, {"student": state},
      {"student": {"loss": (sums, np.ones(2))}},
    )  # fmt: skip


def followed(bad, start, policy="rewind", patience=3):
  return nan_guard.finite_epochs(
    partial(follow, bad), start, policy=policy, patience=patience,
    initial=initial, advice="try less",
  )  # fmt: skip


@pytest.mark.parametrize(
  ("bad", "sums", "lost"),
  [
    ({}, [105, 105], [0, 0]),
    ({1: [3]}, [105, 105 - 2 - 3], [0, 2]),
    ({0: [0]}, [105 - 0 - 1, 105], [2, 0]),
    ({0: [4], 1: [14]}, [105 - 4, 105 - 14], [1, 1]),
    # two portions in a row, and an epoch of which nothing is left
    ({0: [0, 2]}, [105 - 0 - 1 - 2 - 3, 105], [4, 0]),
    ({0: [5, 7, 9]}, [105 - 5 - 6 - 7 - 8 - 9, 105], [5, 0]),
  ],
)
def test_going_back_leaves_out_the_bad_portion(bad, sums, lost):
  epochs = list(followed(bad, None, patience=4))
  assert [epoch.step for epoch in epochs] == [2, 4, 5, 7, 9, 10, 12, 14, 15]
  for epoch in epochs:
    check_finite(epoch.states)
    check_finite(epoch.sums)
  last = epochs[-1].states["student"]
  assert last.own.tolist() == sums
  assert last.lost.tolist() == lost
  # Wherever it is taken up again, it ends the same.
  for epoch in epochs[:-1]:
    again = list(followed(bad, epoch, patience=4))[-1].states["student"]
    assert again.own.tolist() == sums and again.lost.tolist() == lost


@pytest.mark.parametrize(
  ("policy", "bad", "patience", "yielded"),
  [
    ("stop", {1: [6]}, 9, 3),
    ("rewind", {1: [0, 6]}, 2, 3),
    ("rewind", {1: [6]}, 1, 3),
  ],
)
def test_patience_ends(policy, bad, patience, yielded):
  seen = []
  with pytest.raises(DivergedError, match="not finite.* in epoch 2, .*less"):
    for epoch in followed(bad, None, policy, patience):
      seen.append(epoch)
  assert len(seen) == yielded


def test_skipping_ends_after_as_many_in_a_row():
  def epochs(start):
    for strikes in (0, 2, 3):
      state = initial()["student"]._replace(strikes=np.array([0, strikes]))
      sums = {"student": {"loss": (np.ones(2), np.ones(2))}}
      yield Epoch(1, 2, False, 0, {"student": state}, sums)

  seen = nan_guard.finite_epochs(
    epochs, None, policy="skip", patience=3, initial=initial, advice="try less"
  )
  assert next(seen) and next(seen)
  with pytest.raises(DivergedError, match="--nan_patience=3 is used up"):
    next(seen)
