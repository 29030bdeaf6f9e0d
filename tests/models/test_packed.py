"""How much a file holds of what was put in."""

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models.packed import file_bytes, pack

RNG = np.random.default_rng(0)
SPARSE = np.where(RNG.random((9, 7)) < 0.8, 0, RNG.normal(size=(9, 7)))
ARRAYS = {
  "dense": (np.float32(RNG.normal(size=(9, 7))), 4 * 63),
  "sparse": (np.float32(SPARSE), 4 * np.count_nonzero(SPARSE) + 8),
  "nothing": (np.zeros((9, 7), np.float32), 8),
  "whole": (np.int8(RNG.integers(-127, 128, (9, 7)) | 1), 63),
  "four bits": (
    np.int8(RNG.integers(-4, 4, (9, 7)) * 2 + 1).astype(jnp.int4),
    32,
  ),
  "sparse four bits": (
    np.where(SPARSE != 0, -7, 0).astype(jnp.int4),
    (np.count_nonzero(SPARSE) + 1) // 2 + 8,
  ),
  "scalar": (np.float32(3.0), 4),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_size(name):
  array, size = ARRAYS[name]
  tree = {"stage_0": {"kernel": array}}
  arrays = pack(tree)
  assert sum(one.nbytes for one in arrays.values()) == size
  assert size < file_bytes(tree) < size + 300
