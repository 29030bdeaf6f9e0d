"""Entropies of checkpoints: any number of devices, kept and found again."""

import jax
import numpy as np
import pytest

from kdjax.core.errors import StorageError, UserError
from kdjax.runner.jobs.knowledge import training
from kdjax.runner.jobs.knowledge.build import prepare
from kdjax.runner.jobs.knowledge.entropies import FOLDER, Meter


def network(setup, seed=0):
  return setup.network.init(jax.random.key(seed), setup.sample, train=False)


def meter(setup, folder=None):
  return Meter(setup, training.depends(setup, network(setup)), folder)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["jacobian", "optimise", "published"])
def test_one_device_is_two_devices(setup, estimator):
  one, two = (
    meter(setup._replace(devices=jax.local_devices()[:count])).compute(
      network(setup), estimator
    )
    for count in (1, 2)
  )
  assert one.entropy.shape == (6, 4, 4)
  np.testing.assert_allclose(one.entropy, two.entropy, atol=2e-4)
  np.testing.assert_array_equal(one.valid, two.valid)


@pytest.mark.slow
def test_filling_up_a_pass_changes_nothing(setup):
  net = network(setup)
  all_of_them = meter(setup).compute(net, "jacobian")
  some = meter(setup).compute(net, "jacobian", 5)
  np.testing.assert_allclose(some.entropy, all_of_them.entropy[:5], atol=1e-5)


def test_entries_are_found_again(setup, changed, tmp_path):
  net = network(setup)
  first = meter(setup, tmp_path / "one")
  found = first.entropies(net)
  again = first.entropies(net)
  assert (first.computed, first.reused) == (1, 1)
  np.testing.assert_array_equal(found.entropy, again.entropy)
  # Layers above the tap do not matter, those below do.
  other = jax.tree.map(lambda x: x, net)
  other["params"]["head"]["kernel"] += 1.0
  first.entropies(other)
  assert (first.computed, first.reused) == (1, 2)
  other["params"]["stage_0"]["dense"]["kernel"] += 1.0
  first.entropies(other)
  assert (first.computed, first.reused) == (2, 2)
  # Another run uses what this one left, and keeps a copy.
  later = changed(quantify_from=str(tmp_path / "one"))
  second = meter(setup._replace(experiment=later), tmp_path / "two")
  np.testing.assert_array_equal(second.entropies(net).entropy, found.entropy)
  assert (second.computed, second.reused) == (0, 1)
  assert len(list((tmp_path / "two" / FOLDER).iterdir())) == 1
  # Other settings are other entries.
  coarse = changed(quantify_from=str(tmp_path / "one"), probes=4)
  third = meter(setup._replace(experiment=coarse), tmp_path / "three")
  third.entropies(net)
  assert (third.computed, third.reused) == (1, 0)


def test_damaged_entries_and_missing_folders(setup, changed, tmp_path):
  one = meter(setup, tmp_path)
  one.entropies(network(setup))
  (entry,) = (tmp_path / FOLDER).iterdir()
  entry.write_bytes(entry.read_bytes()[:100])
  with pytest.raises(StorageError, match="damaged"):
    one.entropies(network(setup))
  lost = changed(quantify_from=str(tmp_path / "nowhere"))
  with pytest.raises(UserError, match="--quantify_from=.*nowhere"):
    meter(setup._replace(experiment=lost))


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"tap": "stage_9"}, "tap 'stage_9' is not reached"),
    ({"tap": "stage_*"}, "one layer at a time"),
    ({"grid": 9}, "--grid=9"),
    ({"explained_images": 99}, "--explained_images=99: there are 32"),
    ({"probes_at_once": 3}, "--probes_at_once=3 does not divide --probes=8"),
    ({"teacher_split": "nope"}, "no split 'nope'"),
  ],
)
def test_prepare_refuses(changed, settings, message):
  with pytest.raises(UserError, match=message):
    prepare(changed(**settings))
