"""Arrays over a mesh whose devices may be those of several processes.

Every process gives what is the same in all, or its own rows of a batch, and holds
no more than the parts of its own devices.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding


def put(tree: Any, shardings: Any) -> Any:
  """Lays arrays out that every process has.

  Args:
    tree: arrays of the host, or of devices of this process.
    shardings: one for all arrays, or a tree of them.

  Returns:
    The arrays, each device with its part.
  """
  if isinstance(shardings, NamedSharding):
    shardings = jax.tree.map(lambda x: shardings, tree)
  if all(one.is_fully_addressable for one in jax.tree.leaves(shardings)):
    return jax.device_put(tree, shardings)
  return jax.tree.map(_put, tree, shardings)


def put_rows(
  tree: Any, sharding: NamedSharding, part: tuple[int, int, int], *, axis: int
) -> Any:
  """Lays batches out of which every process has its rows.

  Args:
    tree: arrays of the host.
    part: which rows these are, see `placement.portion`.
    axis: of the rows.
  """
  first, last, every = part

  def one(x):
    shape = list(x.shape)
    shape[axis] = shape[axis] // (last - first) * every
    return jax.make_array_from_process_local_data(
      sharding, np.asarray(x), tuple(shape)
    )

  return jax.tree.map(one, tree)


def whole(tree: Any) -> Any:
  """Brings arrays within reach whose parts other processes hold; all must call.

  Returns:
    The arrays: as they are where this process reaches all of them, else on the
    host.

  Example:
    >>> whole(np.ones(2)).tolist()
    [1.0, 1.0]
  """
  return jax.tree.map(_whole, tree)


def _whole(x: Any) -> Any:
  if not isinstance(x, jax.Array) or x.is_fully_addressable:
    return x
  if _is_key(x):
    numbers = _whole(jax.random.key_data(x))
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(x))
  if x.is_fully_replicated:
    return np.asarray(x)
  from jax.experimental import multihost_utils

  return multihost_utils.process_allgather(x, tiled=True)


def _put(x: Any, sharding: NamedSharding) -> jax.Array:
  if getattr(x, "sharding", None) == sharding:
    return x
  if _is_key(x):
    numbers = _put(jax.random.key_data(x), sharding)
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(x))
  x = np.asarray(x)
  return jax.make_array_from_callback(x.shape, sharding, lambda i: x[i])


def _is_key(x: Any) -> bool:
  kind = getattr(x, "dtype", np.dtype(np.float32))
  return jax.dtypes.issubdtype(kind, jax.dtypes.prng_key)
