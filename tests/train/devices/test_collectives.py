"""Sums over a group of devices see that group alone."""

import jax
import numpy as np
import pytest

from kdjax.train.devices import collectives, placement

# Device d holds d and d squared; devices 0 and 2 share a batch, 1 and 3 another.
VALUES = np.array([[0, 0], [1, 1], [2, 4], [3, 9]], np.float32)
ALL = placement.AXIS
PAIRS = collectives.Group(placement.AXIS, ((0, 2), (1, 3)))
SINGLE = collectives.Group(placement.AXIS, ((0,), (1,), (2,), (3,)))


@pytest.mark.parametrize(
  ("function", "axis", "expected"),
  [
    (collectives.psum, ALL, [[6, 14]] * 4),
    (collectives.psum, PAIRS, [[2, 4], [4, 10]] * 2),
    (collectives.psum, SINGLE, VALUES),
    (collectives.pmax, ALL, [[3, 9]] * 4),
    (collectives.pmax, PAIRS, [[2, 4], [3, 9]] * 2),
    (collectives.pmax, SINGLE, VALUES),
    (collectives.all_gather, ALL, [[0, 0, 1, 1, 2, 4, 3, 9]] * 4),
    (collectives.all_gather, PAIRS, [[0, 0, 2, 4], [1, 1, 3, 9]] * 2),
    (collectives.all_gather, SINGLE, VALUES),
  ],
)
def test_a_group_is_told_of_its_own_devices(function, axis, expected):
  mapped = placement.parallel(
    lambda x: function(x, axis),
    jax.local_devices()[:4],
    sharded=(0,),
    returned=0,
  )
  np.testing.assert_array_equal(mapped(VALUES), expected)
