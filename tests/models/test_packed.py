"""What a file holds, and that it gives back what was put in."""

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models.packed import file_bytes, packed, unpacked

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
  "scalar": (np.float32(3.0), 4),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_packed_and_unpacked(name):
  array, size = ARRAYS[name]
  tree = {"stage_0": {"kernel": array}}
  arrays = packed(tree)
  again = unpacked(arrays, tree)["stage_0"]["kernel"]
  assert again.dtype == array.dtype
  np.testing.assert_array_equal(np.asarray(again), array)
  assert sum(one.nbytes for one in arrays.values()) == size
  assert size < file_bytes(tree) < size + 300


def test_sparse_four_bits():
  array = np.where(SPARSE != 0, -7, 0).astype(jnp.int4)
  tree = {"kernel": array}
  np.testing.assert_array_equal(
    np.asarray(unpacked(packed(tree), tree)["kernel"]), array
  )
