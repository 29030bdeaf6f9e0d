"""How states that devices do not share lie over them."""

import jax
import numpy as np
import pytest

from kdjax.train.schemes.scheme import OFFLINE, bring_back, by_members, lay_out

KEYS = jax.random.split(jax.random.key(0), 4)


@pytest.mark.parametrize(
  "state",
  [{"x": np.arange(8.0).reshape(4, 2)}, {"key": KEYS}],
  ids=["numbers", "keys"],
)
def test_members_on_devices_of_their_own_come_back_as_they_were(state):
  class Arm:
    scheme = by_members(OFFLINE)

  devices = jax.local_devices()[:2]
  there = lay_out({"arm": Arm}, {"arm": state}, devices)["arm"]
  assert jax.tree.leaves(there)[0].shape[:2] == (2, 2)
  back = bring_back({"arm": Arm}, {"arm": there}, devices)["arm"]
  for name, before in state.items():
    numbers = [
      jax.random.key_data(x) if name == "key" else x
      for x in (back[name], before)
    ]
    np.testing.assert_array_equal(*numbers)
