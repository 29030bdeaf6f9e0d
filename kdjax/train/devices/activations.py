"""Keeps examples where they are, whatever the arrays of networks are cut into."""

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import NamedSharding, PartitionSpec

from kdjax.train.devices.rules import Partition, parts_of


@contextlib.contextmanager
def over(partition: Partition) -> Iterator[None]:
  """Tells what is traced within that a mesh's devices will run it.

  What layers of linen modules return stays cut over the axis of the batch. Where
  weights are cut over that axis too XLA would else cut activations by features, and
  send them to and fro in every layer: more with every device, where weights, brought
  together, are as many bytes whatever the number of devices.
  """
  name = partition.batch[0] if partition.batch else None
  parts = parts_of(name, partition.mesh)

  def keep(next_function, args, kwargs, context):
    outputs = next_function(*args, **kwargs)
    if context.method_name != "__call__" or parts == 1:
      return outputs
    sizes = {x.shape[0] for x in jax.tree.leaves(args) if _has_rows(x, parts)}

    def one(x):
      if not _has_rows(x, parts) or x.ndim < 2 or x.shape[0] not in sizes:
        return x
      rest = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 1)
      lies = NamedSharding(partition.mesh, PartitionSpec(name, *rest))
      return jax.lax.with_sharding_constraint(x, lies)

    return jax.tree.map(one, outputs)

  with (
    jax.sharding.use_abstract_mesh(partition.mesh.abstract_mesh),
    nn.intercept_methods(keep),
  ):
    yield


def _has_rows(x: Any, parts: int) -> bool:
  """Says whether an array's first axis can be cut."""
  shape = getattr(x, "shape", ())
  return bool(shape) and shape[0] > 0 and shape[0] % parts == 0
