"""A training goes on with another number of devices, from the very same state."""

import jax
import numpy as np
import pytest

from kdjax.core.storage import digest
from kdjax.methods import make_objective
from kdjax.train.fault_tolerance import checkpoints


def response(settings):
  return make_objective("kd:0.7 + ce:0.3", temperature=2.0)


@pytest.mark.parametrize(
  "counts",
  [
    (2, 1, 2, 1),
    pytest.param((8, 2, 1, 8), marks=pytest.mark.slow),
  ],
)
def test_other_devices_go_on(fit, tmp_path, counts):
  """A portion on each; between them all is written and read."""
  options = {"optimizer": "adam", "learning_rate": 1e-3, "portion": 2}
  programs = {devices: {} for devices in counts}

  def run(devices, start=None):
    return fit(
      response,
      devices=devices,
      start=start,
      programs=programs[devices],
      **options,
    )

  whole = run(counts[0])
  epoch = None
  for number, devices in enumerate(counts):
    epoch = run(devices, epoch)[0]
    opened = checkpoints.open_series(tmp_path / str(number))
    checkpoints.save(opened, epoch.step, epoch.states, {})
    checkpoints.wait(opened)
    found = checkpoints.restore(opened, lambda note: whole[0].states)
    opened.manager.close()
    assert digest(found.tree) == digest(epoch.states)
    epoch = epoch._replace(states=found.tree)
  assert epoch.step == whole[-1].step
  for one, other in zip(
    jax.tree.leaves(epoch.states), jax.tree.leaves(whole[-1].states),
    strict=True,
  ):  # fmt: skip
    np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)
