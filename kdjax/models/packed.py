"""What a small network takes on disk: whole numbers as they are, no zeros."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import numpy as safetensors

MASK = ":mask"


def pack(variables: Any) -> dict[str, np.ndarray]:
  """Lays a network's variables out as a file holds them.

  An array that is smaller so is kept as its non-zero values and one bit for
  each place, under its name and its name with ":mask"; two 4-bit numbers share
  a byte.
  """
  arrays = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    name = _name(path)
    array, bits = _whole(np.asarray(leaf))
    nonzero = array != 0
    if bits * nonzero.sum() + nonzero.size < bits * nonzero.size:
      arrays[name + MASK] = np.packbits(nonzero.reshape(-1))
      array = array[nonzero]
    arrays[name] = _nibbles(array) if bits == 4 else np.ascontiguousarray(array)
  return arrays


def file_bytes(variables: Any) -> int:
  """Returns the size of the safetensors file that holds a network.

  Returns:
    Bytes, those of the file's table of names included.
  """
  return len(safetensors.save(pack(variables)))


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")


def _whole(array: np.ndarray) -> tuple[np.ndarray, int]:
  """An array of a type that NumPy knows, and the bits of a value."""
  if array.dtype == jnp.int4:
    return array.astype(np.int8), 4
  return array, 8 * array.dtype.itemsize


def _nibbles(array: np.ndarray) -> np.ndarray:
  low = array.reshape(-1).astype(np.uint8) & 15
  low = np.pad(low, (0, low.size % 2))
  return low[::2] | low[1::2] << 4
